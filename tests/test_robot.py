"""Retargeting: a robot hand written here, posed by itself, and by a person's hand."""

import csv
import importlib.util
import json
import math
import re

import cv2
import numpy as np
import pytest
from posing import posed_hand, scene, turn

from lgnet.cli import main

if importlib.util.find_spec("yourdfpy") is None:
    pytest.skip("the extra `robot` is not installed", allow_module_level=True)

from lgnet import robot
from lgnet import urdf as urdf_file
from lgnet.commands_robot import parse_axes, read_results

FINGERS = {
    "thumb": (0.05, 0.02),
    "index": (0.03, 0.09),
    "middle": (0.0, 0.095),
    "ring": (-0.02, 0.09),
    "little": (-0.04, 0.08),
}
LENGTHS = {"thumb": (0.04, 0.03, 0.025), "index": (0.045, 0.025, 0.02), "middle": (0.05, 0.03, 0.02)}
LENGTHS |= {"ring": (0.045, 0.028, 0.02), "little": (0.035, 0.02, 0.018)}


def urdf(side: str = "right", scale: float = 1.0, name: str = "{finger}_{link}") -> str:
    """Five fingers of three bones: spread and bend at the base, bend in the middle, the last joint half as much.

    Fingers point to y, the palm looks to z, as the hand model's flat hand; the thumb points aside, to x.
    """
    mirror = 1 if side == "right" else -1
    out = [f'<robot name="test_{side}_hand"><link name="palm"/>']

    def joint(kind: str, title: str, parent: str, child: str, xyz, axis=(1, 0, 0), rpy=0.0, more: str = "") -> None:
        place = " ".join(f"{v * scale:.6f}" for v in xyz)
        out.append(f'<link name="{child}"/><joint name="{title}" type="{kind}"><parent link="{parent}"/>')
        out.append(f'<child link="{child}"/><origin xyz="{place}" rpy="0 0 {rpy:.6f}"/>')
        out.append(f'<axis xyz="{axis[0]} {axis[1]} {axis[2]}"/>{more}</joint>')

    def limit(low: float, high: float) -> str:
        return f'<limit lower="{low}" upper="{high}" effort="1" velocity="1"/>'

    for finger, (x, y) in FINGERS.items():
        a, b, c = LENGTHS[finger]
        link = [name.format(finger=finger, link=part) for part in ("base", "proximal", "middle", "distal", "tip")]
        rpy = -mirror * 0.7 if finger == "thumb" else 0.0
        joint("revolute", f"{finger}_spread", "palm", link[0], (mirror * x, y, 0), (0, 0, 1), rpy, limit(-0.4, 0.4))
        joint("revolute", f"{finger}_bend", link[0], link[1], (0, 0, 0), more=limit(-0.2, 1.6))
        joint("revolute", f"{finger}_middle", link[1], link[2], (0, a, 0), more=limit(0, 1.7))
        follow = f'{limit(0, 0.85)}<mimic joint="{finger}_middle" multiplier="0.5" offset="0.0"/>'
        joint("revolute", f"{finger}_last", link[2], link[3], (0, b, 0), more=follow)
        joint("fixed", f"{finger}_end", link[3], link[4], (0, c, 0))
    return "\n".join([*out, "</robot>"])


@pytest.fixture
def hand_file(tmp_path):
    path = tmp_path / "hand.urdf"
    path.write_text(urdf())
    return path


def angles_within(hand: urdf_file.RobotHand, rng: np.random.Generator) -> np.ndarray:
    return hand.low + (hand.high - hand.low) * rng.uniform(0.15, 0.85, len(hand.low))


def test_forward_kinematics_worked_by_hand(hand_file):
    hand = urdf_file.load_robot(hand_file)
    assert len(hand.joints) == 15  # the last joints follow
    assert (hand.wrist, hand.side, hand.fingers) == ("palm", "right", (0, 1, 2, 3, 4))
    assert hand.links == tuple(f"{finger}_tip" for finger in FINGERS)
    q = np.zeros(15)
    np.testing.assert_allclose(hand.tips(q)[0][1], [0.03, 0.09 + 0.045 + 0.025 + 0.02, 0], atol=1e-6)
    q[hand.joints.index("index_middle")] = math.pi / 2  # and the last joint 45 degrees more: towards z, then back
    half = math.sqrt(0.5)
    np.testing.assert_allclose(hand.tips(q)[0][1], [0.03, 0.09 + 0.045 - 0.02 * half, 0.025 + 0.02 * half], atol=1e-6)


