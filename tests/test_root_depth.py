"""MRRPE and absolute joints with the wrists' depths from the prediction, from RootNet's results and from the truth."""

import json
from dataclasses import replace

import numpy as np
import pytest
from test_interhand import cache, root  # noqa: F401
from test_scoring import hand, scene, two

from lgnet import cli
from lgnet.aside import write_aside
from lgnet.data.registry import DataSet, open_data
from lgnet.data.sample import distort
from lgnet.evaluate import evaluate_files
from lgnet.scoring.roots import read_rootnet, root_depths
from lgnet.scoring.score import score_picture


def far_hands():
    """True wrists at (-0.15, 0, 0.5) and (0.15, 0, 0.5); predicted ones on the same rays, at z = 0.6 and 0.65."""
    sample, placed = scene()
    moved = [placed[0] + (-0.03, 0, 0.1), placed[1] + (0.045, 0, 0.15)]
    return replace(sample, annotation=7), two(hand(0, moved[0]), hand(1, moved[1]))


def scored(source):
    sample, prediction = far_hands()
    depths = root_depths(source)
    return score_picture(sample, prediction, depths=None if depths is None else depths(sample))


def rootnet(tmp_path, entries):
    path = tmp_path / "rootnet.json"
    path.write_text(json.dumps(entries))
    return f"rootnet:{path}"


def millimetres(*metres):
    return 1000 * float(np.linalg.norm(metres))


def test_as_predicted():
    score = scored("predicted")
    assert score.mrrpe == pytest.approx(millimetres(0.375 - 0.3, 0, 0.05))
    assert score.hands[0].absolute == pytest.approx(millimetres(0.03, 0, 0.1))
    assert score.hands[1].absolute == pytest.approx(millimetres(0.045, 0, 0.15))


def test_from_the_truth():
    """Right at z = 0.5, x = -0.15. Left at 0.5 + (0.65 - 0.6) on its ray, x = 0.165; by itself at 0.5, where it is."""
    score = scored("truth")
    assert score.mrrpe == pytest.approx(millimetres(0.015, 0, 0.05))
    assert [h.absolute for h in score.hands] == pytest.approx([0, 0], abs=1e-4)


def test_the_ray_is_that_of_the_lens():
    """A wrist found just where a lens shows it lies, at the true depth, where it truly is."""
    bends = np.array([-0.25, 0.05, 0.002, -0.001])
    sample, placed = scene()
    for side in (0, 1):
        straight = placed[side][:, :2] / placed[side][:, 2:]
        sample.joints2d[side] = distort(straight, bends) * sample.K[:2] + sample.K[2:]
    sample = replace(sample, distortion=bends)
    found = [replace(hand(s, placed[s]), joints2d=sample.joints2d[s].astype(float)) for s in (0, 1)]
    depths = root_depths("truth")
    assert depths is not None
    score = score_picture(sample, two(*found), depths=depths(sample))
    assert score.mrrpe == pytest.approx(0, abs=0.01)
    assert [h.absolute for h in score.hands] == pytest.approx([0, 0], abs=0.01)


def test_from_rootnet(tmp_path):
    """Right at z = 0.52, x = -0.156. Left at 0.57 for the relative position, x = 0.171; by itself at 0.48, x = 0.144."""
    entries = [
        {"annot_id": 8, "abs_depth": [1, 1]},
        {"annot_id": "7", "abs_depth": [520.0, 480.0], "bbox": [1, 2, 3, 4]},
    ]
    source = rootnet(tmp_path, entries)
    score = scored(source)
    assert score.mrrpe == pytest.approx(millimetres(0.027, 0, 0.05))
    assert [h.absolute for h in score.hands] == pytest.approx([millimetres(0.006, 0, 0.02)] * 2)
    same = scored("predicted")
    for ours, theirs in zip(score.hands, same.hands):  # nothing else hangs on it
        np.testing.assert_array_equal(ours.errors3d["C"], theirs.errors3d["C"])


