"""Real sets that lack pose and shape of the network's hand model train it by fitted ones."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from lgnet.data import refit
from lgnet.data.feed import open_mix, with_labels
from lgnet.data.interhand import Index
from lgnet.data.interhand_selection import best_of_frames
from lgnet.data.refit import fitted
from lgnet.data.registry import DataSet
from lgnet.data.sample import empty_sample
from lgnet.geometry import rotvec_to_matrix
from lgnet.hand_model import load_hand_model, pose_hand
from lgnet.presets import PRESETS


def turned(angle: float) -> np.ndarray:
    """(4, 4) takes the world to a camera half a metre before its origin."""
    T = np.eye(4)
    T[:3, :3] = cv2.Rodrigues(np.array([0.3, angle, 0.1]))[0]
    T[:3, 3] = 0, 0, 0.5
    return T


def hand(side: int, bend: float) -> np.ndarray:
    """(21, 3) joints of a hand in the world, some pose that ours can take."""
    pose = torch.zeros(1, 16, 3)
    pose[0, 1:, 0] = bend
    posed = pose_hand(load_hand_model("lgnet", ("right", "left")[side]), rotvec_to_matrix(pose), torch.zeros(1, 10))
    return posed.joints[0].numpy() + (0.1 * side, 0, 0)


def make(index: int):
    """Two moments, each seen by two cameras; both hands in the first, the left one in the second, and one hand of nobody's."""
    moment, camera = divmod(index, 2)
    T = turned(0.9 * camera)
    sample = empty_sample(f"{index}", "single", np.full((8, 8, 3), index, np.uint8), np.array([100.0, 100, 4, 4]))
    for side in ((0, 1), (1,), (0,))[moment]:
        joints = hand(side, 0.2 + 0.1 * moment) if moment < 2 else np.random.default_rng(3).normal(0, 0.1, (21, 3))
        sample.present[side], sample.joints3d_valid[side] = True, True
        sample.joints3d[side] = joints @ T[:3, :3].T + T[:3, 3]
        sample.joints2d[side], sample.box[side] = 4, (0, 0, 8, 8)
    sample.joints3d_valid[1, 4] = camera == 0  # the second camera knows a joint less
    return replace(sample, scene=str(moment), T_camera_world=T, hand_model="mano", wrist=np.zeros((2, 3), np.float32))


