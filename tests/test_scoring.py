import contextlib
from dataclasses import replace

import numpy as np
import pytest
import trimesh

from lgnet.data.sample import Sample, empty_sample
from lgnet.geometry import box_of
from lgnet.hands import SIDES, Camera, Hand, TwoHands
from lgnet.scoring.columns import read_scores, tabulate, to_npz
from lgnet.scoring.score import score_picture
from lgnet.scoring.summary import confidence_intervals, figures, resampled, summarise

K = np.array([500.0, 500.0, 320.0, 240.0])


def grid_hand() -> np.ndarray:
    """(21, 3): the wrist at the origin, middle MCP 0.1 m along y, every other joint somewhere definite."""
    joints = np.random.default_rng(7).normal(size=(21, 3)) * 0.05
    joints[0] = 0
    joints[9] = 0, 0.1, 0
    return joints


def hand(side: int, joints: np.ndarray, vertices: np.ndarray | None = None, rough: np.ndarray | None = None) -> Hand:
    vertices = joints[:5] if vertices is None else vertices
    return Hand(
        side=SIDES[side],
        score=1.0,
        box=np.zeros(4),
        joints2d=joints[:, :2] / joints[:, 2:] * K[:2] + K[2:],
        joints3d=joints,
        vertices=vertices,
        vertices_rough=vertices if rough is None else rough,
        faces=np.zeros((1, 3), int),
        pose=np.zeros((16, 3)),
        shape=np.zeros(10),
        translation=joints[0],
    )


def two(*hands: Hand) -> TwoHands:
    slots = {h.side: h for h in hands}
    return TwoHands(slots.get("right"), slots.get("left"), 640, 480, Camera(*K))


def scene(kind: str = "separate", sides: tuple[int, ...] = (0, 1)) -> tuple[Sample, list[np.ndarray]]:
    """A sample with hands at x = -0.15 and 0.15, half a metre before the camera, with all truth but meshes."""
    sample = replace(empty_sample("scene", kind, np.zeros((480, 640, 3), np.uint8), K))
    placed = [grid_hand() + (-0.15, 0, 0.5), grid_hand() * (-1, 1, 1) + (0.15, 0, 0.5)]
    for side in sides:
        sample.present[side] = True
        sample.joints3d[side] = placed[side]
        sample.joints3d_valid[side] = True
        sample.joints2d[side] = placed[side][:, :2] / placed[side][:, 2:] * K[:2] + K[2:]
        sample.joints2d_valid[side] = True
        sample.box[side] = box_of(sample.joints2d[side])
    return sample, placed


def summary(pictures):
    return summarise(tabulate(pictures))


# --- whole pictures


def test_a_perfect_picture():
    sample, placed = scene()
    meshes = [np.random.default_rng(1).normal(size=(9, 3)) for _ in range(2)]
    score = score_picture(sample, two(*(hand(s, placed[s], meshes[s], meshes[s] + 0.003) for s in (0, 1))), meshes)
    figures = summary([score])
    assert figures["presence_accuracy"] == figures["handedness_accuracy"] == figures["hands_found"] == 1
    assert figures["auc_0_50"] == pytest.approx(1, abs=1e-4)
    assert figures["pck2d"] == {"0.1": 1, "0.2": 1}
    for name in "ABC":
        values = figures["protocols"][name]
        assert values["mpjpe"] == pytest.approx(0, abs=1e-3)  # truth is stored in single precision
        assert values["mpvpe"] == pytest.approx(0, abs=1e-3)
    assert figures["protocols"]["C"]["mpvpe_rough"] == pytest.approx(3 * 3**0.5, abs=1e-3)
    assert figures["protocols"]["A"]["mpvpe_rough"] is None  # of M_r's joints only the wrist is known
    assert figures["mrrpe"] == pytest.approx(0, abs=1e-3)
    assert figures["pa_mpjpe"] == pytest.approx(0, abs=1e-3)
    assert figures["by"]["separate"]["count"] == 1
    assert figures["by"]["single"]["count"] == 0
    assert figures["by"]["single"]["pa_mpjpe"] is None
    assert figures["by"]["single"]["protocols"]["A"] == {"mpjpe": None, "mpvpe": None, "mpvpe_rough": None}