def test_what_is_not_known_is_not_scored(tmp_path):
    score = scored(rootnet(tmp_path, [{"annot_id": 7, "abs_depth": [None, 480.0]}]))
    assert score.mrrpe is None and score.hands[0].absolute is None and score.hands[1].absolute is not None
    read_rootnet.cache_clear()
    assert scored(rootnet(tmp_path, [])).mrrpe is None
    sample, prediction = far_hands()
    no_camera = score_picture(replace(sample, K=None), prediction, depths=np.array([0.5, 0.5]))
    assert no_camera.mrrpe is None and no_camera.hands[0].absolute is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "there is no file .* of RootNet's results"),
        ("{", "cannot be read as JSON"),
        ('[{"annot_id": 1}]', "is no result of RootNet"),
        ('[{"annot_id": 1, "abs_depth": [1, 2, 3]}]', "is no result of RootNet"),
        ('{"a": 1}', "is no result of RootNet"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path, content, told):
    path = tmp_path / "bad.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=told) as error:
        root_depths(f"rootnet:{path}")
    assert "\n" not in str(error.value)


def test_a_bad_source_or_data_set_is_told(tmp_path):
    for source in ("rootnet", "rootnet:", "gt"):
        with pytest.raises(ValueError, match="root depths are predicted, rootnet:FILE or truth"):
            root_depths(source)
    sample, _ = far_hands()
    depths = root_depths(rootnet(tmp_path, []))
    with pytest.raises(ValueError, match="choose --root-depth predicted or truth"):
        depths(replace(sample, annotation=None))


@pytest.mark.usefixtures("no_plots")
def test_on_interhand(root, tmp_path, capsys):  # noqa: F811
    """The file's annotations are numbered 900, 899, 898; the true hands are given as predictions, 100 mm too far away."""
    folder, *_ = root
    data = open_data(f"interhand26m-test:{folder}")
    samples = list(data)
    assert {s.name[-12:]: s.annotation for s in samples} == {
        "image100.jpg": 900,
        "image101.jpg": 899,
        "image102.jpg": 898,
    }
    for sample in samples:
        hands = []
        for side in np.flatnonzero(sample.present):
            joints = sample.joints3d[side].astype(float)
            joints2d = sample.joints2d[side].tolist()
            hands.append(
                {"side": ("right", "left")[side], "joints2d": joints2d, "joints3d": (joints + (0, 0, 0.1)).tolist()}
            )
        path = (tmp_path / "theirs" / sample.name).with_suffix(".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(path, json.dumps({"schema": "lgnet/1", "hands": hands}).encode())
    depths = [
        {"annot_id": s.annotation, "abs_depth": (s.joints3d[:, 0, 2] * 1000).astype(float).tolist()} for s in samples
    ]
    source = rootnet(tmp_path, depths)
    figures = {}
    for name in ("predicted", "truth", source):
        figures[name] = evaluate_files(tmp_path / "theirs", data, tmp_path / "out", quiet=True, root_depth=name)
    assert figures["predicted"]["absolute_mpjpe"] == pytest.approx(100, abs=0.01)
    assert figures["truth"]["absolute_mpjpe"] == pytest.approx(0, abs=0.01) == figures[source]["absolute_mpjpe"]
    assert figures[source]["mrrpe"] == pytest.approx(0, abs=0.01)
    assert figures[source]["root_depth"] == {"source": source, "hands_without": 0}
    command = ["evaluate", "--data", f"interhand26m-test:{folder}", "--out", str(tmp_path / "out")]
    command += ["--predictions", str(tmp_path / "theirs"), "--root-depth"]
    assert cli.main([*command, f"rootnet:{tmp_path / 'none.json'}"]) == 2
    assert "there is no file" in capsys.readouterr().err
    read_rootnet.cache_clear()
    assert cli.main([*command, rootnet(tmp_path, [{"annot_id": 1, "abs_depth": [1, 2]}])]) == 2
    assert "has no depth of any hand of interhand26m-test" in capsys.readouterr().err


@pytest.mark.usefixtures("no_plots")
def test_without_pictures_and_in_several_processes_the_same(root, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("lgnet.evaluate.TOGETHER", 2)
    folder, *_ = root
    data = open_data(f"interhand26m-test:{folder}")
    for sample in data:
        path = (tmp_path / "theirs" / sample.name).with_suffix(".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        hands = [{"side": "left", "joints2d": sample.joints2d[1].tolist(), "joints3d": sample.joints3d[1].tolist()}]
        path.write_text(json.dumps({"schema": "lgnet/1", "hands": hands}))
    plain = DataSet(data.name, len(data), data.load, data.skipped)  # its pictures are read, by this process
    runs = [
        evaluate_files(tmp_path / "theirs", own, tmp_path / "out", quiet=True, jobs=jobs)
        for own, jobs in ((plain, 1), (data, 1), (data, 2))
    ]
    assert runs[0] == runs[1] == runs[2]
