"""`lgnet synth` on disk: three formats, read back; the same bytes whatever the processes and however often broken off."""

import hashlib
import io
import json
import os
import signal
import tarfile
from dataclasses import replace

import cv2
import numpy as np
import pytest

from lgnet.config import SynthConfig
from lgnet.data.check import check_data
from lgnet.data.interhand import ORDER
from lgnet.data.registry import open_data
from lgnet.data.synthetic import load_labels, open_folder
from lgnet.hands import JOINT_NAMES, SIDES

pytest.importorskip("numba")

from lgnet.synth import write
from lgnet.synth.generate import make_drawn, make_sample, training_rng
from lgnet.synth.labels import make_labels
from lgnet.synth.write import write_dataset

CONFIG = SynthConfig(size=64, full_frame=True, kinds=(0.4, 0.2, 0.2, 0.2))
SEED, COUNT, SHARD = 9, 5, 2
ENDS = ("jpg", "json", "parts.png", "depth.png", "normal.png", "uv.png", "npz")


def synth(out, form, jobs=1, **other):
    options = {"count": COUNT, "seed": SEED, "config": CONFIG, "shard_size": SHARD, **other}
    return write_dataset(out, form=form, jobs=jobs, **options)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same five pictures in every format; copied where a test damages them."""
    root = tmp_path_factory.mktemp("synth")
    for form in ("files", "webdataset", "interhand"):
        synth(root / form, form)
    return root


@pytest.fixture(scope="module")
def truth():
    return [make_sample(training_rng(SEED, 0, index), CONFIG) for index in range(COUNT)]


@pytest.fixture
def tars(folders, tmp_path):
    for path in (folders / "webdataset").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def content(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_loose_files_are_what_they_say(folders, truth):
    out = folders / "files"
    names = {f"{i:06d}{'_' if end.endswith('.png') else '.'}{end}" for i in range(COUNT) for end in ENDS}
    assert {p.name for p in out.iterdir()} == names | {"dataset.json", "checksums"}
    head = json.loads((out / "dataset.json").read_text())
    assert (head["schema"], head["count"], head["seed"]) == ("lgnet-synth/2", COUNT, SEED)
    assert head["joints"] == list(JOINT_NAMES)
    assert head["config"]["size"] == 64
    for index, sample in enumerate(truth):
        picture = cv2.imread(str(out / f"{index:06d}.jpg"))[..., ::-1]
        assert np.abs(picture.astype(int) - sample.image).mean() < 12
        np.testing.assert_array_equal(cv2.imread(str(out / f"{index:06d}_parts.png"), -1), sample.parts)
        labels = json.loads((out / f"{index:06d}.json").read_text())
        assert labels["image"] == f"{index:06d}.jpg"
        assert (labels["kind"], labels["seed"], labels["index"]) == (sample.kind, SEED, index)
        np.testing.assert_allclose([labels["camera"][k] for k in ("fx", "fy", "cx", "cy")], sample.K)
        assert [hand["side"] for hand in labels["hands"]] == [SIDES[s] for s in (0, 1) if sample.present[s]]
        for hand in labels["hands"]:
            for key in ("box", "joints2d", "joints3d", "pose", "shape"):
                np.testing.assert_allclose(hand[key], getattr(sample, key)[SIDES.index(hand["side"])], atol=1e-6)
            assert len(hand["joints_visible"]) == 21
    lines = (out / "checksums" / "000002.txt").read_text().splitlines()
    assert len(lines) == len(ENDS)  # the last shard has one picture
    for line in lines:  # as sha256sum -c reads them
        value, name = line.split("  ")
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == value


def test_tars_hold_the_very_files(folders):
    """Plain WebDataset: files of a picture follow one another, and are those that lie loose in the other folder."""
    loose = content(folders / "files")
    index = json.loads((folders / "webdataset" / "index.json").read_text())
    assert [shard["name"] for shard in index["shards"]] == [f"shard-{i:06d}.tar" for i in range(3)]
    keys = []
    for shard in index["shards"]:
        data = (folders / "webdataset" / shard["name"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (shard["bytes"], shard["sha256"])
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                key, end = member.name.split(".", 1)
                assert member.mtime == 0
                assert tar.extractfile(member).read() == loose[f"{key}{'_' if end.endswith('.png') else '.'}{end}"]
                keys.append((key, end))
    assert keys == [(f"{i:06d}", end) for i in range(COUNT) for end in ENDS]


@pytest.mark.parametrize("form", ["files", "webdataset"])
def test_samples_come_back(folders, truth, form):
    data = open_data(f"synth:{folders / form}")
    assert len(data) == COUNT
    assert not data.skipped
    for back, sample in zip(data, truth):
        assert (back.kind, back.hand_model) == (sample.kind, sample.hand_model)
        assert np.abs(back.image.astype(int) - sample.image).mean() < 12
        for name in ("K", "present", "box", "joints2d", "joints3d", "pose", "shape"):
            np.testing.assert_allclose(getattr(back, name), getattr(sample, name), atol=1e-5)
        for name in ("joints2d_valid", "joints3d_valid", "has_params", "parts"):
            np.testing.assert_array_equal(getattr(back, name), getattr(sample, name))
    report = check_data(f"synth:{folders / form}")
    assert report.faults == ()
    assert report.count == COUNT
    labels = load_labels(open_folder(folders / form), 3)
    wanted = make_labels(make_drawn(training_rng(SEED, 0, 3), CONFIG))
    np.testing.assert_allclose(labels.depth, wanted.depth, atol=0.51e-4)
    np.testing.assert_array_equal(labels.contact_hand, wanted.contact_hand)
    np.testing.assert_array_equal(labels.joints_visible, wanted.joints_visible)


def test_two_processes_write_the_same_bytes(folders, tmp_path):
    assert synth(tmp_path / "two", "webdataset", jobs=2) == COUNT
    assert content(tmp_path / "two") == content(folders / "webdataset")


def killed_at_three(index):
    if index == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return make_drawn(training_rng(SEED, 0, index), CONFIG)


def test_a_process_that_is_killed_ends_the_run_with_a_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"a process that draws was killed.*the same command goes on"):
        synth(tmp_path, "webdataset", jobs=2, draw=killed_at_three)


def test_a_broken_run_goes_on(tars, folders, monkeypatch):
    """A truncated shard, one that never got its name and one the index does not know yet are drawn again, others not."""
    drawn = []
    shard = write._write_shard
    monkeypatch.setattr(write, "_write_shard", lambda task, tick: drawn.append(task[-1]) or shard(task, tick))
    assert synth(tars, "webdataset") == COUNT
    assert drawn == []
    first = tars / "shard-000000.tar"
    first.write_bytes(first.read_bytes()[:5000])
    (tars / "shard-000001.tar").rename(tars / "shard-000001.tar.part")
    index = json.loads((tars / "index.json").read_text())
    index["shards"].pop()
    (tars / "index.json").write_text(json.dumps(index))
    assert synth(tars, "webdataset") == COUNT
    assert drawn == [0, 1, 2]
    assert content(tars) == content(folders / "webdataset")


def test_a_lost_loose_file_is_drawn_again(folders, tmp_path):
    synth(tmp_path / "f", "files", count=3)
    before = content(tmp_path / "f")
    (tmp_path / "f" / "000001_depth.png").unlink()
    (fault, *_) = check_data(f"synth:{tmp_path / 'f'}").faults
    assert "000001_depth.png is missing; run lgnet synth again" in fault
    synth(tmp_path / "f", "files", count=3)
    assert content(tmp_path / "f") == before


def test_another_plan_is_refused_in_one_sentence(tars):
    for options, said in (
        ({"seed": 10}, "begun with seed 9, not 10"),
        ({"count": 6}, "begun with count 5, not 6"),
        ({"shard_size": 3}, "begun with shard_size 2, not 3"),
        ({"config": replace(CONFIG, signs=0.5)}, "begun with config signs 0.0, not signs 0.5"),
    ):
        with pytest.raises(ValueError, match=said):
            synth(tars, "webdataset", **options)
    with pytest.raises(ValueError, match="begun with format webdataset, not files"):
        synth(tars, "files")
    (tars / "index.json").write_text("{")
    with pytest.raises(ValueError, match=r"index\.json is damaged"):
        synth(tars, "webdataset")


@pytest.mark.parametrize(
    ("form", "name"), [("files", "000001.jpg"), ("webdataset", "shard-000000.tar"), ("interhand", "annotations/a.txt")]
)
def test_files_of_others_are_not_replaced(tmp_path, form, name):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    with pytest.raises(ValueError, match=r"is there already, and .* was not begun by lgnet synth"):
        synth(tmp_path / "out", form)
    assert content(tmp_path / "out") == {name: b"precious"}


def test_a_run_that_came_to_nothing_binds_nobody(tmp_path, monkeypatch):
    def fails(*given, **named):
        raise ValueError("no backgrounds")

    drawing = write.make_drawn
    monkeypatch.setattr(write, "make_drawn", fails)
    with pytest.raises(ValueError, match="no backgrounds"):
        synth(tmp_path, "files")
    monkeypatch.setattr(write, "make_drawn", drawing)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.json"]
    assert synth(tmp_path, "webdataset", count=2) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.json", "shard-000000.tar"]


def test_check_names_the_damaged_shard(tars):
    path = tars / "shard-000001.tar"
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    faults = check_data(f"synth:{tars}").faults
    assert any("shard-000001.tar is damaged: its checksum" in fault for fault in faults)
    path.write_bytes(data[:3000])
    report = check_data(f"synth:{tars}")
    assert report.count == COUNT - SHARD
    assert all("shard-000001.tar is damaged" in fault for fault in report.faults)
    path.unlink()
    assert any("shard-000001.tar is missing" in fault for fault in check_data(f"synth:{tars}").faults)


def test_an_unfinished_folder_says_so(tars):
    index = json.loads((tars / "index.json").read_text())
    del index["shards"][1]
    (tars / "index.json").write_text(json.dumps(index))
    data = open_data(f"synth:{tars}")
    assert [sample.name for sample in data] == ["synth/000000", "synth/000001", "synth/000004"]
    assert data.skipped == {"pictures not yet drawn": 2}
    assert "is not finished, 2 pictures not yet drawn" in check_data(f"synth:{tars}").faults[0]


def test_what_is_no_folder_of_synthetic_pictures_is_told(folders, tmp_path):
    for spec, said in (
        ("synth:", "name it as synth:FOLDER"),
        (f"synth:{tmp_path}", "neither index.json nor dataset.json"),
        (f"synth:{folders / 'interhand'}", "name it as interhand26m-train:"),
    ):
        with pytest.raises(ValueError, match=said):
            open_data(spec)
    (tmp_path / "dataset.json").write_text('{"schema": "lgnet-synth/1", "count": 3}')
    with pytest.raises(ValueError, match="draw the pictures anew"):
        open_data(f"synth:{tmp_path}")


def test_interhand_layout_comes_back(folders, truth, tmp_path, monkeypatch):
    """Through the reader of the published data set: joints to 0.05 mm and 0.05 pixels, where they are in the picture."""
    monkeypatch.setenv("LGNET_CACHE", str(tmp_path))
    data = open_data(f"interhand26m-train:{folders / 'interhand'}")
    samples = {int(sample.name[-9:-4]): sample for sample in data}
    wanted = {index: sample for index, sample in enumerate(truth) if sample.present.any()}
    assert set(samples) == set(wanted)
    assert 0 < len(wanted) < COUNT  # the picture without hands is left out
    checked = 0
    for index, sample in wanted.items():
        back = samples[index]
        np.testing.assert_array_equal(back.present, sample.present)
        np.testing.assert_allclose(back.K, sample.K, atol=1e-3)
        within = ((sample.joints2d >= 0) & (sample.joints2d <= 63)).all(-1) & sample.present[:, None]
        np.testing.assert_array_equal(back.joints2d_valid, within)
        assert np.abs(back.joints2d - sample.joints2d)[within].max() < 0.05
        valid = back.joints3d_valid
        assert np.abs(back.joints3d - sample.joints3d)[valid].max() < 0.05e-3
        checked += int(valid.sum())
    assert checked > 40
    assert check_data(f"interhand26m-train:{folders / 'interhand'}").faults == ()


def test_interhand_files_have_the_published_keys(folders, truth):
    root = folders / "interhand"
    read = {
        kind: json.loads((root / "annotations" / "train" / f"InterHand2.6M_train_{kind}.json").read_text())
        for kind in ("data", "camera", "joint_3d")
    }
    keys = {"id", "file_name", "width", "height", "capture", "subject", "seq_name", "camera", "frame_idx"}
    for image, annotation in zip(read["data"]["images"], read["data"]["annotations"]):
        assert set(image) == keys
        assert set(annotation) == {"id", "image_id", "bbox", "joint_valid", "hand_type", "hand_type_valid"}
        assert annotation["image_id"] == image["id"]
        assert np.shape(annotation["joint_valid"]) == (42, 1)
        assert (root / "images" / "train" / image["file_name"]).is_file()
        capture = str(image["capture"])
        camera = {
            key: read["camera"][capture][key][image["camera"]] for key in ("campos", "camrot", "focal", "princpt")
        }
        joints = read["joint_3d"][capture][str(image["frame_idx"])]
        # as published code does it: world -> camera -> picture; the right wrist is number 20, the left index' tip 25
        sample = truth[image["id"]]
        world = np.array(joints["world_coord"])
        there = (world - camera["campos"]) @ np.array(camera["camrot"]).T
        for number, side, joint in ((20, 0, 0), (0, 0, 4), (41, 1, 0), (25, 1, 8)):
            assert joints["joint_valid"][number] == [bool(sample.present[side])]
            if sample.present[side]:
                np.testing.assert_allclose(there[number] / 1000, sample.joints3d[side, joint], atol=1e-6)
            else:
                np.testing.assert_array_equal(world[number], 1)
        types = {(True, True): "interacting", (True, False): "right", (False, True): "left"}
        assert annotation["hand_type"] == joints["hand_type"] == types[tuple(sample.present.tolist())]
    lines = [line.split(" ") for line in (root / "annotations" / "skeleton.txt").read_text().splitlines()]
    assert [int(number) for _, number, _ in lines] == list(range(42))
    names = [f"{name}" for name, _, _ in lines]
    for joint, place in ((4, 0), (1, 3), (8, 4), (20, 16), (0, 20)):
        assert ORDER[joint] == place
    assert (names[0], names[3], names[4], names[16], names[20], names[41]) == (
        "r_thumb4",
        "r_thumb1",
        "r_index4",
        "r_little4",
        "r_wrist",
        "l_wrist",
    )
    assert [int(parent) for _, _, parent in lines][:5] == [1, 2, 3, 20, 5]


def test_a_broken_interhand_run_goes_on(folders, tmp_path):
    """What a run left that stopped after its first shard; and, once all is there, nothing is written again."""
    whole = folders / "interhand"
    for path in [whole / "dataset.json", whole / "parts" / "000000.json", *whole.rglob("Capture0/**/*.jpg")]:
        copy = tmp_path / path.relative_to(whole)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    assert synth(tmp_path, "interhand") == len(list(whole.rglob("*.jpg")))
    assert content(tmp_path) == content(whole)
    target = tmp_path / "annotations" / "train" / "InterHand2.6M_train_data.json"
    before = target.stat().st_mtime_ns
    synth(tmp_path, "interhand")
    assert target.stat().st_mtime_ns == before
