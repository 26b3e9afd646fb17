import io
import json
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from rich.console import Console

from lgnet import plots
from lgnet.data.registry import DataSet, open_data, spread
from lgnet.data.sample import Sample, empty_sample
from lgnet.evaluate import evaluate, table, true_hands
from lgnet.hands import SIDES, Camera, Hand, TwoHands
from lgnet.scoring import cases
from lgnet.scoring.columns import tabulate
from lgnet.scoring.score import score_picture

KEYS = {
    "data", "boxes", "weights", "count", "skipped", "presence_accuracy", "handedness_accuracy", "protocols",
    "pa_mpjpe", "pa_mpvpe", "mrrpe", "auc_0_50", "pck2d", "hands_found", "by",
}  # fmt: skip
OWN = {"count", "skipped", "data", "boxes", "weights", "by"}  # of the whole alone, or a count of its own


def make(index: int) -> Sample:
    """Six pictures: interacting, separate, single right, single left, single without 3D, none; the first pixel tells."""
    image = np.full((120, 160, 3), 80, np.uint8)
    image[0, 0] = index
    sides = [(0, 1), (0, 1), (0,), (1,), (0,), ()][index]
    kind = ["interacting", "separate", "single", "single", "single", "none"][index]
    K = None if index == 4 else np.array([150.0, 150, 80, 60], np.float32)
    sample = empty_sample(f"set/{index}.png", kind, image, K)
    hand = np.random.default_rng(index).normal(size=(21, 3)) * 0.03
    for side in sides:
        joints = hand + (0.08 * (2 * side - 1), 0, 0.5)
        sample.present[side] = True
        sample.joints2d[side] = joints[:, :2] / joints[:, 2:] * 150 + (80, 60)
        sample.joints2d_valid[side] = True
        low, high = sample.joints2d[side].min(0), sample.joints2d[side].max(0)
        sample.box[side] = *low, *(high - low)
        if index != 4:
            sample.joints3d[side], sample.joints3d_valid[side] = joints, True
    return sample


DATA = DataSet("toy", 6, make, {"pictures left out": 3})


class Knowing:
    """Answers with the truth, moved by `shift`; keeps what it was asked."""

    def __init__(self, shift: float = 0.0, hands: bool = True):
        self.asked, self.shift, self.hands = [], shift, hands

    def predict(self, image, camera, boxes, given):
        self.asked.append((image, camera, boxes, given))
        sample = make(int(image[0, 0, 0]))
        found: list[Hand | None] = [None, None]
        for side in (0, 1) if self.hands else ():
            if sample.present[side] and (given is None or given[side]):
                joints = sample.joints3d[side].astype(float)
                joints[5:] += self.shift
                found[side] = Hand(
                    SIDES[side], 1.0, sample.box[side], sample.joints2d[side] + 1000 * self.shift, joints, joints[:4],
                    joints[:4], np.zeros((1, 3), int), np.zeros((16, 3)), np.zeros(10), joints[0],
                )  # fmt: skip
        return TwoHands(found[0], found[1], 160, 120, camera or Camera(1, 1, 1, 1, True), None, {"weights": "knowing"})


