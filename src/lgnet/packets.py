"""Packets of a stream: one a frame, each complete in itself, as JSON text or compact binary. docs/streaming.md has the
formats for those who write receivers; `read_packet` reads both.

All numbers of the binary packet are little-endian, and nothing is aligned. Header (56 bytes):

    0   4 bytes  "LGN" and 0x01: what it is, and the version
    4   u8       space: 0 camera, 1 openxr
    5   u8       joints a hand, J: 26 (OpenXR) or 25 (WebXR)
    6   u8       hands, 0 to 2
    7   u8       events, 0 to 255
    8   u32      sequence: counts the packets from 0; what is missing was dropped
    12  u32      frame: counts the source's frames from 0, those passed over too
    16  f64      time: seconds after the first frame
    24  f64      captured: seconds since 1970 (UTC), when the frame came from camera or file
    32  u16      width of the picture, pixels
    34  u16      height
    36  f32 x 4  camera: fx, fy, cx, cy, pixels
    52  u8       1: the camera was assumed, not known
    53  3 bytes  0

For each hand, right first (8 + 22 J bytes: 580 for OpenXR's joints, 558 for WebXR's):

    0   u8       side: 0 right, 1 left
    1   3 bytes  0
    4   f32      score, 0 to 1
    8   J times  22 bytes:  f32 x 3 position, metres; i16 x 4 quaternion x, y, z, w, times 32767; u16 radius, 0.01 mm

For each event (7 bytes and the name):

    0   u8       phase: 0 begin, 1 hold, 2 end
    1   u8       hand: 0 right, 1 left
    2   f32      value
    6   u8       n, bytes of the name
    7   n bytes  the gesture's name, UTF-8
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .gestures import PHASES, Event
from .hands import SIDES, Camera, TwoHands
from .openxr import JOINTS, JointPoses, JointSet, Space, hand_joints

SCHEMA = "lgnet-stream/1"
MAGIC = b"LGN\x01"
MOST_BYTES = 65_507
"""Of a UDP datagram over IPv4: 65,535 less the headers of IP and UDP."""
MOST_EVENTS = 255
SPACES: tuple[Space, ...] = ("camera", "openxr")
SETS: dict[int, JointSet] = {len(JOINTS): "openxr", len(JOINTS) - 1: "webxr"}
Format = Literal["json", "binary"]

_HEADER = struct.Struct("<4s4B2I2d2H4fB3x")
_HAND = struct.Struct("<B3xf")
_JOINT = np.dtype([("position", "<f4", 3), ("quaternion", "<i2", 4), ("radius", "<u2")])
_EVENT = struct.Struct("<BBfB")
_UNIT, _RADIUS = 32767, 1e-5
HEADER_BYTES, HAND_BYTES, JOINT_BYTES, EVENT_BYTES = _HEADER.size, _HAND.size, _JOINT.itemsize, _EVENT.size


@dataclass(frozen=True)
class SentHand:
    """One hand of a packet."""

    side: str
    score: float
    joints: JointPoses


@dataclass(frozen=True)
class Packet:
    """What is sent of one frame."""

    sequence: int
    frame: int
    time: float  # seconds after the first frame
    captured: float  # seconds since 1970
    width: int
    height: int
    camera: Camera
    space: Space
    joint_set: JointSet
    hands: tuple[SentHand, ...]
    events: tuple[Event, ...] = ()


def make_packet(
    hands: TwoHands,
    events: tuple[Event, ...] = (),
    *,
    sequence: int = 0,
    frame: int = 0,
    time: float = 0.0,
    captured: float = 0.0,
    space: Space = "openxr",
    joints: JointSet = "openxr",
) -> Packet:
    """The packet of a result."""
    name = hands.model.get("hand_model", "lgnet")
    sent = tuple(SentHand(h.side, h.score, hand_joints(h, name, space, joints)) for h in hands.hands)
    return Packet(sequence, frame, time, captured, hands.width, hands.height, hands.camera, space, joints, sent, events)


def write_packet(packet: Packet, form: Format) -> bytes:
    """The packet's bytes; of JSON in UTF-8.

    Raises:
        ValueError: its events are too many.
    """
    if len(packet.events) > MOST_EVENTS:
        raise ValueError(
            f"a packet holds {MOST_EVENTS} events at most, not {len(packet.events)}; look for fewer gestures"
        )
    content = to_json(packet).encode() if form == "json" else to_binary(packet)
    assert len(content) <= MOST_BYTES, "255 events with names of 32 bytes fit"
    return content


def read_packet(content: bytes | str) -> Packet:
    """A packet of either format.

    Raises:
        ValueError: it is none, is cut short, or is of another version.
    """
    if isinstance(content, bytes) and content[:3] == MAGIC[:3]:
        return _from_binary(content)
    try:
        return _from_json(json.loads(content))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"this is no packet of {SCHEMA} ({error})") from error


def to_json(packet: Packet) -> str:
    """One line; positions and radii are rounded to 0.01 mm, quaternions to 1e-5."""

    def rounded(hand: SentHand) -> list[list[float]]:
        poses = hand.joints
        return np.column_stack([poses.positions, poses.orientations, poses.radii]).round(5).tolist()

    camera = packet.camera
    return json.dumps(
        {
            "schema": SCHEMA,
            "sequence": packet.sequence,
            "frame": packet.frame,
            "time": round(packet.time, 6),
            "captured": round(packet.captured, 6),
            "image": {"width": packet.width, "height": packet.height},
            "camera": {
                **{key: round(float(getattr(camera, key)), 3) for key in ("fx", "fy", "cx", "cy")},
                "assumed": bool(camera.assumed),
            },
            "space": packet.space,
            "joint_set": packet.joint_set,
            "hands": [{"side": h.side, "score": round(float(h.score), 4), "joints": rounded(h)} for h in packet.hands],
            "events": [event_dict(event) for event in packet.events],
        },
        allow_nan=False,
        separators=(",", ":"),
    )


def event_dict(event: Event) -> dict[str, Any]:
    """An event in a packet of JSON."""
    return {
        "gesture": event.gesture,
        "hand": event.hand,
        "phase": event.phase,
        "value": round(float(event.value), 5),
    }


def to_binary(packet: Packet) -> bytes:
    """The bytes that this module's head describes."""
    camera = packet.camera
    joints = len(JOINTS) - (packet.joint_set == "webxr")
    parts = [
        _HEADER.pack(
            MAGIC,
            SPACES.index(packet.space),
            joints,
            len(packet.hands),
            len(packet.events),
            packet.sequence & 0xFFFFFFFF,
            packet.frame & 0xFFFFFFFF,
            packet.time,
            packet.captured,
            min(packet.width, 0xFFFF),
            min(packet.height, 0xFFFF),
            *(float(v) for v in camera.K),
            camera.assumed,
        )
    ]
    for hand in packet.hands:
        rows = np.empty(joints, _JOINT)
        rows["position"] = hand.joints.positions
        rows["quaternion"] = np.round(hand.joints.orientations * _UNIT)
        rows["radius"] = np.clip(np.round(hand.joints.radii / _RADIUS), 0, 0xFFFF)
        parts += [_HAND.pack(SIDES.index(hand.side), hand.score), rows.tobytes()]
    for event in packet.events:
        name = event.gesture.encode()
        parts += [_EVENT.pack(PHASES.index(event.phase), SIDES.index(event.hand), event.value, len(name)), name]
    return b"".join(parts)


