"""Predictions as files: written, read back to the same figures, and told when they are not what they should be."""

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from test_evaluate import DATA, Knowing, make

from lgnet import cli
from lgnet.data.registry import OPENERS, DataSet, spread
from lgnet.evaluate import evaluate, evaluate_files
from lgnet.scoring.predictions import prediction_stem, read_prediction


@pytest.fixture
def written(tmp_path):
    """A folder of predictions, and the metrics of who made them."""
    metrics = evaluate(Knowing(shift=0.01), DATA, tmp_path / "run", quiet=True, save_predictions=True)
    return tmp_path / "run" / "predictions", metrics


def test_predictions_from_files_score_as_they_did_from_memory(written, tmp_path):
    folder, metrics = written
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.json")) == [
        f"set/{i}.json" for i in range(6)
    ]
    again = evaluate_files(folder, DATA, tmp_path / "again", quiet=True)
    assert again.pop("predictions") == {
        "folder": str(folder),
        "missing": {"count": 0, "names": []},
        "damaged": {"count": 0, "reasons": []},
        "unknown": {"count": 0, "names": []},
    }
    assert metrics.pop("predictions") is None
    assert again == metrics


def test_synthetic_pictures_score_from_files_as_from_memory(tmp_path):
    """With meshes, masks and contact: the truth itself, moved, is the prediction."""
    pytest.importorskip("numba")
    from lgnet.data.registry import open_data
    from lgnet.hands import SIDES, Camera, Hand, TwoHands
    from lgnet.scoring.truth import true_faces, true_hands

    data = open_data("synth-bench", 3)

    def known(index):
        sample = data[index]
        sample.image[0, 0] = index
        return sample

    class Moving:
        def predict(self, image, camera, boxes, given):
            sample = known(int(image[0, 0, 0]))
            found = []
            for s, (vertices, faces) in enumerate(zip(true_hands(sample)[0], true_faces(sample))):
                if vertices is None:
                    found.append(None)
                    continue
                joints = sample.joints3d[s] + 0.01 * s
                vertices = (vertices + 0.01 * s).astype(np.float32)
                joints2d, box = sample.joints2d[s] + 3, sample.box[s]
                pose, shape = np.zeros((16, 3)), np.zeros(10)
                found.append(
                    Hand(SIDES[s], 1.0, box, joints2d, joints, vertices, vertices, faces, pose, shape, joints[0])
                )
            return TwoHands(found[0], found[1], image.shape[1], image.shape[0], camera or Camera(1, 1, 1, 1))

    toy = DataSet("toy", 3, known)
    metrics = evaluate(Moving(), toy, tmp_path / "a", quiet=True, save_predictions=True)
    again = evaluate_files(tmp_path / "a" / "predictions", toy, tmp_path / "b", quiet=True)
    assert metrics["protocols"]["C"]["mpvpe"] == pytest.approx(0, abs=1e-3)
    assert metrics["mask_iou"] > 0.5
    assert metrics["penetration"]["depth"] is not None
    assert metrics.pop("predictions") is None
    assert again.pop("predictions")["missing"]["count"] == 0
    assert again == metrics


def test_missing_and_damaged_files_are_missed_hands(written, tmp_path):
    folder, _ = written
    (folder / "set" / "0.json").unlink()
    (folder / "set" / "2.json").write_text('{"schema": "lgn')
    (folder / "set" / "7.json").write_text("{}")
    metrics = evaluate_files(folder, DATA, tmp_path / "out", quiet=True)
    told = metrics["predictions"]
    assert told["missing"] == {"count": 1, "names": ["set/0.png"]}
    assert told["damaged"]["count"] == 1
    assert told["damaged"]["reasons"] == [f"{folder / 'set' / '2.json'} is damaged: it is no JSON"]
    assert told["unknown"] == {"count": 1, "names": ["set/7.json"]}
    # of 7 hands, 3 are missed
    assert metrics["presence_accuracy"] == pytest.approx(9 / 12)
    assert metrics["hands_scored_3d"] == 3
    assert metrics["by"]["interacting"]["auc_0_50"] == 0
    # with a part of the data set, files of the rest are not called unknown
    assert evaluate_files(folder, spread(DATA, 3), tmp_path / "out", quiet=True)["predictions"]["unknown"] is None