def test_scaled_protocols_take_the_joints_of_the_true_mesh():
    """As IntagHand's, EANet's and DIR's codes do; InterNet's takes the annotated ones, here 5 mm off, one of them unknown."""
    sample, placed = scene()
    sample.joints3d[:, 1:] += np.random.default_rng(2).normal(size=(2, 20, 3)).astype(np.float32) * 0.005
    sample.joints3d_valid[:, 8] = False
    meshes = [np.random.default_rng(1).normal(size=(9, 3)) * 0.05 + placed[s].mean(0) for s in (0, 1)]
    perfect = two(*(hand(s, placed[s], meshes[s]) for s in (0, 1)))
    by_mesh = summary([score_picture(sample, perfect, meshes, mesh_joints=placed)])
    annotated = summary([score_picture(sample, perfect, meshes)])
    for name in "AB":
        assert by_mesh["protocols"][name]["mpjpe"] == pytest.approx(0, abs=1e-3)
        assert by_mesh["protocols"][name]["mpvpe"] == pytest.approx(0, abs=1e-3)
        assert annotated["protocols"][name]["mpjpe"] > 2 and annotated["protocols"][name]["mpvpe"] > 1
    assert by_mesh["protocols"]["C"]["mpjpe"] == annotated["protocols"]["C"]["mpjpe"] > 2
    sample.joints3d[:, 0] += 0.005  # a mesh is measured from its own wrist
    by_mesh = summary([score_picture(sample, perfect, meshes, mesh_joints=placed)])
    assert by_mesh["protocols"]["C"]["mpvpe"] == by_mesh["protocols"]["C"]["mpvpe_rough"] == pytest.approx(0, abs=1e-3)
    sample.joints3d[:, 0] -= 0.005
    moved = two(
        *(hand(s, placed[s] + np.eye(21)[8][:, None] * 0.021, meshes[s]) for s in (0, 1))
    )  # the unknown one, 21 mm
    score = score_picture(sample, moved, meshes, mesh_joints=placed).hands[0]
    assert score.mpjpe["B"] == pytest.approx(3**0.5, abs=1e-3)
    assert np.isnan(score.errors3d["C"][8])


def test_a_hand_without_a_box_counts_in_presence_only():
    """It can be given to nobody with `--boxes truth`: missing it is not wrong, whatever its mesh."""
    sample, placed = scene()
    sample.box[1] = 0
    meshes = [np.random.default_rng(s).normal(size=(9, 3)) * 0.05 + placed[s].mean(0) for s in (0, 1)]
    good = hand(0, placed[0], meshes[0])
    for predicted in ((good,), (good, hand(1, placed[1] + 0.1, meshes[1][::-1]))):
        score = score_picture(sample, two(*predicted), meshes, mesh_joints=placed)
        other = score.hands[1]
        assert score.presence == (True, len(predicted) == 2) and not other.of_mesh
        assert other.found is None and not other.errors3d and np.isnan(other.errors2d).all()
        assert (other.pa_mpjpe, other.pa_mpvpe, other.f_scores, other.visible, other.mpvpe) == (
            None,
            None,
            None,
            None,
            {},
        )
        figures = summary([score])
        assert (
            figures["auc_0_50"] == pytest.approx(1, abs=1e-4) and figures["hands_of_mesh"] == 1 and figures["f_5"] == 1
        )


def test_a_wrist_alone_is_no_pose():
    sample, placed = scene()
    sample.joints3d_valid[:, 1:] = False
    score = score_picture(sample, two(*(hand(s, placed[s][::-1].copy()) for s in (0, 1))))
    figures = summary([score])
    assert figures["protocols"]["C"]["mpjpe"] is None and figures["auc_0_50"] is None
    assert all(np.isnan(one.offset).all() for one in score.hands)  # so no acceleration error either
    assert figures["mrrpe"] is not None and figures["absolute_mpjpe"] is not None


