"""ARCTIC written small in the published layout with numbers of our own."""

import json
import os

import cv2
import numpy as np
import pytest

from lgnet.data.check import check_data
from lgnet.data.registry import open_data
from lgnet.data.sample import project
from lgnet.hands import LEFT, RIGHT
from lgnet.safe_pickle import dense, read_npy_object

SEQUENCE = "s05/box_use_01"
FRAMES, VIEWS, OFFSET = 4, 10, 3
FIXED = np.array([[900.0, 0, 310], [0, 910, 250], [0, 0, 1]])
EGO = np.array([[400.0, 0, 330], [0, 405, 230], [0, 0, 1]])
DISTORTION = np.array([-0.2, 0.05, 1e-3, -2e-3, 0.01, 0.02, -0.01, 3e-3])
SIZE = (640, 480)


def project_by(matrix, points):
    uvw = points @ matrix.T
    return uvw[..., :2] / uvw[..., 2:]


def write(root, protocol="p1", pictures="images", split="val", loose=(320.0, 240.0, 1.0), image=None):
    rng = np.random.default_rng(0)
    views = [0] if protocol == "p2" else [1, 2]
    right = rng.normal([0.05, 0, 0.8], 0.02, (FRAMES, VIEWS, 21, 3)).astype(np.float32)
    left = rng.normal([-0.05, 0, 0.8], 0.02, (FRAMES, VIEWS, 21, 3)).astype(np.float32)
    left[:, 2] += (5, 0, 0)  # out of the picture in view 2
    flat = {}
    for side, joints in (("right", right), ("left", left)):
        pixels = project_by(FIXED, joints)
        pixels[:, 0] = project_by(EGO, joints[:, 0])
        flat[f"joints.{side}"] = pixels.astype(np.float32)
    truth = {
        "cam_coord": {
            "joints.right": right,
            "joints.left": left,
            "rot_r_cam": np.full((FRAMES, 9, 3), 0.1, np.float32),
        },
        "2d": flat,
        "bbox": np.tile(np.array(loose, np.float32), (FRAMES, 9, 1)),
        "params": {
            "K_ego": np.tile(EGO.astype(np.float32), (FRAMES, 1, 1)),
            "dist": np.tile(DISTORTION.astype(np.float32), (FRAMES, 1)),
            "pose_r": np.zeros((FRAMES, 45), np.float32),
            "shape_r": np.ones((FRAMES, 10), np.float32),
        },
    }
    names = [
        f"./data/arctic_data/data/images/{SEQUENCE}/{view}/{row + OFFSET:05d}.jpg" for row in (1, 2) for view in views
    ]
    (root / "splits").mkdir(parents=True, exist_ok=True)
    np.save(root / "splits" / f"{protocol}_{split}.npy", {"data_dict": {SEQUENCE: truth}, "imgnames": names})
    (root / "meta").mkdir(exist_ok=True)
    about = {"ioi_offset": OFFSET, "intris_mat": [FIXED.tolist()] * 8, "image_size": [SIZE] * 9}
    (root / "meta" / "misc.json").write_text(json.dumps({"s05": about}))
    for name in names:
        path = root / pictures / name.split("/images/")[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        blank = np.full((SIZE[1], SIZE[0], 3), 70, np.uint8)
        cv2.imwrite(str(path), blank if image is None else image)
    return right, left


def test_fixed_cameras(tmp_path):
    right, left = write(tmp_path)
    data = open_data(f"arctic-p1-val:{tmp_path}")
    first, other = data[0], data[1]
    assert first.recording == other.recording == SEQUENCE
    assert len(data) == 4 and first.name == f"{SEQUENCE}/1/00004.jpg"
    assert first.present.all() and other.present.tolist() == [True, False]
    # by hand: MANO's index finger is 1, 2, 3 with its tip at 17, the little finger 7 .. 9 with 20, the thumb 13 .. 15, 16
    for ours, theirs in ((0, 0), (1, 13), (4, 16), (5, 1), (8, 17), (17, 7), (20, 20)):
        np.testing.assert_allclose(first.joints3d[RIGHT, ours], right[1, 1, theirs], atol=1e-6)
        np.testing.assert_allclose(first.joints3d[LEFT, ours], left[1, 1, theirs], atol=1e-6)
    np.testing.assert_allclose(first.K, (900, 910, 310, 250))
    for side in (RIGHT, LEFT):
        assert np.abs(project(first.joints3d[side], first.K) - first.joints2d[side]).max() < 0.01
    assert check_data(f"arctic-p1-val:{tmp_path}").faults == ()


def test_cropped_pictures(tmp_path):
    """A crop of 300 pixels about (300, 220), shown with 1000."""
    write(tmp_path, pictures="cropped_images", loose=(300.0, 220.0, 1.0), image=np.zeros((1000, 1000, 3), np.uint8))
    sample = open_data(f"arctic-p1-val:{tmp_path}")[0]
    scale = 1000 / 300
    np.testing.assert_allclose(
        sample.K, (900 * scale, 910 * scale, 160.5 * scale - 0.5, 180.5 * scale - 0.5), rtol=1e-6
    )
    for side in (RIGHT, LEFT):
        assert np.abs(project(sample.joints3d[side], sample.K) - sample.joints2d[side]).max() < 0.05
    assert check_data(f"arctic-p1-val:{tmp_path}").faults == ()


@pytest.mark.parametrize("pictures", ["images", "cropped_images"])
def test_the_headsets_pictures_are_undistorted(tmp_path, pictures):
    """A dot drawn where the lens shows a joint comes to lie where the pinhole camera sees it."""
    right, _ = write(tmp_path, "p2")
    tip = right[1, 0, 17].astype(float)
    at = cv2.projectPoints(tip[None], np.zeros(3), np.zeros(3), EGO, DISTORTION)[0].ravel()
    image = np.full((480, 640, 3), 40, np.uint8)
    cv2.circle(image, (round(at[0]), round(at[1])), 6, (255, 255, 255), -1)
    if pictures == "cropped_images":
        image = cv2.resize(image, (192, 144), interpolation=cv2.INTER_AREA)
        for name in (tmp_path / "images").rglob("*.jpg"):
            name.unlink()
    write(tmp_path, "p2", pictures, image=image)
    sample = open_data(f"arctic-p2-val:{tmp_path}")[0]
    bright = np.argwhere(sample.image[..., 0] > 180)[:, ::-1]
    assert np.abs(bright.mean(0) - sample.joints2d[RIGHT, 8]).max() < 1
    assert np.abs(project(sample.joints3d[RIGHT], sample.K) - sample.joints2d[RIGHT]).max() < 0.05


def test_what_is_wrong_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"the folder arctic_data/data of its download"):
        open_data(f"arctic-p1-val:{tmp_path}")
    write(tmp_path)
    with pytest.raises(ValueError, match=r"there is no file .*p1_train\.npy"):
        open_data(f"arctic-p1-train:{tmp_path}")
    next((tmp_path / "images").rglob("*.jpg")).unlink()
    assert any("there is neither" in fault for fault in check_data(f"arctic-p1-val:{tmp_path}").faults)
    np.save(tmp_path / "splits" / "p1_val.npy", {"data_dict": {}, "imgnames": ["a/b/c/d/e/1/2.jpg"]})
    with pytest.raises(ValueError, match="not laid out as ARCTIC's"):
        open_data(f"arctic-p1-val:{tmp_path}")


class _Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pickled_objects_stay_in_the_file_and_run_nothing(tmp_path):
    large, small = np.random.default_rng(0).normal(size=(200, 60)), np.arange(5)
    np.save(tmp_path / "a.npy", {"large": large, "turned": np.asfortranarray(large), "small": small, "text": "b"})
    content = read_npy_object(tmp_path / "a.npy")
    assert isinstance(dense(content["large"]), np.memmap) and not isinstance(dense(content["small"]), np.memmap)
    for name, value in (("large", large), ("turned", large), ("small", small)):
        np.testing.assert_array_equal(dense(content[name]), value)
    np.save(tmp_path / "evil.npy", {"x": _Evil(str(tmp_path / "ran"))})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"evil\.npy asks for '\w+\.mkdir'"):
        read_npy_object(tmp_path / "evil.npy")
    assert not (tmp_path / "ran").exists()
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:9000])
    with pytest.raises(ValueError, match=r"a\.npy is cut short"):
        read_npy_object(tmp_path / "a.npy")
    np.save(tmp_path / "plain.npy", large)
    with pytest.raises(ValueError, match="not one object"):
        read_npy_object(tmp_path / "plain.npy")
