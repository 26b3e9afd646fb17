"""FreiHAND's published layout, written small by these tests with numbers of our own."""

import json

import cv2
import numpy as np
import pytest

from lgnet.data.check import check_data
from lgnet.data.registry import open_data
from lgnet.hands import RIGHT


@pytest.fixture
def root(tmp_path):
    """Two hands, each on two backgrounds."""
    rng = np.random.default_rng(0)
    xyz = rng.normal([0, 0, 0.7], 0.04, (2, 21, 3))
    K = np.array([[[480.0, 0, 112], [0, 485.0, 110], [0, 0, 1]], [[500.0, 0, 111], [0, 505.0, 113], [0, 0, 1]]])
    (tmp_path / "training" / "rgb").mkdir(parents=True)
    (tmp_path / "training_xyz.json").write_text(json.dumps(xyz.tolist()))
    (tmp_path / "training_K.json").write_text(json.dumps(K.tolist()))
    for index in range(4):
        cv2.imwrite(
            str(tmp_path / "training" / "rgb" / f"{index:08d}.jpg"), np.full((224, 224, 3), 60 * index, np.uint8)
        )
    return tmp_path, xyz, K


def test_pictures_share_the_truth_of_their_hand(root):
    folder, xyz, K = root
    samples = list(open_data(f"freihand-training:{folder}"))
    assert [round(float(sample.image.mean()), -1) for sample in samples] == [0, 60, 120, 180]
    assert [sample.recording for sample in samples] == ["0", "1", "0", "1"]
    for index, sample in enumerate(samples):
        assert sample.present.tolist() == [True, False]
        assert sample.kind == "single"
        np.testing.assert_allclose(sample.joints3d[RIGHT], xyz[index % 2], atol=1e-6)
        u, v, w = K[index % 2] @ xyz[index % 2, 8]
        np.testing.assert_allclose(sample.joints2d[RIGHT, 8], (u / w, v / w), atol=1e-3)
        x, y, width, height = sample.box[RIGHT]
        inside = (sample.joints2d[RIGHT] >= (x, y)) & (sample.joints2d[RIGHT] <= (x + width, y + height))
        assert inside.all()


def test_check_and_faults_in_one_sentence(root):
    folder, xyz, _ = root
    report = check_data(f"freihand-training:{folder}")
    assert (report.count, report.hands, report.faults) == (4, 4, ())
    picture = folder / "training" / "rgb" / "00000003.jpg"
    content = picture.read_bytes()
    picture.unlink()
    (fault,) = check_data(f"freihand-training:{folder}").faults
    assert "has 3 pictures, and 2 hands are annotated: some are missing" in fault
    picture.write_bytes(content)
    with pytest.raises(ValueError, match="holds no pictures of FreiHAND"):
        open_data(f"freihand-evaluation:{folder}")
    (folder / "training_xyz.json").write_text(json.dumps(xyz[:1].tolist()))
    with pytest.raises(ValueError, match="has 2 cameras but 1 hands"):
        open_data(f"freihand-training:{folder}")
    (folder / "training_xyz.json").write_text("[[1, 2]]")
    with pytest.raises(ValueError, match="not N x 21 x 3"):
        open_data(f"freihand-training:{folder}")
    (folder / "training_xyz.json").unlink()
    with pytest.raises(ValueError, match=r"there is no file .*training_xyz.json"):
        open_data(f"freihand-training:{folder}")