def test_slopes_are_those_of_small_steps(hand_file):
    hand = urdf_file.load_robot(hand_file)
    q = angles_within(hand, np.random.default_rng(0))
    _, slopes = hand.tips(q)
    for i in range(len(q)):
        step = np.eye(len(q))[i] * 1e-6
        np.testing.assert_allclose((hand.tips(q + step)[0] - hand.tips(q - step)[0]) / 2e-6, slopes[..., i], atol=1e-7)


def test_its_own_poses_are_found_again(hand_file):
    """In one go without a frame before, and along a path, each frame from the one before."""
    hand = urdf_file.load_robot(hand_file)
    rng = np.random.default_rng(1)
    for _ in range(10):
        q = angles_within(hand, rng)
        found, error = robot.solve(hand, hand.tips(q)[0])
        assert error < 1e-4
        assert np.abs(found - q).max() < np.deg2rad(1)
    a, b, last = angles_within(hand, rng), angles_within(hand, rng), None
    for share in np.linspace(0, 1, 40):
        q = a + share * (b - a)
        last, error = robot.solve(hand, hand.tips(q)[0], last)
        assert error < 3e-4
        assert np.abs(last - q).max() < np.deg2rad(3)


def test_limits_hold_and_what_cannot_be_reached_is_near(hand_file):
    hand = urdf_file.load_robot(hand_file)
    far = hand.tips(hand.open())[0] * 1.5
    found, error = robot.solve(hand, far)
    assert (found >= hand.low).all()
    assert (found <= hand.high).all()
    assert 0.03 < error < 0.12


def result_of(hand: urdf_file.RobotHand, q: np.ndarray, fit: robot.Fit, rotation: np.ndarray) -> dict:
    """A result whose hand has its fingertips where those of the robot in this pose are, laid on as `fit` says."""
    person = posed_hand(np.zeros((15, 3)), "right", rotation, at=(0.0, 0.1, 0.6))
    flat = np.linalg.norm((person.joints3d - person.joints3d[0])[robot.TIPS], axis=1).mean()
    joints = person.joints3d.copy()
    joints[robot.TIPS] = joints[0] + hand.tips(q)[0] @ fit.rotation * flat / fit.size @ rotation.T
    content = scene(person).to_dict()
    content["hands"][0]["joints3d"] = joints.tolist()
    return content


@pytest.mark.parametrize("scale", [1.0, 1.7])
def test_command_retrieves_the_robots_own_motion(tmp_path, scale, capsys):
    path = tmp_path / "hand.urdf"
    path.write_text(urdf(scale=scale))
    hand = urdf_file.load_robot(path)
    fit = robot.fit_frames(hand, "right", parse_axes("+y,+z"))
    rng = np.random.default_rng(2)
    a, b = angles_within(hand, rng), angles_within(hand, rng)
    true = [a + share * (b - a) for share in np.linspace(0, 1, 12)]
    lines = []
    for i, q in enumerate(true):
        content = {"frame": i, "time": i / 30, **result_of(hand, q, fit, turn((1, 0.4, 0), 100 + 9 * i))}
        lines.append(json.dumps(content if i != 5 else {**content, "hands": []}))
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    call = ["retarget", str(tmp_path / "a.jsonl"), "--urdf", str(path), "--axes", "+y,+z"]
    assert main([*call, "--out", str(tmp_path / "a.csv")]) == 0
    assert "right hand, wrist palm, thumb thumb_tip" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert [int(row["frame"]) for row in rows] == [i for i in range(12) if i != 5]
    for row in rows:
        found = np.array([float(row[joint]) for joint in hand.joints])
        assert np.abs(found - true[int(row["frame"])]).max() < np.deg2rad(3)
        assert float(row["error_mm"]) < 0.5 * scale
    assert main([*call, "--out", str(tmp_path / "a.json")]) == 0
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["joints"] == list(hand.joints)
    assert len(content["frames"]) == 11


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("scale", [0.8, 1.3])
def test_a_person_bends_the_robots_fingers(tmp_path, side, scale):
    """Frames are found by themselves: the finger that is bent bends, the straight ones stay, on both sides and any base."""
    path = tmp_path / "hand.urdf"
    path.write_text(urdf(side, scale))
    hand = urdf_file.load_robot(path)
    assert hand.side == side
    fit = robot.fit_frames(hand, side)
    flat = np.eye(3)
    assert np.degrees(np.linalg.norm(cv2.Rodrigues(fit.rotation @ flat)[0])) < 15  # the frames were made alike
    angles = np.zeros((15, 3))
    angles[3:6, 0] = np.deg2rad([60, 70, 40])  # the index finger
    person = scene(**{side: posed_hand(angles, side, turn((0.2, 1, 0.1), 130))}).to_dict()["hands"][0]
    found, _ = robot.solve(hand, robot.targets(hand, fit, person))
    bend = {
        finger: found[hand.joints.index(f"{finger}_bend")] + found[hand.joints.index(f"{finger}_middle")]
        for finger in FINGERS
    }
    assert np.degrees(bend["index"]) > 90
    assert max(np.degrees(bend[finger]) for finger in ("middle", "ring", "little")) < 60


