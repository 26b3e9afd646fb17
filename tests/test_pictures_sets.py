"""EgoHands and RGB2Hands, written small in their layouts with numbers of our own."""

import cv2
import numpy as np
import pytest

from lgnet.cli import main
from lgnet.data.check import check_data
from lgnet.data.registry import open_data


def ego_video(root, name, hands):
    """Three pictures; `hands` the outlines (right, left, of the partner) in each, pixels counted from 0."""
    from scipy.io import savemat

    folder = root / "_LABELLED_SAMPLES" / name
    folder.mkdir(parents=True)
    fields = [(field, object) for field in ("myleft", "myright", "yourleft", "yourright")]
    rows = np.zeros((1, len(hands)), fields)
    for number, (right, left, other) in enumerate(hands):
        cv2.imwrite(str(folder / f"frame_{11 * number + 5:04d}.jpg"), np.full((72, 128, 3), 90, np.uint8))
        for field, outline in (("myright", right), ("myleft", left), ("yourleft", other), ("yourright", None)):
            rows[field][0, number] = np.zeros((1, 0)) if outline is None else np.array(outline, float) + 1
    savemat(str(folder / "polygons.mat"), {"polygons": rows})
    return folder


RIGHT = [(60, 20), (100, 30), (90, 60.5), (70, 50)]
LEFT = [(-3, 40), (30, 50), (20, 80), (5, 70)]  # beyond the picture's border
OTHER = [(50, 0), (60, 0), (55, 10)]


def test_egohands_own_hands(tmp_path):
    pytest.importorskip("scipy")
    ego_video(tmp_path, "CARDS_OFFICE_B_S", [(RIGHT, LEFT, OTHER), (None, LEFT, None), (None, None, OTHER)])
    ego_video(tmp_path, "CHESS_OFFICE_T_S", [(RIGHT, RIGHT, None)])
    data = open_data(f"egohands:{tmp_path}")
    both, left, none, touching = data
    assert [s.kind for s in data] == ["separate", "single", "none", "interacting"]
    assert both.recording == "CARDS_OFFICE_B_S"
    assert both.name == "_LABELLED_SAMPLES/CARDS_OFFICE_B_S/frame_0005.jpg"
    np.testing.assert_allclose(both.box, [(60, 20, 40, 40.5), (0, 40, 30, 31)])  # to the last row, 71
    assert left.present.tolist() == [False, True] and not none.present.any() and touching.present.all()
    assert not both.joints2d_valid.any() and both.K is None
    assert check_data(f"egohands:{tmp_path}").faults == ()


def test_egohands_faults(tmp_path):
    pytest.importorskip("scipy")
    with pytest.raises(ValueError, match="holds nothing of EgoHands"):
        open_data(f"egohands:{tmp_path}")
    folder = ego_video(tmp_path, "CARDS_OFFICE_B_S", [(RIGHT, LEFT, None), (RIGHT, None, None)])
    (folder / "frame_0005.jpg").write_bytes(b"nonsense")
    assert "frame_0005.jpg cannot be read" in check_data(f"egohands:{tmp_path}").faults[0]
    (folder / "frame_0005.jpg").unlink()
    with pytest.raises(ValueError, match="outlines for 2 pictures, but beside it are 1"):
        open_data(f"egohands:{tmp_path}")
    (folder / "polygons.mat").write_bytes(b"MATLAB 5.0 nonsense")
    with pytest.raises(ValueError, match=r"polygons\.mat cannot be read"):
        open_data(f"egohands:{tmp_path}")


def rgb2hands(root):
    for sequence in ("seq01_crossed", "seq04_scratch"):
        for number in (2, 10):
            path = root / sequence / "color" / f"{number}_color.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.full((48, 64, 3), number, np.uint8))
    path = root / "seq01_crossed" / "annotation" / "annot2D_color" / "2_color2.5D.txt"
    path.parent.mkdir(parents=True)
    path.write_text("30 20 0 1\n" * 42)
    (root / "color_intrinsics.txt").write_text("60.5 61.5 31 23\n")


def test_rgb2hands_are_pictures(tmp_path):
    rgb2hands(tmp_path)
    data = open_data(f"rgb2hands:{tmp_path}")
    assert [s.name.split("_", 1)[1] for s in data] == [
        "crossed/color/2_color.png", "crossed/color/10_color.png", "scratch/color/2_color.png", "scratch/color/10_color.png",
    ]  # fmt: skip
    sample = data[1]
    assert sample.image[0, 0].tolist() == [10, 10, 10] and sample.K.tolist() == [60.5, 61.5, 31, 23]
    assert not sample.present.any() and sample.present_known is not None and not sample.present_known.any()
    assert list(data.skipped.values()) == [1]
    assert check_data(f"rgb2hands:{tmp_path}").faults == ()
    (tmp_path / "in").mkdir()
    (tmp_path / "seq01_crossed").rename(tmp_path / "in" / "seq01_crossed")
    (tmp_path / "seq04_scratch").rename(tmp_path / "in" / "seq04_scratch")
    (tmp_path / "color_intrinsics.txt").rename(tmp_path / "in" / "color_intrinsics.txt")
    (tmp_path / "in").rename(tmp_path / "data")
    assert len(open_data(f"rgb2hands:{tmp_path}")) == 4


def test_rgb2hands_faults(tmp_path):
    with pytest.raises(ValueError, match="holds nothing of RGB2Hands"):
        open_data(f"rgb2hands:{tmp_path}")
    rgb2hands(tmp_path)
    (tmp_path / "color_intrinsics.txt").write_text("60 61 31\n")
    with pytest.raises(ValueError, match="does not begin with a line of fx"):
        open_data(f"rgb2hands:{tmp_path}")
    (tmp_path / "color_intrinsics.txt").unlink()
    with pytest.raises(ValueError, match="there is no file"):
        open_data(f"rgb2hands:{tmp_path}")


@pytest.mark.usefixtures("no_plots")
def test_pictures_alone_are_predicted_and_nothing_is_said_of_them(tmp_path, capsys):
    rgb2hands(tmp_path / "set")
    assert main(["data", "check", f"rgb2hands:{tmp_path / 'set'}"]) == 0
    assert "4 pictures (4 interacting), 0 hands" in capsys.readouterr().out
    out = tmp_path / "out"
    arguments = ["--data", f"rgb2hands:{tmp_path / 'set'}", "--out", str(out), "--save-predictions"]
    assert main(["evaluate", *arguments]) == 0
    assert len(list((out / "predictions").rglob("*.json"))) == 4
    text = (out / "metrics.json").read_text()
    assert '"count": 4' in text and '"hands": 0' in text and '"presence_accuracy": null' in text