def test_groups_are_pictures_of_two_hands_and_folders():
    sample, placed = scene()
    both = replace(score_picture(sample, two(hand(0, placed[0]), hand(1, placed[1]))), name="a/1.jpg")
    missed = replace(score_picture(sample, two()), name="b/1.jpg")
    lone = replace(both, name="b/2.jpg", hands=both.hands[:1])
    groups = summary([both, missed, lone])["groups"]
    assert {name: (own["count"], own["hands_found"]) for name, own in groups.items()} == {
        "two hands": (2, 0.5),
        "a": (1, 1),
        "b": (2, pytest.approx(1 / 3)),
    }
    assert set(summary([lone])["groups"]) == set()
    flat = [replace(lone, name=f"{number}.jpg") for number in range(3)]  # every picture its own folder's: none
    assert set(summary(flat)["groups"]) == set()
    assert set(summary([*flat, lone])["groups"]) == {"b"}


def test_a_missed_hand_counts_in_presence_pck_and_auc_but_not_in_millimetres():
    sample, placed = scene()
    figures = summary([score_picture(sample, two(hand(0, placed[0])))])
    assert figures["presence_accuracy"] == 0.5
    assert figures["hands_found"] == 0.5
    assert figures["pck2d"] == {"0.1": 0.5, "0.2": 0.5}
    assert figures["auc_0_50"] == pytest.approx(0.5, abs=1e-4)
    assert figures["protocols"]["C"]["mpjpe"] == pytest.approx(0, abs=1e-3)
    assert figures["mrrpe"] is None
    assert (figures["hands"], figures["hands_scored_3d"]) == (2, 1)


def test_an_invented_hand_counts_in_presence():
    sample, placed = scene("single", (0,))
    figures = summary([score_picture(sample, two(hand(0, placed[0]), hand(1, placed[1])))])
    assert figures["presence_accuracy"] == 0.5
    assert figures["hands_found"] == 1
    assert figures["mrrpe"] is None
    unknown = replace(sample, present_known=np.array([True, False]))  # another hand may be in this picture, unlabelled
    figures = summary([score_picture(unknown, two(hand(0, placed[0]), hand(1, placed[1])))])
    assert figures["presence_accuracy"] == 1


def test_an_empty_picture():
    sample, placed = scene("none", ())
    assert summary([score_picture(sample, two())])["presence_accuracy"] == 1
    figures = summary([score_picture(sample, two(hand(0, placed[0])))])
    assert figures["presence_accuracy"] == 0.5
    assert figures["hands"] == 0
    assert figures["hands_found"] is None


def test_the_wrong_side_is_not_found_but_stands_there():
    sample, placed = scene("single", (0,))
    figures = summary([score_picture(sample, two(hand(1, placed[0])))])
    assert figures["handedness_accuracy"] == 0
    assert figures["hands_found"] == 0
    assert figures["presence_accuracy"] == 0
    assert figures["pck2d"]["0.2"] == 0


def test_swapped_hands():
    sample, placed = scene()
    figures = summary([score_picture(sample, two(hand(0, placed[1]), hand(1, placed[0])))])
    assert figures["handedness_accuracy"] == 0
    assert figures["presence_accuracy"] == 1  # both are there
    assert figures["hands_found"] == 0


def test_a_hand_nowhere_near_says_nothing_of_handedness():
    sample, placed = scene("single", (0,))
    figures = summary([score_picture(sample, two(hand(0, placed[0] + (3.0, 0, 0))))])
    assert figures["handedness_accuracy"] is None
    assert figures["hands_found"] == 0