def test_files_and_keys(tmp_path, capsys):
    metrics = evaluate(Knowing(), DATA, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    assert set(metrics) >= KEYS
    assert (metrics["data"], metrics["boxes"], metrics["weights"], metrics["count"]) == ("toy", "own", "knowing", 6)
    assert metrics["skipped"] == {"pictures left out": 3}
    assert set(metrics["by"]) == {"interacting", "separate", "single"}
    for figures in metrics["by"].values():
        assert set(figures) >= KEYS - OWN
    assert [metrics["by"][kind]["count"] for kind in ("interacting", "separate", "single")] == [1, 1, 3]
    assert metrics["presence_accuracy"] == metrics["hands_found"] == metrics["handedness_accuracy"] == 1
    assert metrics["protocols"]["C"]["mpjpe"] == pytest.approx(0, abs=1e-3)
    assert metrics["protocols"]["C"]["mpvpe"] is None  # no mesh is known
    assert metrics["hands_scored_3d"] == 6
    assert metrics["hands"] == 7
    for name in ("pck.png", "joints.png", "asymmetry.png", "cases.jpg", "worst/worst.png"):
        assert cv2.imread(str(tmp_path / "out" / name)) is not None
    assert not list((tmp_path / "out").rglob("*.part"))
    out, err = capsys.readouterr()
    assert "MPJPE mm, protocol A" in out
    assert err == ""  # no progress bar where there is no terminal


@pytest.mark.usefixtures("no_plots")
def test_nothing_leaks_with_own_boxes(tmp_path):
    predictor = Knowing()
    metrics = evaluate(predictor, DATA, tmp_path, quiet=True)
    assert metrics["given"] == ["K"]
    assert metrics["pictures_with_K"] == 5
    assert len(predictor.asked) == 6
    for index, (image, camera, boxes, given) in enumerate(predictor.asked):
        assert boxes is None
        assert given is None
        assert image.shape == (120, 160, 3)
        assert camera == (None if index == 4 else Camera(150, 150, 80, 60))


@pytest.mark.usefixtures("no_plots")
def test_true_boxes_are_given_where_there_are_hands(tmp_path):
    predictor = Knowing()
    metrics = evaluate(predictor, DATA, tmp_path, boxes="truth", quiet=True)
    assert metrics["given"] == ["K", "boxes", "sides"]
    assert len(predictor.asked) == 5  # not the picture without hands
    assert predictor.asked[3][3].tolist() == [False, True]
    np.testing.assert_allclose(predictor.asked[3][2][1], make(3).box[1])
    assert metrics["count"] == 6
    assert metrics["presence_accuracy"] == 1


@pytest.mark.usefixtures("no_plots")
def test_a_hand_annotated_outside_the_picture_is_not_given(tmp_path):
    def load(index):
        sample = make(index)
        if index == 0:
            sample.box[1, 0] = 1000
        return sample

    predictor = Knowing()
    evaluate(predictor, replace(DATA, load=load), tmp_path, boxes="truth", quiet=True)
    assert make(0).present.all()
    assert predictor.asked[0][3].tolist() == [True, False]


@pytest.mark.usefixtures("no_plots")
def test_a_predictor_that_finds_nothing(tmp_path):
    metrics = evaluate(Knowing(hands=False), DATA, tmp_path, quiet=True)
    # sides told rightly: the absent ones of three single pictures, and both of the empty one: 5 of 12
    assert metrics["presence_accuracy"] == pytest.approx(5 / 12)
    assert metrics["hands_found"] == 0
    assert metrics["pck2d"] == {"0.1": 0, "0.2": 0}
    assert metrics["auc_0_50"] == 0
    assert metrics["protocols"]["A"]["mpjpe"] is metrics["mrrpe"] is metrics["handedness_accuracy"] is None


@pytest.mark.usefixtures("no_plots")
def test_limit_takes_pictures_from_all_over(tmp_path):
    predictor = Knowing()
    assert evaluate(predictor, spread(DATA, 3), tmp_path, quiet=True)["count"] == 3
    assert [int(asked[0][0, 0, 0]) for asked in predictor.asked] == [0, 2, 5]  # 0, 2.5 to even, 5


def test_errors(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="'own' or 'truth'"):
        evaluate(Knowing(), DATA, tmp_path, boxes="mine")
    with pytest.raises(ValueError, match="no picture"):
        evaluate(Knowing(), DataSet("empty", 0, make), tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    predictor = Knowing()
    with pytest.raises(ValueError, match=r"lgnet\[train\]"):
        evaluate(predictor, DATA, tmp_path)
    assert predictor.asked == []  # said before the work, not after it


@pytest.mark.usefixtures("no_plots")
def test_table(tmp_path):
    metrics = evaluate(Knowing(shift=0.01), DATA, tmp_path, quiet=True)
    page = io.StringIO()
    Console(file=page, width=120).print(table(metrics))
    text = page.getvalue()
    assert "toy: boxes own, given K" in text
    rows = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in text.splitlines() if line.startswith("│")}
    assert [cell.strip() for cell in rows["pictures"]] == ["6", "1", "1", "3"]
    # 16 of 21 joints are off by 10 mm in x, y and z
    expected = 16 / 21 * 10 * 3**0.5
    assert rows["MPJPE mm, protocol C"][0].strip() == f"{expected:.2f}"
    assert rows["MPVPE mm, protocol C"][0].strip() == "-"


def test_the_worst_and_the_median_pictures_are_chosen():
    nothing = TwoHands(None, None, 160, 120, Camera(1, 1, 1, 1))
    scores = []
    for index, shift in enumerate((0.001, 0.02, 0.005, 0.01, 0.0)):
        sample = make(index)
        scores.append(score_picture(sample, Knowing(shift).predict(sample.image, None, None, None)))
    scores.append(score_picture(make(5), nothing))  # a picture without hands
    table = tabulate(scores)
    assert cases.worst_and_median(table, 3, 1) == ([1, 3, 2], [0 + 2])
    assert cases.worst_and_median(table, 9, 9)[0][:5] == [1, 3, 2, 0, 4]
    assert sorted(cases.worst_and_median(table, 9, 9)[1]) == [0, 1, 2, 3, 4]
    assert cases.badness(tabulate([score_picture(make(0), nothing)])).tolist() == [1]
    assert cases.badness(table)[5] == 0


def test_the_tile_shows_truth_green_and_prediction_red():
    sample = make(2)
    sample.image[:] = 0
    hands = TwoHands(
        replace(Knowing().predict(make(2).image, None, None, None).right, joints2d=sample.joints2d[0] + (25, 0)),
        None, 160, 120, Camera(1, 1, 1, 1),
    )  # fmt: skip
    score = score_picture(sample, hands)
    tile = cases.tile(sample, tabulate([score]), 0, score.joints2d).astype(int)
    green = (tile[..., 1] > 180) & (tile[..., 0] < 90)
    red = (tile[..., 0] > 200) & (tile[..., 1] < 110)
    assert green.sum() > 50
    assert red.sum() > 50
    assert np.nonzero(red)[1].mean() > np.nonzero(green)[1].mean() + 10


def test_true_vertices_of_synthetic_pictures_fill_their_boxes():
    pytest.importorskip("numba")
    sample = open_data("synth-bench")[3]
    meshes = true_hands(sample)[0]
    assert sample.K is not None
    for side in (0, 1):
        vertices = meshes[side]
        assert (vertices is not None) == sample.present[side]
        if vertices is not None:
            uv = vertices[:, :2] / vertices[:, 2:] * sample.K[:2] + sample.K[2:]
            np.testing.assert_allclose(np.r_[uv.min(0), np.ptp(uv, 0)], sample.box[side], atol=0.05)
    assert true_hands(make(0))[0] == (None, None)


# --- plots


def test_pck_plot(tmp_path):
    errors = np.array([1.0, 12, 30, np.inf])
    path = plots.plot_pck({"all": errors}, {"all": np.zeros(0)}, tmp_path / "deep" / "pck.png", "title", paper=True)
    assert cv2.imread(str(path)) is not None
    assert [p.name for p in path.parent.iterdir()] == ["pck.png"]


def test_plots_by_joint_and_pose_difference(tmp_path):
    of = {"protocols": {name: {"mpjpe": error} for name, error in zip("ABC", (5.0, None, 7.0))}, "hands": 4}
    nothing = {"protocols": {name: {"mpjpe": None} for name in "ABC"}, "hands": 0}
    for plot in (plots.plot_joints, plots.plot_asymmetry):
        for parts in ({"0-14.1 degrees": of, "14.1-16.2 degrees": nothing}, {"0-14.1 degrees": nothing}, {}):
            path = plot(parts, tmp_path / "plot.png", "title")
            assert cv2.imread(str(path)) is not None


def test_learning_curves(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"samples": 10, "bench/mpjpe": 90.5}\n{"samples": 20}\n\n')
    (tmp_path / "b.jsonl").write_text('{"samples": 10, "bench/mpjpe": 80}\n{"samples": 20, "bench/mpjpe": 70}\n')
    runs = {"a": tmp_path / "a.jsonl", "b": tmp_path / "b.jsonl"}
    path = plots.plot_learning_curves(runs, tmp_path / "curve.png", "bench/mpjpe")
    assert cv2.imread(str(path)) is not None
    assert [row["samples"] for row in plots.read_curve(runs["a"])] == [10, 20]
    with pytest.raises(ValueError, match="no row with both samples and none"):
        plots.plot_learning_curves(runs, tmp_path / "curve.png", "none")
    with pytest.raises(ValueError, match="no learning curve"):
        plots.read_curve(tmp_path / "c.csv")
    (tmp_path / "d.jsonl").write_text("samples\n")
    with pytest.raises(ValueError, match="one JSON object a line"):
        plots.read_curve(tmp_path / "d.jsonl")


@pytest.mark.usefixtures("no_plots")
def test_predictions_of_another_run_do_not_stay_among_the_new(tmp_path):
    evaluate(Knowing(), DATA, tmp_path, quiet=True, save_predictions=True)
    with pytest.raises(ValueError, match="predictions of another run"):
        evaluate(Knowing(), DATA, tmp_path, quiet=True, save_predictions=True)
    evaluate(Knowing(), DATA, tmp_path, quiet=True)
