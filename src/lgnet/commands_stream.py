"""`lgnet stream`: its options, what can be wrong with them, and what it says. As commands.py, it imports when it runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from .commands import Device, UsageError, Weights, check_film, complain, from_elsewhere
from .config import BUNDLED

if TYPE_CHECKING:
    from .publish import Publisher


def stream(
    input: Positional[Annotated[str, arg(metavar="INPUT")]] = "camera:0",
    *,
    to: Annotated[tuple[str, ...], arg(metavar="ADDRESS ...")] = ("udp://127.0.0.1:9876",),
    format: Literal["json", "binary"] = "json",
    space: Literal["openxr", "camera"] = "openxr",
    joints: Literal["openxr", "webxr"] = "openxr",
    gestures: Annotated[str, arg(metavar="paper|none|FILE.py")] = "paper",
    smooth: Literal["off", "live"] = "live",
    realtime: bool = False,
    frames: Annotated[int | None, arg(metavar="N")] = None,
    intrinsics: Annotated[tuple[float, float, float, float] | None, arg(metavar="FX FY CX CY")] = None,
    hand_length: Annotated[float | None, arg(metavar="MM")] = None,
    evidence: Annotated[str | None, arg(metavar="mediapipe|FILE")] = None,
    finder: Literal["lgnet", "mediapipe"] = "lgnet",
    sequence: bool = False,
    origins: Annotated[tuple[str, ...], arg(metavar="ORIGIN ...")] = (),
    weights: Weights = BUNDLED,
    device: Device = "auto",
) -> int:
    """Send the hands of a camera or video, a packet a frame, over UDP or WebSocket; Ctrl-C ends it.

    docs/streaming.md says what a packet holds and how to write a receiver.

    Args:
        input: `camera:0`, `rtsp://...`, a video, or with --sequence a folder of frames.
        to: where packets go: `udp://HOST:PORT` sends them there, `ws://HOST:PORT` serves them to whoever connects. Several
            may be named.
        format: json, or binary, a third of its size.
        space: the frame of joints and orientations: openxr (x right, y up, z backward) or camera (x right, y down, z
            forward); metres, from the camera.
        joints: OpenXR's 26 or WebXR's 25, which have no palm.
        gestures: events of which gestures are sent: paper (forward, summon, pinch), none, or those of a Python file, which
            is run.
        smooth: how hands are filtered: off or live.
        realtime: let a video's frames come at their times, as a camera's do.
        frames: at most this many.
        intrinsics: in pixels; else a field of view of 60 degrees is assumed.
        hand_length: millimetres from the wrist joint to the tip of the straight middle finger.
        evidence: align the hands to 2D key points that you trust: mediapipe finds them (docs/keypoints.md), or those of a
            video in a file or folder.
        finder: what finds the hands: lgnet, or mediapipe.
        sequence: INPUT is a folder of frames, 30 a second.
        origins: web pages that may read a WebSocket, besides those that this machine serves: https://example.org; null
            for a page opened as a file; * for all.
        weights: bundled weights by name, or a checkpoint by path.
        device: where to compute.
    """
    from .gestures import load_gestures
    from .image_io import expand_inputs
    from .publish import parse_address, parse_origin
    from .reconstruct import camera_from_intrinsics

    if not to:
        raise UsageError("--to names at least one address, as udp://127.0.0.1:9876 or ws://127.0.0.1:8765")
    check_film(frames, hand_length)
    for address in to:
        parse_address(address)
    for origin in origins:
        parse_origin(origin)
    if origins and not any(address.startswith("ws") for address in to):
        raise UsageError("--origins is for WebSockets; name one, as --to ws://127.0.0.1:8765")
    items = expand_inputs([input], sequence=sequence)
    if len(items) != 1 or not items[0].moving:
        raise UsageError(
            f"lgnet stream takes one camera or video, not {input}; of a folder of frames say --sequence too"
        )
    camera = None if intrinsics is None else camera_from_intrinsics(intrinsics)
    wanted = load_gestures(gestures)
    source, mediapipe = from_elsewhere(evidence, finder, items)
    from . import predict
    from . import stream as work

    model = predict.load(weights, device=device)
    if hand_length is not None:
        model = replace(model, hand_length=hand_length / 1000)
    if mediapipe is not None:
        model = replace(model, finder=mediapipe)
    way = work.Way(format, space, joints)
    figures = work.stream(
        model, items[0], to, way, wanted, camera, frames, smooth, realtime, origins, lambda p: _say(p, way.form), source
    )
    work.show(figures)
    return 0


def _say(publisher: Publisher, form: str) -> None:
    serves = publisher.address.startswith("ws:")
    print(
        f"{'serving' if serves else 'sending'} {form} packets {'at' if serves else 'to'} {publisher.address}",
        flush=True,
    )
    if publisher.open_to_all:
        complain(f"{publisher.address} can be read by everyone who reaches this machine over the network")