def test_missing_truth_is_null_never_zero():
    sample, placed = scene()
    sample.joints3d_valid[:] = False
    sample.joints3d[:] = 0
    figures = summary([score_picture(sample, two(hand(0, placed[0]), hand(1, placed[1])))])
    assert all(v is None for values in figures["protocols"].values() for v in values.values())
    assert figures["pa_mpjpe"] is figures["pa_mpvpe"] is figures["mrrpe"] is figures["auc_0_50"] is None
    assert figures["pck2d"]["0.1"] == 1
    # and beside a picture with truth it does not dilute that one's error
    known, places = scene()
    off = [places[0].copy(), places[1]]
    off[0][4] += 0, 0, 0.021
    pictures = [
        score_picture(sample, two(hand(0, placed[0]), hand(1, placed[1]))),
        score_picture(known, two(hand(0, off[0]), hand(1, off[1]))),
    ]
    assert summary(pictures)["protocols"]["C"]["mpjpe"] == pytest.approx(0.5, abs=1e-3)  # (21 / 21 + 0) / 2


def test_joints_without_2d_truth_are_not_scored():
    sample, placed = scene("single", (0,))
    sample.joints2d_valid[0, 5:] = False
    sample.joints2d[0, 5:] = 0
    score = score_picture(sample, two(hand(0, placed[0])))
    assert np.isfinite(score.hands[0].errors2d).tolist() == [True] * 5 + [False] * 16
    assert summary([score])["pck2d"]["0.1"] == 1
    sample.joints2d_valid[:] = False
    figures = summary([score_picture(sample, two(hand(0, placed[0])))])
    assert figures["pck2d"] == {"0.1": None, "0.2": None}
    assert figures["hands_found"] is None
    assert figures["handedness_accuracy"] is None
    assert figures["presence_accuracy"] == 1


def test_2d_errors_are_shares_of_the_larger_side_of_the_box():
    sample, placed = scene("single", (0,))
    predicted = replace(hand(0, placed[0]), joints2d=sample.joints2d[0] + (0, 15))
    side = np.ptp(sample.joints2d[0], 0).max()
    errors = score_picture(sample, two(predicted)).hands[0].errors2d
    np.testing.assert_allclose(errors, 15 / side, rtol=1e-4)
    boxed = replace(sample, score_box=np.array([[0, 0, 60, 100], [0, 0, 0, 0.0]]))
    score = score_picture(boxed, two(predicted))
    np.testing.assert_allclose(score.hands[0].errors2d, 0.15, rtol=1e-4)
    assert summary([score])["pck2d"] == {"0.1": 0, "0.2": 1}


def test_another_models_mesh_is_not_compared():
    sample, placed = scene("single", (0,))
    score = score_picture(sample, two(hand(0, placed[0])), (np.zeros((778, 3)), None))
    assert score.hands[0].mpvpe == {}
    assert score.hands[0].pa_mpvpe is None


def test_a_number_that_is_not_finite_is_an_error():
    sample, placed = scene("single", (0,))
    broken = placed[0].copy()
    broken[3, 0] = np.nan
    with pytest.raises(ValueError, match="right hand predicted for scene"):
        score_picture(sample, two(hand(0, broken)))


def test_no_pictures():
    figures = summary([])
    assert figures["count"] == 0
    assert figures["presence_accuracy"] is None
    assert figures["auc_0_50"] is None


# --- meshes and masks


def square(left: float, top: float, side: float) -> np.ndarray:
    """(4, 3) metres: a square half a metre before the camera that covers `side` x `side` pixels from (left, top) on."""
    u, v = np.array([left, left + side, left + side, left]) - 0.5, np.array([top, top, top + side, top + side]) - 0.5
    return np.stack([(u - K[2]) / 1000, (v - K[3]) / 1000, np.full(4, 0.5)], 1)


SQUARE = np.array([[0, 1, 2], [0, 2, 3]])