def _from_binary(content: bytes) -> Packet:
    try:
        (magic, space, joints, hands, events, *numbers) = _HEADER.unpack_from(content)
        if magic != MAGIC:
            raise ValueError(f"it is of version {magic[3]}, and this lgnet reads version {MAGIC[3]}")
        sequence, frame, time, captured, width, height, fx, fy, cx, cy, assumed = numbers
        joint_set, at = SETS[joints], _HEADER.size
        found = []
        for _ in range(hands):
            side, score = _HAND.unpack_from(content, at)
            rows = np.frombuffer(content, _JOINT, joints, at + _HAND.size)
            at += _HAND.size + rows.nbytes
            quaternion = rows["quaternion"] / _UNIT
            poses = JointPoses(rows["position"].astype(np.float64), quaternion, rows["radius"] * _RADIUS)
            found.append(SentHand(SIDES[side], score, poses))
        happened = []
        for _ in range(events):
            phase, side, value, count = _EVENT.unpack_from(content, at)
            at += _EVENT.size
            if at + count > len(content):
                raise ValueError("it is cut short")
            happened.append(Event(content[at : at + count].decode(), SIDES[side], PHASES[phase], value))
            at += count
        if at != len(content):
            raise ValueError(f"{len(content) - at} bytes more than it says")
        camera = Camera(fx, fy, cx, cy, bool(assumed))
        return Packet(
            sequence,
            frame,
            time,
            captured,
            width,
            height,
            camera,
            SPACES[space],
            joint_set,
            tuple(found),
            tuple(happened),
        )
    except (ValueError, struct.error, KeyError, IndexError) as error:
        raise ValueError(f"this is no packet of {SCHEMA} ({error})") from error


def _from_json(content: dict[str, Any]) -> Packet:
    if content["schema"] != SCHEMA:
        raise ValueError(f"it is of {content['schema']}")
    rows: Callable[[Any], np.ndarray] = lambda values: np.asarray(values, np.float64).reshape(-1, 8)  # noqa: E731
    hands = []
    if content["space"] not in SPACES or content["joint_set"] not in SETS.values():
        raise ValueError(f"there is no space {content['space']!r} with joints {content['joint_set']!r}")
    sides = [entry[key] for name, key in (("hands", "side"), ("events", "hand")) for entry in content[name]]
    if not set(sides) <= set(SIDES) or not {event["phase"] for event in content["events"]} <= set(PHASES):
        raise ValueError("a hand is neither right nor left, or an event neither begins, holds nor ends")
    for hand in content["hands"]:
        values = rows(hand["joints"])
        if SETS.get(len(values)) != content["joint_set"]:
            raise ValueError(f"a hand of {content['joint_set']} has not {len(values)} joints")
        hands.append(SentHand(hand["side"], hand["score"], JointPoses(values[:, :3], values[:, 3:7], values[:, 7])))
    return Packet(
        content["sequence"],
        content["frame"],
        content["time"],
        content["captured"],
        content["image"]["width"],
        content["image"]["height"],
        Camera(*(content["camera"][key] for key in ("fx", "fy", "cx", "cy", "assumed"))),
        content["space"],
        content["joint_set"],
        tuple(hands),
        tuple(Event(e["gesture"], e["hand"], e["phase"], e["value"]) for e in content["events"]),
    )


assert HEADER_BYTES == 56 and HAND_BYTES == 8 and JOINT_BYTES == 22 and EVENT_BYTES == 7
