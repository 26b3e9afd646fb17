"""The receivers in examples/: the browser's is run by Node against packets and a server of ours."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from posing import posed_hand, scene

from lgnet.gestures import Event
from lgnet.openxr import JOINTS
from lgnet.packets import make_packet, write_packet
from lgnet.publish import open_publisher
from lgnet.synth.poses import LIBRARY

torch.set_num_threads(1)
EXAMPLES = Path(__file__).parents[1] / "examples"
MODULE = (EXAMPLES / "browser" / "lgnet-stream.mjs").as_uri()
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here")


def example(joints, space="openxr", sequence=3):
    hands = scene(posed_hand(LIBRARY["ok"], "right"), posed_hand(LIBRARY["fist"], "left", at=(-0.2, 0.1, 0.6)))
    events = (Event("größer", "left", "hold", -0.5), Event("pinch", "right", "end", 2.0))
    return make_packet(hands, events, sequence=sequence, frame=5, time=0.5, captured=1.7e9, joints=joints, space=space)


def node(script: str, *words: str, given: str = "") -> str:
    command = ["node", "--input-type=module", *words, "-e", script]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True, timeout=60).stdout


READ = f"""
import {{ parsePacket, project, JOINTS }} from {json.dumps(MODULE)};
import {{ readFileSync }} from "node:fs";
const packets = JSON.parse(readFileSync(0, "utf8")).map(({{ text, hex }}) =>
  parsePacket(text ?? Uint8Array.from(Buffer.from(hex, "hex")).buffer));
const seen = packets.map((p) => p.hands.map((h) => project(h.joints.index_tip.position, p)));
console.log(JSON.stringify({{ packets, seen, JOINTS }}));
"""


@needs_node
def test_the_browsers_receiver_reads_both_formats():
    sent = [example("openxr"), example("webxr"), example("openxr", "camera")]
    given = [{"text": write_packet(packet, "json").decode()} for packet in sent]
    given += [{"hex": write_packet(packet, "binary").hex()} for packet in sent]
    said = json.loads(node(READ, given=json.dumps(given)))
    assert tuple(said["JOINTS"]) == JOINTS
    for packet, got, seen in zip(sent * 2, said["packets"], said["seen"]):
        assert (got["sequence"], got["frame"], got["time"], got["captured"]) == (3, 5, 0.5, 1.7e9)
        assert got["space"] == packet.space and got["image"] == {"width": 640, "height": 480}
        assert got["events"] == [
            {"gesture": "größer", "hand": "left", "phase": "hold", "value": -0.5},
            {"gesture": "pinch", "hand": "right", "phase": "end", "value": 2},
        ]
        names = JOINTS[packet.joint_set == "webxr" :]
        for hand, mine, uv in zip(got["hands"], packet.hands, seen):
            assert hand["side"] == mine.side and tuple(hand["joints"]) == names
            rows = [[*j["position"], *j["quaternion"], j["radius"]] for j in hand["joints"].values()]
            poses = mine.joints
            np.testing.assert_allclose(
                rows, np.column_stack([poses.positions, poses.orientations, poses.radii]), atol=2e-5
            )
            hand_here = posed_hand(LIBRARY["ok"]) if mine.side == "right" else None
            if hand_here is not None:
                np.testing.assert_allclose(uv, hand_here.joints2d[8], atol=0.1)


CONNECT = f"""
import {{ connect }} from {json.dumps(MODULE)};
const got = [];
const stop = connect(process.argv[1], (packet) => {{
  got.push(packet.sequence);
  if (packet.sequence < 5) return;
  stop();
  console.log(JSON.stringify(got));
}}, (state) => console.error(state));
"""


@needs_node
@pytest.mark.parametrize("form", ["json", "binary"])
def test_the_browsers_receiver_listens_to_the_server(form):
    pytest.importorskip("websockets")
    flag = "--experimental-websocket"  # Node 20 has it behind this flag, later ones have it
    known = subprocess.run(["node", flag, "-p", "typeof WebSocket"], capture_output=True, text=True, check=False)
    if known.stdout.strip() != "function":
        pytest.skip("this node has no WebSocket")
    with open_publisher("ws://127.0.0.1:0", text=form == "json") as publisher:
        command = ["node", "--input-type=module", "--no-warnings", flag, "-e", CONNECT, publisher.address]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, **pipes) as program:
            assert program.stderr is not None and program.stderr.readline() == "connected\n"
            for sequence in range(6):
                publisher.send(write_packet(example("webxr", sequence=sequence), form))
            out = program.communicate(timeout=30)[0]
    got = json.loads(out)
    assert got[-1] == 5 and got == sorted(set(got))


def test_the_page_uses_what_the_module_has():
    page = (EXAMPLES / "browser" / "index.html").read_text(encoding="utf-8")
    module = (EXAMPLES / "browser" / "lgnet-stream.mjs").read_text(encoding="utf-8")
    names = page.split("import {")[1].split("}")[0].split(",")
    for name in names:
        assert any(f"export {kind} {name.strip()}" in module for kind in ("function", "const")), name