def test_another_networks_files_need_joints_only(tmp_path):
    for index in range(6):
        sample = make(index)
        hands = [
            {"side": side, "joints2d": sample.joints2d[s].tolist(), "joints3d": (sample.joints3d[s] + 1.0).tolist()}
            for s, side in enumerate(("right", "left"))
            if sample.present[s]
        ]
        path = tmp_path / "theirs" / "set" / f"{index}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"schema": "lgnet/1", "hands": hands}))
    metrics = evaluate_files(tmp_path / "theirs", DATA, tmp_path / "out", quiet=True)
    assert metrics["weights"] is None
    assert metrics["presence_accuracy"] == metrics["pck2d"]["0.1"] == 1
    assert metrics["protocols"]["C"]["mpjpe"] == pytest.approx(0, abs=1e-3)  # where the hands are does not matter
    assert metrics["mrrpe"] == pytest.approx(0, abs=1e-3)
    assert metrics["protocols"]["C"]["mpvpe"] is metrics["mask_iou"] is metrics["penetration"]["depth"] is None


def good() -> dict:
    hand = {"side": "right", "joints2d": [[1.0, 2.0]] * 21, "joints3d": [[0.0, 0.0, 0.5]] * 21}
    return {"schema": "lgnet/1", "hands": [hand]}


def damage(**changes) -> dict:
    content = good()
    for key, value in changes.items():
        (content["hands"][0] if key in ("side", "joints2d", "joints3d", "score", "pose") else content)[key] = value
    return content


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([1], '"schema" has to be "lgnet/1"'),
        (damage(schema="lgnet/2"), '"schema" has to be "lgnet/1"'),
        (damage(hands=3), 'no list "hands"'),
        (damage(side="both"), "at most one"),
        (damage(hands=good()["hands"] * 2), "at most one"),
        (damage(joints3d=[[0, 0, 0.5]] * 20), '"joints3d" of the right hand has to be 21 x 3 numbers, finite'),
        (damage(joints2d=[[0, float("nan")]] * 21), '"joints2d" of the right hand has to be 21 x 2 numbers, finite'),
        (damage(joints3d="no"), "21 x 3 numbers, finite"),
        (damage(pose=[0]), '"pose" of the right hand has to be 16 x 3'),
        (damage(score="high"), '"score" of the right hand is no number'),
        (damage(image={"width": 640, "height": 480}), "of a picture of 640 x 480 pixels, but set/0.png has 160 x 120"),
        (damage(image=[1]), '"image" has to hold file, width and height'),
        (damage(joints3d=[[1e300, 0, 0.5]] * 21), "21 x 3 numbers, finite and below 1e+07"),
        (damage(camera={"fx": 1}), "fx, fy, cx, cy"),
        (damage(camera={"fx": 10**400, "fy": 1, "cx": 0, "cy": 0}), "fx, fy, cx, cy"),
        (damage(joints3d=[[10**400, 0, 0.5]] * 21), "21 x 3 numbers, finite and below 1e+07"),
        (damage(score=10**400), '"score" of the right hand is no number'),
        (damage(camera={"fx": 1e300, "fy": 1, "cx": 0, "cy": 0}), "fx, fy, cx, cy"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path, content, told):
    path = tmp_path / "0.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=re.escape(told)) as caught:
        read_prediction(path, make(0))
    assert str(path) in str(caught.value)
    path.write_text(json.dumps(good()))
    assert read_prediction(path, make(0)).left is None