def test_mask_iou_and_share_seen_by_hand():
    sample, placed = scene("single", (0,))
    parts = np.zeros((480, 640), np.uint8)
    parts[100:200, 100:150] = 3  # of a hand of 100 x 100 pixels the left half is seen,
    parts[100:200, 150:160] = 20  # beside it a bit of a left hand
    sample = replace(sample, parts=parts)
    truth = square(100, 100, 100)
    predicted = replace(hand(0, placed[0], truth), faces=SQUARE)
    score = score_picture(sample, two(predicted), (truth, None), (SQUARE, None)).hands[0]
    assert score.visible == pytest.approx(0.5)
    assert score.mask_iou == pytest.approx(0.5)
    aside = replace(predicted, vertices=square(125, 100, 100))
    # 25 columns in common of 50 + 100 - 25
    assert score_picture(sample, two(aside)).hands[0].mask_iou == pytest.approx(25 / 125)
    missed = score_picture(sample, two(), (truth, None), (SQUARE, None)).hands[0]
    assert (missed.mask_iou, missed.visible) == (None, pytest.approx(0.5))
    assert score_picture(sample, two(hand(0, placed[0])), (truth, None)).hands[0].visible is None


@pytest.mark.parametrize(
    ("shift", "depth", "volume", "touching"), [(0.055, 5, 2000, True), (0.063, 0, 0, True), (0.068, 0, 0, False)]
)
def test_touch_by_hand(shift, depth, volume, touching):
    pytest.importorskip("numba")
    sample, placed = scene()
    big, small = trimesh.creation.box(extents=(0.1,) * 3), trimesh.creation.box(extents=(0.02,) * 3)
    meshes = [np.asarray(big.vertices) + (0, 0, 0.5), np.asarray(small.vertices) + (shift, 0.013, 0.507)]
    faces = [np.asarray(big.faces), np.asarray(small.faces)]
    hands = [replace(hand(s, placed[s], meshes[s]), faces=faces[s]) for s in (0, 1)]
    score = score_picture(sample, two(*hands), meshes, faces)
    assert score.touch == score.true_touch
    assert score.touch.depth == pytest.approx(depth)
    assert score.touch.volume == pytest.approx(volume, rel=0.25)  # counted on a grid of 2 mm
    assert score.touch.touching is touching
    assert score_picture(sample, two(hands[0]), meshes, faces).touch is None
    apart = score_picture(sample, two(hands[0], replace(hands[1], vertices=meshes[1] + (1, 0, 0))), meshes, faces)
    told = summary([score, apart])["penetration"]
    assert told["contact"] == (0.5 if touching else 0)
    assert told["true_contact"] == float(touching)
    assert told["contact_accuracy"] == (0.5 if touching else 1)
    assert told["depth"] == pytest.approx(depth / 2)


def test_f_scores_of_vertices_are_after_alignment():
    sample, placed = scene("single", (0,))
    mesh = np.random.default_rng(1).normal(size=(40, 3)) * 0.05
    moved = replace(hand(0, placed[0], mesh * 1.5 + 0.2))  # larger and elsewhere, but the same shape
    figures = summary([score_picture(sample, two(moved), (mesh, None))])
    assert figures["f_5"] == figures["f_15"] == 1
    assert figures["pa_mpvpe"] == pytest.approx(0, abs=1e-6)


# --- parts of the whole


def test_by_joint_and_finger():
    sample, placed = scene("single", (0,))
    off = placed[0].copy()
    off[4] += 0, 0, 0.05
    told = summary([score_picture(sample, two(hand(0, off)))])
    assert told["by_joint"]["thumb_tip"]["protocols"]["C"]["mpjpe"] == pytest.approx(50, abs=1e-3)
    assert told["by_joint"]["thumb_tip"]["auc_0_50"] == pytest.approx(0, abs=1e-4)
    assert told["by_finger"]["thumb"]["protocols"]["A"]["mpjpe"] == pytest.approx(12.5, abs=1e-3)
    assert told["by_finger"]["index"]["protocols"]["A"]["mpjpe"] == pytest.approx(0, abs=1e-3)
    assert told["by_hand"]["right"]["protocols"]["C"]["mpjpe"] == pytest.approx(50 / 21, abs=1e-3)
    assert told["by_hand"]["left"]["protocols"]["C"]["mpjpe"] is None
    assert told["by_visible"] == told["by_closeness"] == {}  # nothing known to go by
    missed = summary([score_picture(sample, two())])
    assert missed["by_joint"]["thumb_tip"]["protocols"]["C"]["mpjpe"] is None
    assert missed["by_joint"]["thumb_tip"]["pck2d"]["0.2"] == 0


