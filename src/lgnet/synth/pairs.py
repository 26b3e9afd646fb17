"""Key poses of two hands: what each does, how the left one is turned, and where they touch. Data only; contact.py solves.

Everything is written in the right hand's frame, palm open: x to its thumb, y along its fingers, z out of its palm. Each
may be mirrored, which exchanges the hands.
"""

from __future__ import annotations

from dataclasses import dataclass

Direction = tuple[float, float, float]
X, Y, Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def _minus(d: Direction) -> Direction:
    return (-d[0], -d[1], -d[2])


NX, NY, NZ = _minus(X), _minus(Y), _minus(Z)


@dataclass(frozen=True)
class PairPose:
    """One key pose of two hands."""

    right: str  # a pose of poses.LIBRARY
    left: str
    fingers: Direction  # where the left hand's fingers point if they were straight
    palm: Direction  # and where its palm looks
    touch: tuple[tuple[str, str], ...]  # of contact.spots(), right and left; none: the hands are only near
    apart: Direction | None = None  # where the left hand stands from the right one, metres, if nothing touches
    loose: float = 1.0  # how freely the turn may vary; 1: some 12 degrees


def _touching(text: str) -> tuple[tuple[str, str], ...]:
    """ "palm, index_tip thumb_tip": a spot of both hands, or the right hand's and the left hand's."""
    pairs = [(item.split() * 2)[:2] for item in text.split(",")]
    return tuple((a, b) for a, b in pairs)


def _p(
    right: str, left: str, fingers: Direction, palm: Direction, touch: str = "", loose: float = 1.0, apart=None
) -> PairPose:
    return PairPose(right, left, fingers, palm, _touching(touch) if touch else (), apart, loose)


ALL_TIPS = "thumb_tip, index_tip, middle_tip, ring_tip, little_tip"