def test_meshes_beside_the_joints(tmp_path):
    path, mesh = tmp_path / "0.json", tmp_path / "0.npz"
    path.write_text(json.dumps(good()))
    np.savez(mesh, right_vertices=np.ones((5, 3), np.float32), right_faces=[[0, 1, 4]])
    hand = read_prediction(path, make(0)).right
    assert hand.vertices.shape == (5, 3)
    assert hand.vertices_rough.shape == (0, 3)
    for wrong, told in (
        ({"right_vertices": np.ones((5, 2))}, "N x 3 numbers, finite"),
        ({"right_vertices": np.full((5, 3), np.inf)}, "N x 3 numbers, finite"),
        ({"right_vertices": np.ones((5, 3)), "right_faces": [[0, 1, 5]]}, "vertices it does not have"),
        ({"right_vertices": np.array([[1, None, object()]])}, "without pickles"),
    ):
        np.savez(mesh, **wrong)
        with pytest.raises(ValueError, match=told):
            read_prediction(path, make(0))
    array, packed = io.BytesIO(), io.BytesIO()
    np.save(array, np.ones((5, 3)))
    np.savez_compressed(packed, right_vertices=np.random.default_rng(0).random((50, 3)))
    half = bytearray(packed.getvalue())
    half[200:400] = bytes(200)
    for content in (b"PK", array.getvalue(), bytes(half)):
        mesh.write_bytes(content)
        with pytest.raises(ValueError, match="damaged"):
            read_prediction(path, make(0))
    mesh.unlink()
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="no JSON"):
        read_prediction(path, make(0))
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match="cannot be read"):
        read_prediction(path, make(0))


def test_names(tmp_path):
    assert prediction_stem("p", "a/b.c/image1.jpg").as_posix() == "p/a/b.c/image1"
    assert prediction_stem("p", "v1.5/take.2").as_posix() == "p/v1.5/take.2"  # no picture's ending
    assert prediction_stem("p", "0001.jpg#2").as_posix() == "p/0001.jpg#2"
    for name in ("../up", "/etc/x", ""):
        with pytest.raises(ValueError, match="leads out of"):
            prediction_stem("p", name)
    with pytest.raises(ValueError, match="there is no folder"):
        evaluate_files(tmp_path / "none", DATA, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="has no prediction"):
        evaluate_files(tmp_path / "empty", DATA, tmp_path / "out")
    (tmp_path / "empty" / "0.json").write_text("{}")
    told = re.escape("of any sample: its files are called as 0.json, wanted is set/0.json")
    with pytest.raises(ValueError, match=told):
        evaluate_files(tmp_path / "empty", DATA, tmp_path / "out", quiet=True)


def test_two_samples_of_one_name_are_refused(written, tmp_path):
    twice = DataSet("twice", 2, lambda index: make(0))
    with pytest.raises(ValueError, match=r"two samples would be scored by .*set.0.json"):
        evaluate_files(written[0], twice, tmp_path / "out", quiet=True)
    alike = DataSet("alike", 2, lambda index: replace(make(0), name=f"set/0.{('jpg', 'png')[index]}"))
    with pytest.raises(ValueError, match=r"two samples would be scored by .*set.0.json"):  # the second would replace it
        evaluate(Knowing(), alike, tmp_path / "kept", quiet=True, save_predictions=True)


def test_command(written, tmp_path, capsys, monkeypatch):
    folder, _ = written
    monkeypatch.setitem(OPENERS, "toy", lambda root: DATA)
    command = ["evaluate", "--data", "toy", "--out", str(tmp_path / "out"), "--predictions", str(folder)]
    assert cli.main(command) == 0
    (folder / "set" / "0.json").unlink()
    (folder / "set" / "2.json").write_text("[]")
    (folder / "other.json").write_text("{}")
    capsys.readouterr()
    assert cli.main(command) == 1
    err = capsys.readouterr().err.splitlines()
    assert err[0] == f"lgnet: {folder} has no prediction for set/0.png; its hands count as missed"
    assert err[1].endswith("its hands count as missed") and "2.json" in err[1]
    assert err[2] == f"lgnet: 1 files of {folder} belong to no sample, such as other.json"
    assert cli.main([*command, "--save-predictions"]) == 2
