"""A camera or video -> packets, one a frame, sent on as soon as the frame is understood.

The same loop as a video's (moving.py): read, follow, smooth; then gestures, a packet, and every address gets it. Of a
camera only the newest frame is taken. Nothing waits for a reader, see publish.py, and no store grows with time.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Literal

import numpy as np
from rich.console import Console
from rich.table import Table

from .ending import stop_asked
from .evidence import Source, guide
from .follow import Following, follow, led
from .gestures import Gesture, State, end_all, recognise
from .hands import Camera, TwoHands
from .image_io import Item
from .openxr import JointSet, Space
from .packets import Format, make_packet, write_packet
from .predictor import Predictor
from .publish import Publisher, open_publisher
from .reconstruct import tell_if_unlike
from .smooth import Moment, smooth
from .video import Film, Frame, film_camera, open_film

STAGES = ("wait", "hands", "smooth", "gestures", "packet", "send")
"""Waiting for the next frame, then what is done with it."""
REMEMBERED = 10_000
"""Frames by which the latency is told: the last ones."""


@dataclass(frozen=True)
class Way:
    """What packets are like."""

    form: Format = "json"
    space: Space = "openxr"
    joints: JointSet = "openxr"


@dataclass
class Figures:
    """What was measured of a stream."""

    frames: int = 0
    passed_over: int = 0  # frames that came while another was worked on
    packets: int = 0
    bytes: int = 0
    seconds: float = 0.0  # from the first frame's coming to the end
    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))  # seconds in all
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    """Seconds from a frame's coming to its packet being handed to the system. In a file read as fast as it can be, a
    frame comes when it is taken. The first frame, on which things warm up, is left out."""
    dropped: dict[str, int] = field(default_factory=dict)  # packets that some reader did not get, by address


def stream(
    model: Predictor,
    item: Item,
    addresses: Sequence[str],
    way: Way = Way(),
    gestures: Sequence[Gesture] = (),
    camera: Camera | None = None,
    most: int | None = None,
    how: Literal["off", "live"] = "live",
    realtime: bool = False,
    origins: Sequence[str] = (),
    tell: Callable[[Publisher], None] = lambda publisher: None,
    evidence: Source | None = None,
) -> Figures:
    """Send a packet for every frame, until the film ends or Ctrl-C is pressed.

    Args:
        model: from `lgnet.load`.
        item: a video, camera, stream or folder of frames.
        addresses: see `publish.open_publisher`.
        way: format, frame of reference and set of joints.
        gestures: to look for.
        camera: intrinsics; None: by the EXIF of the first of a folder of frames, else assumed.
        most: at most this many frames.
        how: how hands are smoothed.
        realtime: let a file's frames come at their times, and pass over those that come meanwhile.
        origins: web pages that may read a WebSocket, see `publish.open_publisher`.
        tell: is given every address once it is open.
        evidence: key points from elsewhere, which the hands are aligned to, see `evidence.py`.

    Raises:
        ValueError: the film cannot be read, an address not be used, a gesture fails.
        KeyboardInterrupt: Ctrl-C was pressed twice.
    """
    figures = Figures()
    with stop_asked() as asked, ExitStack() as stack:
        publishers = [stack.enter_context(open_publisher(a, way.form == "json", origins)) for a in addresses]
        film = stack.enter_context(open_film(item, most, realtime=realtime))
        for publisher in publishers:
            tell(publisher)
        live = realtime or item.kind == "camera"
        camera = camera or film_camera(item)
        _run(model, item, film, live, asked, publishers, way, gestures, camera, how, figures, evidence)
        figures.dropped = {publisher.address: publisher.dropped() for publisher in publishers}
        if film.camera and not asked.is_set() and (said := film.shortfall(figures.frames, 0.0)) is not None:
            print(f"lgnet: {item.shown}: {said}", file=sys.stderr)
    return figures


def _run(
    model: Predictor,
    item: Item,
    film: Film,
    live: bool,
    asked: Event,
    publishers: Sequence[Publisher],
    way: Way,
    gestures: Sequence[Gesture],
    camera: Camera | None,
    how: Literal["off", "live"],
    figures: Figures,
    evidence: Source | None,
) -> None:
    state: State = {}
    last: tuple[Frame, TwoHands] | None = None
    spent, now = figures.stages, time.monotonic()
    at: list[Frame] = []  # the frame whose moment comes next; filters that do not look ahead keep step

    def send(frame: Frame, hands: TwoHands, events: list) -> None:
        begun = time.monotonic()
        packet = make_packet(
            hands,
            tuple(events),
            sequence=figures.packets,
            frame=frame.number,
            time=frame.time,
            captured=time.time() - (begun - frame.read),
            space=way.space,
            joints=way.joints,
        )
        content = write_packet(packet, way.form)
        packed = time.monotonic()
        for publisher in publishers:
            publisher.send(content)
        spent["packet"] += packed - begun
        spent["send"] += time.monotonic() - packed
        figures.packets += 1
        figures.bytes += len(content)

    started = None
    moments = smooth(_moments(model, item, film, live, asked, camera, at, spent, evidence), how)
    while True:
        before = spent["wait"] + spent["hands"]
        now = time.monotonic()
        moment = next(moments, None)
        if moment is None:
            break
        spent["smooth"] += time.monotonic() - now - (spent["wait"] + spent["hands"] - before)
        frame = at.pop()
        started = frame.read if started is None else started
        begun = time.monotonic()
        state, events = recognise(gestures, state, moment.time, moment.hands, moment.fresh)
        spent["gestures"] += time.monotonic() - begun
        send(frame, moment.hands, events)
        if figures.frames:
            figures.latencies.append(time.monotonic() - frame.read)
        figures.frames += 1
        figures.passed_over = frame.number - frame.index
        last = frame, moment.hands
    if last is not None and (events := end_all(state)):  # so that nothing stays on with those who listen
        send(last[0], replace(last[1], right=None, left=None), events)
    figures.seconds = time.monotonic() - started if started is not None else 0.0


def _moments(
    model: Predictor,
    item: Item,
    film: Film,
    live: bool,
    asked: Event,
    camera: Camera | None,
    at: list[Frame],
    spent: dict[str, float],
    evidence: Source | None,
) -> Iterator[Moment]:
    """The hands of each frame, followed, and aligned to the evidence if there is any; ends early when `asked`."""
    state = Following()
    begun = time.monotonic()
    for frame in film.frames:
        came = time.monotonic()
        spent["wait"] += came - begun
        if asked.is_set():
            return
        if camera is not None:
            tell_if_unlike(camera, frame.image.shape[1], frame.image.shape[0])
        step = follow(model, state, frame.image, camera, item.shown)
        if evidence is not None:
            step = led(step, guide(model, step.hands, frame.image, evidence(frame.image, item, frame.number)))
        state = step.state
        spent["hands"] += time.monotonic() - came
        at.append(frame if live else replace(frame, read=came))
        yield Moment(frame.time, step.hands, step.fresh)
        if asked.is_set():
            return
        begun = time.monotonic()


def show(figures: Figures) -> None:
    """Print what was measured."""
    if not figures.frames:
        return
    console = Console(highlight=False)
    table = Table("stage")
    table.add_column("ms a frame", justify="right")
    table.add_column("frames/s alone", justify="right")
    for stage in STAGES:
        each = figures.stages[stage] / figures.frames
        table.add_row(stage, f"{1000 * each:.2f}", "" if stage == "wait" else f"{1 / max(each, 1e-9):.0f}")
    console.print(table)
    for line in sentences(figures):
        console.print(line, soft_wrap=True, markup=False)


def sentences(figures: Figures) -> list[str]:
    """The summary in words."""
    rate = figures.frames / max(figures.seconds, 1e-9)
    lines = [
        f"{figures.frames} frames in {figures.seconds:.1f} s: {rate:.1f} frames/s; {figures.passed_over} frames came "
        f"while another was worked on and were passed over"
    ]
    if figures.latencies:
        half, most = np.percentile(np.array(figures.latencies) * 1000, [50, 95])
        lines.append(f"latency, from frame to packet: {half:.1f} ms (p50), {most:.1f} ms (p95)")
    lines.append(f"{figures.packets} packets of {figures.bytes / max(figures.packets, 1):.0f} bytes in the mean")
    lines += [f"{address}: {count} packets dropped" for address, count in figures.dropped.items() if count]
    return lines
