"""The whole way from a video to packets: one a frame, in order; gestures; Ctrl-C; and what is wrong said in a sentence."""

import json
import os
import signal
import socket
import threading
import time

import numpy as np
import pytest
import torch
from posing import posed_hand, scene
from scripted import Scripted
from test_cli import complaint, run
from test_video import Fake, write_film

from lgnet import predict
from lgnet.gestures import PAPER
from lgnet.image_io import Item, expand_inputs
from lgnet.packets import read_packet
from lgnet.publish import open_publisher
from lgnet.stream import Way, sentences, stream
from lgnet.synth.poses import LIBRARY
from lgnet.video import _at_their_times, open_film

torch.set_num_threads(1)


@pytest.fixture
def receiver():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        yield sock


def address(sock: socket.socket) -> str:
    return f"udp://127.0.0.1:{sock.getsockname()[1]}"


def received(sock: socket.socket) -> list:
    """All packets that have come; those on the loopback have when they were sent."""
    out = []
    while True:
        try:
            out.append(read_packet(sock.recv(65536)))
        except BlockingIOError:
            return out


def film(tmp_path, frames: int):
    return expand_inputs([str(write_film(tmp_path / "a.mp4", frames, size=(640, 480)))])[0]


class Posed(Scripted):
    """Shows these hands in its calls one after another, the last for ever."""

    def __init__(self, *pictures):
        self.pictures, self.calls = pictures, 0

    def predict(self, image, camera=None, boxes=None, given=None, file=None):
        self.calls += 1
        return self.pictures[min(self.calls, len(self.pictures)) - 1]


@pytest.mark.parametrize("form", ["json", "binary"])
def test_every_frame_is_a_packet(tmp_path, receiver, form):
    told, before = [], time.time()
    figures = stream(
        Fake(), film(tmp_path, 12), [address(receiver)], Way(form, "camera", "webxr"), how="off", tell=told.append
    )
    packets = received(receiver)
    assert [p.sequence for p in packets] == [p.frame for p in packets] == list(range(12))
    np.testing.assert_allclose([p.time for p in packets], np.arange(12) / 10, atol=2e-3)
    assert all(before - 1 < p.captured < time.time() + 1 for p in packets)
    assert {(p.space, p.joint_set, len(p.hands)) for p in packets} == {("camera", "webxr", 2)}
    assert [publisher.address for publisher in told] == [address(receiver)]
    assert (figures.frames, figures.packets, figures.passed_over) == (12, 12, 0) and len(figures.latencies) == 11
    assert figures.dropped == {address(receiver): 0} and figures.bytes > 12 * 1000
    assert 0 < sum(figures.stages.values()) <= figures.seconds + figures.stages["wait"] + 0.5
    said = " ".join(sentences(figures))
    assert "12 frames in" in said and "(p50)" in said and "(p95)" in said and "dropped" not in said


def test_gestures_end_with_the_stream(tmp_path, receiver):
    model = Posed(scene(left=posed_hand(LIBRARY["thumb_up"], "left")))
    stream(model, film(tmp_path, 6), [address(receiver)], gestures=PAPER, how="off")
    packets = received(receiver)
    said = [[(e.gesture, e.hand, e.phase) for e in p.events] for p in packets]
    forward = ("forward", "left")
    assert said[0] == [] and (*forward, "begin") in said[1] + said[2]
    assert said[-2] == [(*forward, "hold")] and said[-1] == [(*forward, "end")]
    assert len(packets) == 7 and packets[-1].hands == () and [p.sequence for p in packets] == list(range(7))


def test_a_hand_that_goes_ends_its_gesture(tmp_path, receiver):
    here, gone = scene(posed_hand(LIBRARY["pinch"])), scene()
    stream(Posed(*[here] * 4, gone), film(tmp_path, 10), [address(receiver)], gestures=PAPER, how="live")
    phases = [[e.phase for e in p.events if e.gesture == "pinch"] for p in received(receiver)]
    assert phases.count(["begin"]) == phases.count(["end"]) == 1 and phases[-1] == []
    assert all(not p for p in phases[phases.index(["end"]) + 1 :])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_cleanly(tmp_path, receiver, number):
    pytest.importorskip("websockets")
    before, handler, told = set(threading.enumerate()), signal.getsignal(number), []
    model = Fake(lambda n: os.kill(os.getpid(), number) if n == 5 else None)
    figures = stream(model, film(tmp_path, 30), [address(receiver), "ws://127.0.0.1:0"], how="off", tell=told.append)
    assert 3 <= figures.frames <= 6 and len(received(receiver)) == figures.frames
    assert set(threading.enumerate()) <= before and signal.getsignal(number) is handler
    with open_publisher(told[1].address, text=True):  # the port is free again
        pass


def test_two_readers_of_a_websocket_get_the_stream(tmp_path):
    client = pytest.importorskip("websockets.sync.client")
    from websockets.exceptions import ConnectionClosed

    readers, got = [], [[], []]

    def listen(index: int, opened: threading.Event, place: str) -> None:
        with client.connect(place) as reader:
            opened.set()
            try:
                for content in reader:
                    got[index].append(read_packet(content))
            except ConnectionClosed:
                pass

    def join(publisher) -> None:
        for index in (0, 1):
            opened = threading.Event()
            readers.append(threading.Thread(target=listen, args=(index, opened, publisher.address), daemon=True))
            readers[-1].start()
            assert opened.wait(10)

    figures = stream(Fake(), film(tmp_path, 8), ["ws://127.0.0.1:0"], how="off", tell=join)
    for reader in readers:
        reader.join(10)
    for packets in got:
        numbers = [p.sequence for p in packets]
        assert numbers[-1] == 7 and numbers == sorted(set(numbers))
    assert sum(figures.dropped.values()) == 16 - len(got[0]) - len(got[1])