@pytest.mark.parametrize(
    ("name", "finger"),
    [
        *(("rh_fftip", "index"), ("rh_thmiddle", "thumb"), ("rh_lfdistal", "little"), ("FFJ1", "index")),
        *(("RightIndexTip_2", "index"), ("lthumb_3", "thumb"), ("thumb_middle", "thumb"), ("index_middle", "index")),
        *(("middle_tip", "middle"), ("bearing", None), ("spring", None), ("this", None), ("index_thumb_plate", None)),
    ],
)
def test_names_of_links_tell_the_finger_by_whole_words(name, finger):
    assert urdf_file._finger(name) == finger


def test_names_are_guessed_or_asked_for(tmp_path, capsys):
    path = tmp_path / "a.urdf"
    path.write_text(
        urdf(name="{finger}{link}").replace("thumb", "th_").replace("index", "ff_").replace("little", "lf_")
    )
    assert urdf_file.load_robot(path).links == ("th_tip", "ff_tip", "middletip", "ringtip", "lf_tip")
    numbers = urdf()
    for n, finger in enumerate(FINGERS):
        numbers = numbers.replace(finger, f"chain{n}")
    path.write_text(numbers.replace("chain2_middle", "chain2_second").replace("_middle", "_second"))
    (tmp_path / "a.json").write_text(json.dumps(scene(posed_hand(np.zeros((15, 3)))).to_dict()))
    call = ["retarget", str(tmp_path / "a.json"), "--urdf", str(path), "--out", str(tmp_path / "a.csv")]
    assert main(call) == 2
    assert (
        "do not tell which links are fingertips (its last links are chain0_tip, chain1_tip" in capsys.readouterr().err
    )
    assert main([*call, "--links", "thumb=chain0_tip", "index=chain1_tip", "middle=chain2_tip"]) == 0
    assert "thumb chain0_tip, index chain1_tip, middle chain2_tip: 1 frames" in capsys.readouterr().out