PAIRS: dict[str, PairPose] = {
    # palm to palm
    "prayer": _p("flat", "flat", Y, NZ, "palm, middle_tip, index_tip"),
    "clap": _p("open", "open", (0.4, 1, 0), NZ, "palm", 1.5),
    "clap_crosswise": _p("flat", "relaxed", (1, 0.35, 0), NZ, "palm", 1.5),
    "steeple": _p("open", "open", Y, NZ, ALL_TIPS),
    "steeple_spread": _p("spread", "spread", Y, (0, -0.3, -1), ALL_TIPS),
    "steeple_low": _p("cupped", "cupped", (0, 0.8, 0.5), (0, 0.4, -1), "index_tip, middle_tip, ring_tip, little_tip"),
    "clasp_crosswise": _p("clasp", "clasp", (0.85, 0.6, 0), NZ, "palm, middle_tip back"),
    "clasp_hooked": _p("clasp", "clasp", (0.2, -1, 0), NZ, "middle_tip index_base, index_tip middle_base", 0.7),
    "interlaced": _p("interlace", "interlace", (0.25, 1, 0.1), NZ, "index_base, ring_base, middle_tip ring_front", 0.7),
    "interlaced_flat": _p("open", "open", (0.5, 1, 0), NZ, "index_base, middle_base, little_base", 0.7),
    "interlaced_loose": _p("half", "half", (0.35, 1, 0.3), NZ, "middle_mid, little_mid, index_mid", 1.2),
    "washing": _p("relaxed", "relaxed", (0.5, 1, 0), Z, "back palm, middle_tip ring_base"),
    "rubbing": _p("cupped", "flat", (1, 0.2, 0), NZ, "palm, middle_tip back"),
    "handshake": _p("clasp", "grip_thick", (0.25, -1, 0.2), NZ, "palm, radial", 0.8),
    "holding_fingers": _p("clasp", "relaxed", (0.6, -0.8, 0), NZ, "palm index_mid, middle_tip index_midback"),
    # one hand on the other
    "on_back": _p("relaxed", "flat", Y, Z, "back palm"),
    "on_back_crosswise": _p("relaxed", "relaxed", (1, 0.3, 0), Z, "back palm", 1.5),
    "on_back_fist": _p("fist_loose", "cupped", (0.9, 0.4, 0), Z, "back palm"),
    "resting": _p("cupped", "cupped", (1, 0.3, 0), Z, "palm back, middle_mid little_midback", 1.5),
    "resting_along": _p("relaxed", "flat", Y, Z, "palm back"),
    "chin_rest": _p("fist_loose", "flat", (1, 0.5, 0), Z, "back palm, knuckle middle_base"),
    "scrubbing_back": _p("claw", "relaxed", (1, 0.4, 0), Z, "middle_tip back, index_tip back", 1.5),
    "patting": _p("flat", "flat", (0.6, 1, 0), Z, "middle_base back"),
    # fist and palm
    "fist_in_palm": _p("fist", "grip_thick", (0.9, 0, -0.4), NY, "front palm"),
    "fist_wrapped": _p("fist", "cupped", (-0.3, 0, -1), NY, "front palm, middle_front middle_base"),
    "fist_on_palm": _p("fist", "flat", (0, 1, 0.2), X, "edge palm"),
    "fist_bump": _p("fist", "fist", (0, -1, 0.1), Z, "front, middle_front"),
    "fists_stacked": _p("fist", "fist", NY, (0.1, 0, 1), "radial edge"),
    "fists_together": _p("fist", "fist", Y, NZ, "index_midback, middle_midback"),
    "cracking": _p("grip_thick", "fist", (0.3, 0.3, 1), (0, 1, -0.2), "palm front, index_tip back"),
    "wringing": _p("grip_thin", "grip_thin", (0.2, -1, 0), (0.3, 0, 1), "radial edge", 1.5),
    # fingertips
    "heart": _p("cupped", "cupped", (0, 1, 0), NZ, "thumb_tip, index_tip, index_midback"),
    "heart_flat": _p("table", "table", (0, 1, 0), NZ, "index_end, middle_end, thumb_tip"),
    "diamond": _p("flat", "flat", (0.3, 1, 0), Z, "thumb_tip, index_tip"),
    "triangle": _p("open", "open", (-0.5, 1, 0), Z, "thumb_tip, index_tip"),
    "ring_of_fingers": _p("pinch_open", "pinch_open", (-0.6, 0.8, 0), (0.3, 0, -1), "thumb_tip, index_tip"),
    "frame": _p("point_thumb_out", "point_thumb_out", (-0.2, -1, 0), NZ, "thumb_tip index_tip, index_tip thumb_tip"),
    "frame_back": _p("gun", "gun", (0, -1, 0), NZ, "thumb_tip index_tip, index_tip thumb_tip"),
    "index_to_index": _p("point", "point", (0.1, -1, 0.1), Z, "index_end"),
    "index_crossed": _p("point", "point", (1, 0.4, 0), (-0.2, 0, 1), "index_midback index_mid"),
    "hashtag": _p("two", "two", (1, 0.2, 0), Z, "index_midback index_mid, middle_midback middle_mid"),
    "threading": _p("precision", "precision", (-0.7, -0.6, 0.3), (0, 0.3, 1), "index_tip, thumb_tip"),
    "tying": _p("pinch", "pinch", (-0.8, 0.6, 0), (0.1, 0.2, 1), "index_end index_end", 1.5),
    "tearing": _p("pinch", "pinch", Y, NZ, "index_midback, thumb_end", 1.2),
    "pinky_promise": _p("pinky_up", "pinky_up", (0.5, 0.6, 0), NZ, "little_mid little_mid", 1.2),
    "hooked_index": _p("point_hook", "point_hook", (0.1, -1, 0), NZ, "index_mid index_mid, index_tip index_base"),
    "thumbs_together": _p("fist_loose", "fist_loose", (0.2, 1, 0), (0.2, 0, 1), "thumb_tip, thumb_side"),
    "twiddling": _p("clasp", "clasp", (0.5, 0.9, 0), NZ, "middle_mid, ring_mid, thumb_tip thumb_midback"),
    # one hand at work on the other
    "point_at_palm": _p("point", "flat", (0.2, 0.2, 1), (0.1, -1, 0), "index_end palm"),
    "point_at_back": _p("point", "relaxed", (1, 0, 0.3), Y, "index_end back"),
    "write_on_palm": _p("pen", "cupped", (1, 0.3, 0.5), (0.2, -1, -0.6), "index_end palm, thumb_end palm"),
    "count_thumb": _p("point", "open", (-0.8, 0.2, 0.5), (0, 0, 1), "index_end thumb_tip"),
    "count_index": _p("point", "open", (-1, 0, 0.2), (0, -0.4, 1), "index_end index_tip"),
    "count_middle": _p("point", "spread", (-1, 0, 0.2), (0, -0.4, 1), "index_end middle_tip"),
    "count_ring": _p("point", "spread", (-1, 0.2, 0), (0, -0.4, 1), "index_end ring_tip"),
    "count_little": _p("point", "open", (-1, 0.3, 0), (0, -0.4, 1), "index_end little_tip"),
    "pinch_index": _p(
        "pinch_open", "point", (-1, 0.2, 0.2), (0, -0.3, 1), "index_tip index_midback, thumb_tip index_mid"
    ),
    "pull_finger": _p("pinch", "relaxed", (-0.5, -0.9, 0), (0.1, 0, 1), "index_tip middle_end, thumb_tip middle_tip"),
    "ring_turning": _p(
        "pinch_open", "relaxed", (-0.9, -0.3, 0.3), (0, 0.3, 1), "index_tip ring_front, thumb_tip ring_base"
    ),
    "massage": _p("grip_thick", "relaxed", (-0.9, 0.1, 0.3), (0, -0.2, 1), "thumb_tip palm, index_tip back"),
    "nails": _p("half", "precision", (-0.3, 0.4, -1), (0.2, -1, 0), "index_end thumb_tip, index_midback index_tip"),
    # wrists
    "grasp_wrist": _p(
        "grip_thick", "fist_loose", (1, 0.2, 0.2), (0, 0.4, -1), "palm wrist_back, thumb_tip wrist_front"
    ),
    "grasp_wrist_front": _p("grip_thick", "open", (1, 0.1, 0), Z, "palm wrist_front", 1.2),
    "pulse": _p("relaxed", "open", (1, 0.1, 0), NZ, "index_tip wrist_front, middle_tip wrist_front"),
    "watch": _p("pinch_open", "fist_loose", (1, 0.2, 0), Z, "index_tip wrist_back, thumb_tip wrist_back"),
    "wrists_crossed": _p("open", "open", (0.9, 0.6, 0), Z, "wrist_front wrist_back", 1.5),
    "wrists_crossed_fists": _p("fist", "fist", (0.8, 0.7, 0), Z, "wrist_front wrist_back", 1.5),
    "wrists_back_to_back": _p("spread", "spread", (0.8, 0.7, 0), Z, "wrist_back wrist_front", 1.5),
    # edges and sides
    "book": _p("flat", "flat", (0.1, 1, 0), (0.2, 0, 1), "little_side, edge"),
    "bowl": _p("cupped", "cupped", (0.15, 1, 0.1), (0.4, 0, 1), "little_side, edge"),
    "begging": _p("relaxed", "relaxed", (0.3, 1, 0), (0.2, 0.2, 1), "little_side little_midback, edge edge"),
    "thumbs_crossed": _p("open", "open", (0.35, 1, 0), Z, "thumb_midback thumb_mid", 1.2),
    "bird": _p("open", "open", (0.6, 1, 0), NZ, "thumb_mid, heel", 1.2),
    "side_by_side": _p("flat_thumb_in", "flat_thumb_in", Y, Z, "index_side, radial"),
    "time_out": _p("flat", "flat", (-1, 0, 0), NY, "middle_end palm"),
    "time_out_fist": _p("fist_loose", "flat", (-1, 0, 0.3), NY, "front palm"),
    "blade_on_palm": _p("flat", "flat", (0.2, 1, 0), X, "edge palm"),
    "scissors_paper": _p("victory", "flat", (0.2, 0.2, 1), (0.3, -1, 0), "index_end middle_side"),
    "gun_clasp": _p("gun", "gun", (0.15, 1, 0), NZ, "index_mid, ring_midback ring_midback, thumb_mid"),
    # near, without touching
    "behind": _p("open", "open", (0.2, 1, 0), Z, apart=(0.01, 0.01, -0.06), loose=2.0),
    "before": _p("relaxed", "flat", (-0.2, 1, 0), Z, apart=(-0.02, 0.02, 0.07), loose=2.0),
    "over_fist": _p("fist", "open", (0.5, 1, 0), NZ, apart=(0.0, 0.0, 0.075), loose=2.0),
    "holding_ball": _p("cupped", "cupped", Y, NZ, apart=(0.0, 0.0, 0.11), loose=1.5),
    "holding_cup": _p("grip_thick", "grip_thick", (0.2, 1, 0), NZ, apart=(0.01, 0.0, 0.09), loose=1.2),
    "holding_phone": _p("phone", "phone", (0.2, 1, 0.2), (0.3, 0, 1), apart=(-0.1, 0.0, 0.02), loose=1.0),
    "gamepad": _p("grip_thin", "grip_thin", (0.3, 1, 0), (0.2, 0, -1), apart=(0.05, 0.0, 0.09), loose=1.2),
    "typing": _p("typing", "typing", (0.15, 1, 0), Z, apart=(0.11, 0.0, 0.0), loose=1.2),
    "conducting": _p("precision", "open", (0.5, 0.8, 0.3), (0, -0.3, 1), apart=(0.06, 0.03, 0.05), loose=3.0),
}
"""Each is a starting point: poses, turns and places are varied and then moved until hands touch and do not cut."""