def test_a_files_frames_come_at_their_times(monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    waits = []

    class Stop:
        def wait(self, seconds):
            waits.append(seconds)
            return len(waits) > 3

    source = iter([(0.0, "a"), (0.1, "b"), (0.2, "c"), (0.3, "d")])
    assert [image for _, image in _at_their_times(source, Stop())] == ["a", "b", "c"]  # then it is told to stop
    assert waits == pytest.approx([0, 0.1, 0.2, 0.3])


def test_in_real_time_frames_are_passed_over(tmp_path):
    path = write_film(tmp_path / "a.avi", 20, rate=200, fourcc="MJPG")
    with open_film(Item(str(path), "a", "video"), realtime=True) as opened:
        frames = []
        for frame in opened.frames:
            frames.append(frame)
            time.sleep(0.02)
    assert [f.index for f in frames] == list(range(len(frames))) and frames[-1].number == 19 and len(frames) < 20
    assert [f.read for f in frames] == sorted(f.read for f in frames)


@pytest.fixture
def fake(monkeypatch):
    model = Fake()
    monkeypatch.setattr(predict, "load", lambda weights="lgnet-mobile", device="auto", tta=1: model)
    return model


def test_the_command(tmp_path, receiver, fake, capsys):
    place = address(receiver)
    words = ("--format", "binary", "--frames", 4, "--smooth", "off", "--gestures", "none")
    assert run("stream", write_film(tmp_path / "a.mp4", 6), "--to", place, *words) == 0
    assert [p.sequence for p in received(receiver)] == [0, 1, 2, 3]
    said = capsys.readouterr()
    assert said.out.startswith(f"sending binary packets to {place}\n") and said.err == ""
    for word in ("hands", "gestures", "frames/s", "4 frames in", "latency"):
        assert word in said.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("a.mp4 --to tcp://127.0.0.1:1", "packets go to udp://HOST:PORT or ws://HOST:PORT, not 'tcp://127.0.0.1:1'"),
        ("a.mp4 --to udp://127.0.0.1:0", "name the port"),
        ("a.mp4 --frames 0", "--frames is at least 1"),
        ("a.mp4 --hand-length 3", "--hand-length is in millimetres"),
        ("a.mp4 --intrinsics 0 1 1 1", "--intrinsics takes FX FY CX CY"),
        ("a.mp4 --gestures nosuch.py", "nosuch.py does not exist"),
        ("a.jpg", "takes one camera or video, not a.jpg"),
        (".", "takes one camera or video"),
        ("camera:x", "is no camera"),
        ("nosuch.mp4", "nosuch.mp4 does not exist"),
        ("camera:99", "camera:99: this camera cannot be opened"),
    ],
)
def test_usage_errors_are_one_sentence(words, said, tmp_path, monkeypatch, fake, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENCV_LOG_LEVEL", "ERROR")
    assert run("stream", *words.split()) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("lgnet: ")]
    assert len(lines) == 1 and said in lines[0]


def test_a_port_that_is_taken(tmp_path, fake, capsys):
    pytest.importorskip("websockets")
    path = write_film(tmp_path / "a.mp4", 2)
    with open_publisher("ws://127.0.0.1:0", text=True) as other:
        assert run("stream", path, "--to", other.address) == 2
    assert f"{other.address}: this port cannot be had" in complaint(capsys)


def test_a_socket_open_to_the_network_is_said(tmp_path, fake, capsys):
    pytest.importorskip("websockets")
    assert run("stream", write_film(tmp_path / "a.mp4", 2), "--to", "ws://0.0.0.0:0", "--smooth", "off") == 0
    assert "can be read by everyone who reaches this machine" in complaint(capsys)


def test_events_are_written_into_a_videos_lines_where_asked(tmp_path, monkeypatch):
    model = Posed(scene(right=posed_hand(LIBRARY["thumb_up"], "right")))
    monkeypatch.setattr(predict, "load", lambda weights="lgnet-mobile", device="auto", tta=1: model)
    path = write_film(tmp_path / "a.mp4", 5, size=(640, 480))
    words = ("--smooth", "offline")
    assert run("reconstruct", path, "--out", tmp_path / "with", "--gestures", "paper", *words) == 0
    assert run("reconstruct", path, "--out", tmp_path / "without", "--save", "json", *words) == 0
    lines = [json.loads(line) for line in (tmp_path / "with" / "a.jsonl").read_text().splitlines()]
    phases = [[(e["gesture"], e["hand"], e["phase"]) for e in line["events"]] for line in lines]
    assert any(("summon", "right", "begin") in p for p in phases)
    assert phases[-1] == [("summon", "right", "hold"), ("summon", "right", "end")]  # so that nothing stays on
    assert [line["frame"] for line in lines] == list(range(5))
    assert "events" not in (tmp_path / "without" / "a.jsonl").read_text()