def test_wrong_calls_get_one_sentence(tmp_path, hand_file, capsys):
    good = tmp_path / "a.json"
    good.write_text(json.dumps(scene(posed_hand(np.zeros((15, 3)))).to_dict()))
    (tmp_path / "b.json").write_text('{"hands": []}')
    (tmp_path / "c.urdf").write_text("no")
    limit = '<limit lower="-0.4" upper="0.4" effort="1" velocity="1"/>'
    ring = '<joint name="back" type="fixed"><parent link="index_tip"/><child link="palm"/></joint></robot>'
    (tmp_path / "empty.urdf").write_text('<robot name="x"></robot>')
    (tmp_path / "still.urdf").write_text(re.sub(r'lower="[-0-9.]+" upper="[-0-9.]+"', 'lower="0" upper="0"', urdf()))
    for name, old, new in (
        ("aimless", '<axis xyz="0 0 1"/>', '<axis xyz="0 0 0"/>'),
        ("ring", "</robot>", ring),
        ("two", "</robot>", ring.replace("palm", "thumb_tip")),
        ("nan", limit, limit.replace("-0.4", "nan")),
        ("turned", limit, limit.replace("-0.4", "0.9")),
        ("free", limit, ""),
    ):
        (tmp_path / f"{name}.urdf").write_text(urdf().replace(old, new, 1))
    (tmp_path / "millimetres.urdf").write_text(urdf(scale=1000))
    cases = [
        (str(good), tmp_path / "empty.urdf", (), "describes no link"),
        (str(good), tmp_path / "still.urdf", (), "no joint can move between palm and the fingertips"),
        (str(good), tmp_path / "aimless.urdf", (), "the joint thumb_spread has the axis [0.0, 0.0, 0.0]"),
        (str(good), tmp_path / "millimetres.urdf", (), "from its link; metres are wanted"),
        (str(good), tmp_path, (), "is a folder"),
        (str(good), tmp_path / "ring.urdf", (), "are a ring"),
        (str(good), tmp_path / "two.urdf", (), "the link thumb_tip hangs on two joints, thumb_end and back"),
        (str(good), tmp_path / "nan.urdf", (), "the limits of the joint thumb_spread are nan to 0.4"),
        (str(good), tmp_path / "turned.urdf", (), "the limits of the joint thumb_spread are 0.9 to 0.4"),
        (str(good), tmp_path / "free.urdf", (), "the revolute joint thumb_spread has no limit"),
        (str(good), hand_file, ("--links", "thumb=index_tip", "index=index_tip"), "names index_tip more than once"),
        (str(good), tmp_path / "none.urdf", (), "does not exist"),
        (str(good), tmp_path / "c.urdf", (), "is no URDF that can be read"),
        (str(tmp_path / "b.json"), hand_file, (), "line 1, is no result of lgnet reconstruct"),
        (str(tmp_path / "none.json"), hand_file, (), "cannot be read"),
        (str(good), hand_file, ("--links", "index=nothing"), "has no link 'nothing'"),
        (str(good), hand_file, ("--links", "toe=palm"), "there is no finger 'toe'"),
        (str(good), hand_file, ("--axes", "up,+z"), "--axes takes two of"),
        (str(good), hand_file, ("--axes=-z,+z",), "square to each other"),
    ]
    for result, path, more, sentence in cases:
        assert main(["retarget", result, "--urdf", str(path), "--out", str(tmp_path / "o.csv"), *more]) == 2
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1
    assert main(["retarget", str(good), "--urdf", str(hand_file), "--out", str(tmp_path / "o.txt")]) == 2
    before = good.read_bytes()
    assert main(["retarget", str(good), "--urdf", str(hand_file), "--out", str(good)]) == 2
    assert good.read_bytes() == before
    assert (
        main(["retarget", str(good), "--urdf", str(hand_file), "--out", str(tmp_path / "o.csv"), "--side", "left"]) == 1
    )
    assert not (tmp_path / "o.csv").exists()
    assert [entry[0] for entry in read_results(good)] == [0]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"side":', '"scale": null, "side":', "is no result"),
        ('"side":', '"scale": 0, "side":', "a hand is incomplete"),
        ('"schema"', '"frame": Infinity, "schema"', "is no result"),
        ('"schema"', '"time": NaN, "schema"', "its time is nan"),
    ],
)
def test_numbers_that_are_none_are_no_result(old, new, said, tmp_path):
    line = json.dumps(scene(posed_hand(np.zeros((15, 3)))).to_dict())
    assert old in line
    (tmp_path / "a.json").write_text(line.replace(old, new))
    with pytest.raises(ValueError, match=said):
        list(read_results(tmp_path / "a.json"))


def test_a_result_may_be_laid_out_anew_and_an_empty_one_is_told(tmp_path):
    content = scene(posed_hand(np.zeros((15, 3)))).to_dict()
    (tmp_path / "a.json").write_text(json.dumps(content, indent=2), encoding="utf-8-sig")
    assert [entry[3] for entry in read_results(tmp_path / "a.json")] == [content["hands"]]
    (tmp_path / "a.jsonl").write_text("\n")
    with pytest.raises(ValueError, match=r"a\.jsonl is empty"):
        list(read_results(tmp_path / "a.jsonl"))


def test_a_last_line_that_is_cut_off_is_left_out(tmp_path, capsys):
    line = json.dumps(scene(posed_hand(np.zeros((15, 3)))).to_dict())
    (tmp_path / "a.jsonl").write_text(f"{line}\n{line}\n{line[:200]}")
    assert len(list(read_results(tmp_path / "a.jsonl"))) == 2
    assert "its last line is cut off" in capsys.readouterr().err
    (tmp_path / "a.jsonl").write_text(f"{line}\n{line[:200]}\n{line}\n")
    with pytest.raises(ValueError, match="line 2, is no result"):
        list(read_results(tmp_path / "a.jsonl"))


def test_joints_that_follow_keep_within_their_own_limits(tmp_path):
    path = tmp_path / "hand.urdf"
    follower, leader = '<limit lower="0" upper="0.85"', "index_middle"
    path.write_text(urdf())
    before = urdf_file.load_robot(path)
    path.write_text(urdf().replace(follower, '<limit lower="0" upper="0.5"'))  # multiplier 0.5: 1.0 of the leader
    narrowed = urdf_file.load_robot(path)
    path.write_text(urdf().replace(follower, '<limit lower="0" upper="0"'))  # not in earnest
    unsaid = urdf_file.load_robot(path)
    at = narrowed.joints.index(leader)
    assert [hand.high[at] for hand in (before, narrowed, unsaid)] == pytest.approx([1.7, 1.0, 1.7])
    angles, _ = robot.solve(narrowed, before.tips(before.high)[0])
    assert (angles <= narrowed.high + 1e-9).all() and angles[at] * 0.5 <= 0.5 + 1e-9