def test_by_closeness_and_pose_difference():
    sample, _ = scene()
    sample.joints3d[0] = grid_hand() + (0, 0, 0.5)
    sample.joints3d[1] = grid_hand() * (-1, 1, 1) + (2, 0, 0.5)
    far = score_picture(sample, two(hand(0, sample.joints3d[0].astype(float))))
    sample.joints3d[1] = sample.joints3d[0] + (0, 0, 0.004)
    near = score_picture(sample, two())
    assert far.pose_difference == pytest.approx(0, abs=1e-2)  # truth is stored in single precision
    told = summary([far, near])
    assert {label: own["hands"] for label, own in told["by_closeness"].items()} == {
        "0-20 mm": 2, "20-35 mm": 0, "35-60 mm": 0, "60-100 mm": 0, "over 100 mm": 2,
    }  # fmt: skip
    assert told["by_pose_difference"]["0-14.1 degrees"]["hands"] == 2
    assert told["by_closeness"]["over 100 mm"]["pck2d"]["0.2"] < 1


# --- intervals


def off_by(millimetres: float, name: str):
    """A picture of one right hand of which 20 joints are that much off, as in protocol C."""
    sample, placed = scene("single", (0,))
    joints = placed[0].copy()
    joints[1:] += 0, 0, millimetres / 1000
    return score_picture(replace(sample, name=name), two(hand(0, joints)))


def test_resampling_agrees_with_a_slow_version():
    columns = np.random.default_rng(2).normal(size=(7, 3))
    drawn = np.random.default_rng(4).integers(0, 7, (5, 7))
    np.testing.assert_allclose(resampled(columns, 5, seed=4), [sum(columns[i] for i in row) for row in drawn])


def test_intervals():
    errors = np.random.default_rng(0).normal(20, 3, 400)
    told = confidence_intervals(tabulate([off_by(e, str(i)) for i, e in enumerate(errors)]))
    assert (told["level"], told["resamples"]) == (0.95, 1000)
    low, high = told["figures"]["protocols"]["C"]["mpjpe"]
    mean, half = errors.mean() * 20 / 21, 1.96 * errors.std() / 20 * 20 / 21  # the root is never off
    assert low == pytest.approx(mean - half, abs=0.1 * half)
    assert high == pytest.approx(mean + half, abs=0.1 * half)
    assert told["figures"]["mrrpe"] is None
    assert told["figures"]["hands_found"] == [1, 1]
    assert (
        confidence_intervals(tabulate([off_by(5, "a")]))["figures"]["pa_mpjpe"] is None
    )  # one picture tells nothing of spread


def test_scores_as_a_file(tmp_path):
    scores = tabulate([off_by(5, "a"), off_by(7, "b")])
    (tmp_path / "scores.npz").write_bytes(to_npz(scores))
    assert figures(read_scores(tmp_path / "scores.npz")) == figures(scores)
    whole = (tmp_path / "scores.npz").read_bytes()
    for place in range(60, len(whole), len(whole) // 50):  # one bit of anything
        broken = bytearray(whole)
        broken[place] ^= 16
        (tmp_path / "scores.npz").write_bytes(bytes(broken))
        with contextlib.suppress(ValueError):  # and nothing else
            read_scores(tmp_path / "scores.npz")
    (tmp_path / "scores.npz").write_bytes(b"PK no more")
    with pytest.raises(ValueError, match=r"scores.npz is damaged"):
        read_scores(tmp_path / "scores.npz")
    with pytest.raises(ValueError, match="there is no"):
        read_scores(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(ValueError, match="holds no scores"):
        read_scores(tmp_path / "other.npz")
