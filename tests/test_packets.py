"""Packets there and back in both formats, their sizes, and every offset that docs/streaming.md names."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from posing import posed_hand, scene

from lgnet.gestures import Event
from lgnet.openxr import hand_joints
from lgnet.packets import HAND_BYTES, HEADER_BYTES, JOINT_BYTES, MOST_BYTES, make_packet, read_packet, write_packet
from lgnet.synth.poses import LIBRARY

torch.set_num_threads(1)
EVENTS = (Event("pinch", "right", "hold", 1.25), Event("größer", "left", "end", -0.5))


def example(joints="openxr", space="openxr", events=EVENTS):
    hands = scene(posed_hand(LIBRARY["ok"], "right"), posed_hand(LIBRARY["fist"], "left", at=(-0.2, 0.1, 0.6)))
    return make_packet(hands, events, sequence=7, frame=9, time=1.5, captured=1.7e9 + 0.25, space=space, joints=joints)


@pytest.mark.parametrize("form", ["json", "binary"])
@pytest.mark.parametrize("joints", ["openxr", "webxr"])
@pytest.mark.parametrize("space", ["openxr", "camera"])
def test_there_and_back(form, joints, space):
    sent = example(joints, space)
    got = read_packet(write_packet(sent, form))
    for name in ("sequence", "frame", "time", "captured", "width", "height", "space", "joint_set", "events"):
        assert getattr(got, name) == getattr(sent, name), name
    assert (got.camera.fx, got.camera.cy, got.camera.assumed) == (600, 239.5, True)
    assert [hand.side for hand in got.hands] == ["right", "left"]
    for a, b in zip(got.hands, sent.hands):
        assert a.score == pytest.approx(b.score, abs=1e-4)
        np.testing.assert_allclose(a.joints.positions, b.joints.positions, atol=6e-6)
        np.testing.assert_allclose(a.joints.orientations, b.joints.orientations, atol=2e-5)
        np.testing.assert_allclose(a.joints.radii, b.joints.radii, atol=6e-6)


def test_sizes_are_those_documented():
    assert (HEADER_BYTES, HAND_BYTES, JOINT_BYTES) == (56, 8, 22)
    names = sum(7 + len(event.gesture.encode()) for event in EVENTS)
    assert len(write_packet(example(), "binary")) == 56 + 2 * 580 + names
    assert len(write_packet(example("webxr"), "binary")) == 56 + 2 * 558 + names
    assert len(write_packet(example(events=()), "binary")) == 1216 < 1472  # one Ethernet frame
    assert len(write_packet(example(), "json")) < 5000 < MOST_BYTES
    empty = make_packet(scene())
    assert len(write_packet(empty, "binary")) == 56 and read_packet(write_packet(empty, "json")).hands == ()


def test_every_offset_of_the_binary_packet():
    content = write_packet(example(), "binary")
    assert content[:4] == b"LGN\x01"
    assert tuple(content[4:8]) == (1, 26, 2, 2)  # OpenXR's space, joints, hands, events
    assert struct.unpack_from("<II", content, 8) == (7, 9)
    assert struct.unpack_from("<dd", content, 16) == (1.5, 1.7e9 + 0.25)
    assert struct.unpack_from("<HH", content, 32) == (640, 480)
    assert struct.unpack_from("<ffff", content, 36) == (600, 600, 319.5, 239.5)
    assert content[52] == 1
    right, left = 56, 56 + 580
    assert content[right] == 0 and content[left] == 1
    assert struct.unpack_from("<f", content, right + 4)[0] == pytest.approx(0.9)
    hand = hand_joints(posed_hand(LIBRARY["fist"], "left", at=(-0.2, 0.1, 0.6)))
    index_tip = left + 8 + 10 * 22
    np.testing.assert_allclose(struct.unpack_from("<fff", content, index_tip), hand.positions[10], atol=1e-6)
    quaternion = np.array(struct.unpack_from("<hhhh", content, index_tip + 12)) / 32767
    np.testing.assert_allclose(quaternion, hand.orientations[10], atol=2e-5)
    assert struct.unpack_from("<H", content, index_tip + 20)[0] * 1e-5 == pytest.approx(hand.radii[10], abs=6e-6)
    event = 56 + 2 * 580
    assert struct.unpack_from("<BBfB", content, event) == (1, 0, 1.25, 5)
    assert content[event + 7 : event + 12] == b"pinch"


def test_the_json_packet_says_what_it_is():
    text = write_packet(example(), "json").decode()
    assert "\n" not in text
    content = json.loads(text)
    assert content["schema"] == "lgnet-stream/1" and content["space"] == content["joint_set"] == "openxr"
    assert content["image"] == {"width": 640, "height": 480}
    assert [hand["side"] for hand in content["hands"]] == ["right", "left"]
    assert np.shape(content["hands"][0]["joints"]) == (26, 8)
    assert content["events"][0] == {"gesture": "pinch", "hand": "right", "phase": "hold", "value": 1.25}


def test_keys_may_be_added():
    content = json.loads(write_packet(example(), "json"))
    content["camera"]["k1"] = content["new"] = 1
    assert read_packet(json.dumps(content).encode()).camera == example().camera


@pytest.mark.parametrize("form", ["json", "binary"])
def test_what_is_no_packet_is_refused(form):
    content = write_packet(example(), form)
    for bad in (b"", b"{}", b"[1]", b"hello", content[:-3], content[:30]):
        with pytest.raises(ValueError, match="no packet of lgnet-stream/1"):
            read_packet(bad)
    sent = write_packet(example(), form)
    for old, new in (
        (b'"openxr"', b'"nowhere"'),
        (b'"right"', b'"middle"'),
        (b'"webxr"', b'"openxr"'),
        (b'"hold"', b'"on"'),
    ):
        other = write_packet(example("webxr" if old == b'"webxr"' else "openxr"), "json").replace(old, new)
        with pytest.raises(ValueError, match="no packet of lgnet-stream/1"):
            read_packet(other)
    with pytest.raises(ValueError, match="no packet"):
        read_packet(sent + b"x")
    with pytest.raises(ValueError, match="version 2"):
        read_packet(b"LGN\x02" + write_packet(example(), "binary")[4:])
    with pytest.raises(ValueError, match="lgnet-stream/2"):
        read_packet(write_packet(example(), "json").replace(b"stream/1", b"stream/2"))


def test_counts_go_round_and_packets_fit_a_datagram():
    content = write_packet(replace(example(), sequence=2**32 + 3), "binary")
    assert read_packet(content).sequence == 3
    many = tuple(Event("ü" * 16, "right", "hold", -1.23456789) for _ in range(255))
    assert len(write_packet(example(events=many), "binary")) < MOST_BYTES
    assert len(write_packet(example(events=many), "json")) < MOST_BYTES
    with pytest.raises(ValueError, match="255 events at most, not 256"):
        write_packet(example(events=(*many, many[0])), "json")