DATA = DataSet("toy", 6, make, alike=lambda: np.arange(6) // 2 * 2)


def test_fits_are_made_once_for_all_cameras_and_put_the_hand_where_its_joints_are(tmp_path, monkeypatch, capsys):
    asked = []
    work = refit.fit_joints
    monkeypatch.setattr(
        refit, "fit_joints", lambda model, joints, valid: asked.append(len(joints)) or work(model, joints, valid)
    )
    data = fitted(DATA, "lgnet", 0.01, tmp_path / "fits")
    assert sum(asked) == 4  # right and left, left, nobody's: not those of the second cameras
    assert "4 hands fitted, 75.0% within 10 mm" in capsys.readouterr().out
    for index, there in enumerate(((1, 1), (1, 1), (0, 1), (0, 1), (0, 0), (0, 0))):
        sample = data[index]
        assert sample.hand_model == "lgnet" and sample.has_params.tolist() == [bool(x) for x in there]
        assert sample.image[0, 0, 0] == index
        for side in np.flatnonzero(sample.has_params):
            rotations = rotvec_to_matrix(torch.from_numpy(sample.pose[side]))
            posed = pose_hand(
                load_hand_model("lgnet", ("right", "left")[side]), rotations, torch.from_numpy(sample.shape[side])
            )
            off = posed.joints.numpy() + sample.joints3d[side, 0] - sample.joints3d[side]
            assert np.linalg.norm(off, axis=1).mean() < 0.004
    asked.clear()
    strict = fitted(DATA, "lgnet", 1e-6, tmp_path / "fits")  # kept: another limit needs no other fits
    assert not asked and not strict[0].has_params.any()


def test_fits_go_on_after_a_break_and_are_shared(tmp_path, monkeypatch):
    monkeypatch.setattr(refit, "TOGETHER", 1)
    seen = []

    def noting(index: int):
        seen.append(index)
        return make(index)

    data = replace(DATA, load=noting, alike=None)
    folder = tmp_path / "fits"
    number = refit.Shards(next(iter(_begun(data, folder))), {}).folder
    (number / "000002.npz").unlink()
    (number / "000005.npz").unlink()
    seen.clear()
    again = fitted(data, "lgnet", 0.01, folder)
    assert sorted(seen[-2:]) == [2, 5]
    assert again[2].has_params.tolist() == [False, True]
    (number / "000001.npz").write_bytes(b"PK nonsense")
    with pytest.raises(ValueError, match=r"000001\.npz is damaged; delete it"):
        fitted(data, "lgnet", 0.01, folder)
    with pytest.raises(ValueError, match="differs in parts, pictures"):
        fitted(replace(data, count=5), "lgnet", 0.01, folder)


def _begun(data, folder):
    fitted(data, "lgnet", 0.01, folder)
    return folder.iterdir()


def test_sets_that_lack_nothing_or_have_no_3d_stay_as_they_are(tmp_path):
    own = replace(DATA, load=lambda i: replace(make(i), hand_model="lgnet", has_params=np.ones(2, bool)))
    assert fitted(own, "lgnet", 0.01, tmp_path) is own
    flat = replace(DATA, load=lambda i: replace(make(i), joints3d_valid=np.zeros((2, 21), bool)))
    assert fitted(flat, "lgnet", 0.01, tmp_path) is flat
    assert not list(tmp_path.iterdir())


def test_feed_gives_them_to_the_network(tmp_path):
    from lgnet.tasks import build_task

    config = replace(PRESETS["hands"], data=("synth:x=1",), out=str(tmp_path))
    mix = open_mix(())._replace(sets=(DATA,), shares=(1.0,))
    assert with_labels(mix, replace(config, fit_within=0)) is mix
    (data,) = with_labels(mix, config).sets
    assert (tmp_path / "fits").is_dir()
    batch = build_task(config).batch
    plain, own = (batch([source[0], source[2]], np.random.default_rng(0)) for source in (DATA, data))
    assert not plain["has_params"].any()
    assert own["has_params"].sum() >= 1 and own["has_params"].shape == plain["has_params"].shape


def test_the_frame_with_most_joints_stands_for_its_cameras():
    fields = {name: np.zeros(0) for name in Index.__dataclass_fields__}
    valid = np.ones((6, 42), bool)
    valid[0, :3] = valid[4, :1] = False
    index = Index(**{**fields, "joints": np.array([7, 3, 7, 3, 7, 9]), "valid": valid})
    assert best_of_frames(index, np.arange(6)).tolist() == [2, 1, 2, 1, 2, 5]
    assert best_of_frames(index, np.array([4, 0, 1])).tolist() == [0, 0, 2]
    valid[2, 20] = False  # one joint is missing, but it is the right wrist, without which a hand cannot be fitted
    assert best_of_frames(index, np.arange(6)).tolist() == [4, 1, 4, 1, 4, 5]


def test_a_set_of_joints_alone_trains_pose_and_shape(tmp_path, monkeypatch, capsys):
    """FreiHAND's layout without MANO labels, from the files to a trained network."""
    pytest.importorskip("numba")
    pytest.importorskip("lightning_fabric")
    from test_train import TINY

    from lgnet import tasks, train

    xyz = [hand(0, bend) + (0, 0, 0.6) for bend in (0.1, 0.5)]
    K = [[[300.0, 0, 112], [0, 300.0, 112], [0, 0, 1]]] * 2
    root = tmp_path / "freihand"
    (root / "training" / "rgb").mkdir(parents=True)
    (root / "training_xyz.json").write_text(json.dumps(np.array(xyz).tolist()))
    (root / "training_K.json").write_text(json.dumps(K))
    for index in range(4):
        cv2.imwrite(str(root / "training" / "rgb" / f"{index:08d}.jpg"), np.full((224, 224, 3), 60 * index, np.uint8))
    known = []
    work = tasks.total_loss
    monkeypatch.setattr(
        tasks, "total_loss", lambda output, truth, *rest: known.append(truth) or work(output, truth, *rest)
    )
    data, out = (f"freihand-training:{root}=1",), tmp_path / "run"
    config = replace(TINY, data=data, out=str(out), samples=2 * TINY.batch_size)
    monkeypatch.setattr(train, "_held_out", lambda config: {})
    monkeypatch.setattr(train, "_evaluate", lambda *given: None)
    train.main(config)
    shown = torch.cat([truth.present[:, 0] for truth in known])  # a slot may also be shown a place without its hand
    assert shown.float().mean() > 0.5
    assert torch.equal(torch.cat([truth.has_params[:, 0] for truth in known]), shown)
    assert "2 hands fitted, 100.0% within 10 mm" in capsys.readouterr().out
    assert len(list((out / "fits").rglob("*.npz"))) == 1
