import io
import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scripted import Scripted
from test_image_io import exif_block
from test_outputs import hand

import lgnet
from lgnet import cli, predict
from lgnet.config import RESUMABLE, to_dict
from lgnet.hands import TwoHands, assumed_camera
from lgnet.presets import PRESETS


@dataclass
class Fake(Scripted):
    """A model that always sees the same two hands (or as many as it is told), and notes what it was given."""

    sides: tuple[str, ...] = ("right", "left")
    calls: list = None  # type: ignore[assignment]

    def predict(self, image, camera=None, boxes=None, given=None, file=None):
        self.calls.append((camera, boxes, given, file))
        height, width = image.shape[:2]
        hands = {side: hand(side) if side in self.sides else None for side in ("right", "left")}
        model = {"weights": "fake", "hand_model": "lgnet", "version": "0"}
        camera = camera or assumed_camera(width, height)
        return TwoHands(hands["right"], hands["left"], width, height, camera, file, model)


@pytest.fixture
def fake(monkeypatch) -> Fake:
    model = Fake(calls=[])
    monkeypatch.setattr(predict, "load", lambda weights="lgnet-mobile", device="auto", tta=1: model)
    return model


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (64, 48), (90, 120, 150)).save(path)
    return path


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def program(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "lgnet", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def complaint(capsys) -> str:
    """The one sentence on standard error."""
    said = capsys.readouterr().err
    assert said.startswith("lgnet: ") and said.count("\n") == 1 and said.endswith("\n"), said
    return said


def test_public_names_come_when_asked_for():
    assert lgnet.__version__ == "0.1.0"
    assert lgnet.TwoHands is TwoHands and lgnet.load is predict.load and "load" in dir(lgnet)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lgnet.nothing


def test_help_is_quick_and_needs_no_torch():
    begun = time.monotonic()
    done = program("--help")
    assert time.monotonic() - begun < 5  # 0.4 s on an idle machine
    assert done.returncode == 0
    for command in ("demo", "reconstruct", "stream", "evaluate", "train", "synth", "data", "bench"):
        assert command in done.stdout
    code = (
        "import sys, lgnet.cli\n"
        "for words in (['--help'], ['train', '--help'], ['reconstruct', '--help']):\n"
        "    try: lgnet.cli.main(words)\n"
        "    except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("words", [[], ["nonsense"], ["reconstruct", "a.jpg"], ["reconstruct", "a.jpg", "--out"]])
def test_usage_errors_of_the_parser(words):
    done = program(*words)
    assert done.returncode == 2 and "Traceback" not in done.stderr and done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--out o", "name at least one picture"),
        ("a.jpg --out o --save json,ply", "cannot save 'ply'"),
        ("a.jpg --out o --intrinsics 0 500 320 240", "--intrinsics takes FX FY CX CY"),
        ("a.jpg --out o --intrinsics 500 500 nan 240", "--intrinsics takes FX FY CX CY"),
        ("a.jpg --out o --boxes missing.json", "missing.json cannot be read"),
        ("a.jpg b/a.png --out o", "would both be written"),
        ("a.jpg --out o --intrinsics 1e-300 1e-300 0 0", "--intrinsics takes FX FY CX CY"),
        ("a.jpg --out o --people all --boxes b.json", "--boxes says where one pair of hands is"),
        ("a.jpg --out o --people all --finder mediapipe", "are of lgnet's own finder"),
        ("a.jpg --out o --tiles all --finder mediapipe", "are of lgnet's own finder"),
        ("a.mp4 --out o --gestures basic --save overlay", "add json to --save"),
        ("a.jpg --out o --gestures mine.py", "--gestures is of videos, cameras and --sequence"),
        ("a.jpg --out o --frames 3", "--frames is of videos"),
        ("a.jpg --out o --smooth off", "--smooth is of videos"),
        ("a.jpg --out o --sequence", "--sequence takes a folder's pictures"),
        ("a.mp4 camera:0 --out o --save json,obj,npz", "npz is not saved of videos"),
        ("a.jpg a.mp4 --out o --save json,glb", "would both be written to o/a.glb"),
        ("a.jpg --out o --frames 0", "--frames is at least 1"),
        ("a.jpg --out o --hand-length 0.18", "--hand-length is in millimetres"),
        ("camera:x --out o", "is no camera"),
        ("a.jpg --out o --weights nosuch", "there are no weights 'nosuch'"),
        ("a.jpg --out o --weights ./damaged.safetensors", "damaged.safetensors is damaged"),
    ],
)
def test_usage_errors_are_one_sentence(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "damaged.safetensors").write_bytes(b"\xff" * 100)
    assert run("reconstruct", *words.split()) == 2
    assert said in complaint(capsys)
    assert not (tmp_path / "o").exists()


def test_out_that_is_a_file_and_results_over_inputs(photo, tmp_path, fake, capsys):
    assert run("reconstruct", photo, "--out", photo) == 2
    assert "is a file; give a folder" in complaint(capsys)
    Image.new("RGB", (8, 8)).save(tmp_path / "photo_overlay.png")
    assert run("reconstruct", tmp_path, "--out", tmp_path) == 2
    assert "would replace the input" in complaint(capsys)


def test_a_folder_where_a_file_is_to_be_and_names_of_nothing(photo, tmp_path, fake, capsys):
    out = tmp_path / "out"
    (out / "photo.json").mkdir(parents=True)
    assert run("reconstruct", photo, "--out", out) == 2
    assert "photo.json is a folder, where a file of the results is to be" in complaint(capsys)
    (out / "film_mask").touch()
    assert run("reconstruct", tmp_path / "film.mp4", "--out", out, "--save", "mask") == 2
    assert "film_mask is a file, where a folder of the results is to be" in complaint(capsys)
    assert run("reconstruct", "", "--out", out) == 2
    assert "an input has no name" in complaint(capsys)
    assert run("reconstruct", photo, "--out", "") == 2
    assert "--out has no name" in complaint(capsys)
    assert not fake.calls


def test_reconstruct_writes_what_is_asked_for(photo, tmp_path, fake, capsys):
    out = tmp_path / "out"
    assert run("reconstruct", photo, "--out", out, "--save", "json,npz,obj,mask") == 0
    assert sorted(p.name for p in out.iterdir()) == [
        "photo.json",
        "photo.npz",
        "photo_left.obj",
        "photo_mask.png",
        "photo_right.obj",
    ]
    result = json.loads((out / "photo.json").read_text())
    assert result["schema"] == "lgnet/1" and result["image"] == {"file": str(photo), "width": 64, "height": 48}
    assert [h["side"] for h in result["hands"]] == ["right", "left"]
    assert result["camera"]["assumed"]
    assert capsys.readouterr() == ("", "")  # quiet in a pipe


def test_some_inputs_fail_and_the_others_are_done(photo, tmp_path, fake, capsys):
    (tmp_path / "empty.png").touch()
    (tmp_path / "words.jpg").write_text("no picture")
    content = photo.read_bytes()
    (tmp_path / "short.jpg").write_bytes(content[: len(content) // 2])
    bad = ["missing.jpg", tmp_path / "empty.png", tmp_path / "words.jpg", tmp_path / "short.jpg", tmp_path / "none.mp4"]
    (tmp_path / "film.mp4").write_bytes(b"no film")
    assert run("reconstruct", *bad, tmp_path / "film.mp4", photo, "--out", tmp_path / "out") == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6 and all(line.startswith("lgnet: ") for line in lines)
    for name, line in zip(("missing", "empty", "words", "short", "none", "film"), lines):
        assert name in line, lines
    assert (tmp_path / "out" / "photo.json").exists() and len(fake.calls) == 1


def test_folders_are_mirrored(photo, tmp_path, fake):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for place in ("a.jpg", "sub/a.jpg"):
        (tmp_path / "in" / place).write_bytes(photo.read_bytes())
    for _ in range(2):  # the second time the results are there, and are not taken for inputs
        assert run("reconstruct", tmp_path / "in", "--out", tmp_path / "in" / "out", "--save", "overlay") == 0
    assert len(fake.calls) == 4
    assert (tmp_path / "in" / "out" / "sub" / "a_overlay.png").exists()


def test_no_hands_is_an_answer(photo, tmp_path, fake):
    fake.sides = ()
    assert run("reconstruct", photo, "--out", tmp_path / "out", "--save", "json,npz,glb,obj,overlay,depth") == 0
    result = json.loads((tmp_path / "out" / "photo.json").read_text())
    assert result["hands"] == [] and result["relative_translation"] is None


def test_standard_input(photo, tmp_path, fake, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))
    assert run("reconstruct", "-", "--out", tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / "stdin.json").read_text())["image"]["file"] == "-"


def test_intrinsics_go_before_exif(photo, tmp_path, fake):
    Image.new("RGB", (64, 48)).save(photo, exif=exif_block(1, 36))
    assert run("reconstruct", photo, "--out", tmp_path) == 0
    assert run("reconstruct", photo, "--out", tmp_path, "--intrinsics", 500, 501, -3, 240) == 0
    first, second = (call[0] for call in fake.calls)
    assert (round(first.fx, 3), first.cx, first.assumed) == (66.59, 31.5, False)  # 64 / 34.6 * 36
    assert (second.fx, second.fy, second.cx, second.cy, second.assumed) == (500, 501, -3, 240, False)


def test_boxes(photo, tmp_path, fake):
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps({"photo.jpg": {"right": [1, 2, 30, 40], "left": None}, "other.jpg": {}}))
    assert run("reconstruct", photo, "--out", tmp_path / "out", "--boxes", file) == 0
    _, boxes, given, _ = fake.calls[0]
    assert boxes.tolist() == [[1, 2, 30, 40], [0, 0, 0, 0]] and given.tolist() == [True, False]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "has to hold"),
        ('{"photo.jpg": [1, 2, 3, 4]}', "has to say of 'photo.jpg'"),
        ('{"photo.jpg": {"Right": [1, 2, 3, 4]}}', "has to say of 'photo.jpg'"),
        ('{"photo.jpg": {"right": [1, 2, 3]}}', "photo.jpg, right: a box is [x, y, width, height]"),
        ('{"photo.jpg": {"right": [1, 2, 0, 4]}}', "a pixel wide and high at least"),
        ('{"photo.jpg": {"left": [1, 2, "3", 4]}}', "photo.jpg, left"),
        ('{"photo.jpg": {"left": [1, 2, NaN, 4]}}', "photo.jpg, left"),
        ('{"else.jpg": {"left": [1, 2, 3, 4]}}', "names none of the inputs"),
        ('{"film.mp4": {"left": [1, 2, 3, 4]}}', "film.mp4, but boxes are for pictures"),
    ],
)
def test_bad_boxes(content, said, photo, tmp_path, fake, capsys):
    file = tmp_path / "boxes.json"
    file.write_text(content)
    assert run("reconstruct", photo, tmp_path / "film.mp4", "--out", tmp_path / "out", "--boxes", file) == 2
    assert said in complaint(capsys) and not fake.calls


def test_a_box_outside_its_picture_fails_that_picture(photo, tmp_path, capsys):
    (tmp_path / "boxes.json").write_text('{"photo.jpg": {"right": [500, 2, 30, 40]}}')
    assert run("reconstruct", photo, "--out", tmp_path / "out", "--boxes", tmp_path / "boxes.json") == 1
    assert "lies outside the picture of 64 x 48" in complaint(capsys)


def test_video(tmp_path, fake):
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for value in range(5):
        writer.write(np.full((48, 64, 3), 40 * value, np.uint8))
    writer.release()
    out = tmp_path / "out"
    assert run("reconstruct", path, "--out", out, "--frames", 4, "--smooth", "off") == 0
    lines = [json.loads(line) for line in (out / "film.jsonl").read_text().splitlines()]
    assert [(line["frame"], line["time"]) for line in lines] == [(0, 0.0), (1, 0.1), (2, 0.2), (3, 0.3)]
    assert lines[0]["schema"] == "lgnet/1" and len(lines[0]["hands"]) == 2
    film = cv2.VideoCapture(str(out / "film.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 4 and film.get(cv2.CAP_PROP_FRAME_WIDTH) == 64
    assert sorted(p.name for p in out.iterdir()) == ["film.jsonl", "film.mp4"]
    assert run("reconstruct", path, "--out", out, "--save", "obj") == 2


def test_demo_says_what_it_wrote(photo, tmp_path, fake, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("demo", photo) == 0
    written = capsys.readouterr().out.splitlines()
    assert "lgnet-demo/photo_overlay.png" in written and all((tmp_path / name).is_file() for name in written)


def test_train_takes_presets_and_options(monkeypatch, capsys):
    from lgnet import train

    seen = []
    monkeypatch.setattr(train, "main", lambda config, resume=None: seen.append((config, resume)) or "done")
    expected = PRESETS["hands"]
    expected = replace(expected, samples=5, model=replace(expected.model, channels=64))
    assert run("train", "hands", "--samples", 5, "--model.channels", 64) == 0
    assert seen == [(expected, None)]
    assert run("train") == 0 and seen[1] == (PRESETS["lgnet-mobile"], None)
    capsys.readouterr()
    assert run("train", "nosuch") == 2 and "there is no preset 'nosuch'" in complaint(capsys)
    assert run("train", "--samples", 5, "hands") == 2 and "the preset comes first" in complaint(capsys)


def test_train_goes_on_with_the_options_of_the_run(monkeypatch, capsys, tmp_path):
    from lgnet import train

    seen = []
    monkeypatch.setattr(train, "main", lambda config, resume=None: seen.append((config, resume)) or "done")
    before = replace(PRESETS["hands"], learning_rate=0.5, data=("freihand-training:x=0.5",), out="elsewhere")
    (tmp_path / "config.json").write_text(json.dumps(to_dict(before)))
    assert run("train", "--samples", 7, "--resume", tmp_path) == 0
    assert seen == [(replace(before, samples=7, out=str(tmp_path)), str(tmp_path))]
    capsys.readouterr()
    assert run("train", "--batch-size", 7, "--resume", tmp_path) == 2
    assert "--batch-size cannot be changed when a run goes on" in complaint(capsys)
    assert run("train", f"--resume={tmp_path / 'nothing'}") == 2
    assert "nothing holds no run to go on with" in complaint(capsys)
    assert len(seen) == 1


def test_a_missing_extra_is_one_sentence(monkeypatch, capsys):
    from lgnet import train

    def missing(config, resume=None):
        raise ModuleNotFoundError("No module named 'lightning_fabric'", name="lightning_fabric")

    monkeypatch.setattr(train, "main", missing)
    assert run("train", "hands") == 2
    assert 'needs the package lightning_fabric; install it with: pip install "lgnet[train]"' in complaint(capsys)


def test_synth_evaluate_and_data_refuse_in_one_sentence(tmp_path, capsys):
    for words, said in (
        (("synth", "--out", tmp_path, "--count", "0"), "--count is at least 1"),
        (
            ("synth", "--out", tmp_path, "--jobs", "0"),
            "--shard-size, --jobs and --views are at least 1, not 500, 0 and 1",
        ),
        (("synth", "--out", tmp_path, "--kinds", "0", "0", "0", "0"), "--kinds are four shares"),
        (("synth", "--out", tmp_path, "--fill", "0.9", "0.1"), "--fill is the least and the greatest share"),
        (("synth", "--out", tmp_path, "--wrist-bend", "-4"), "--wrist-bend is from 0 to 90"),
        (("synth", "--out", tmp_path, "--lens", "nan"), "--lens is from 0 to 1, not nan"),
        (("synth", "--out", tmp_path, "--everyday", "7"), "--everyday is from 0 to 1, not 7"),
        (("synth", "--out", tmp_path, "--backgrounds", tmp_path / "no"), "--backgrounds names no folder"),
        (("data", "check", f"synth:{tmp_path}"), "holds no synthetic pictures"),
        (("evaluate", "--data", "nosuch", "--out", tmp_path), "there is no data set 'nosuch'"),
        (("evaluate", "--data", "nosuch", "--out", tmp_path, "--predictions", "p", "--tta", "3"), "leave out --tta"),
        (("data", "check", "nosuch:x"), "there is no data set 'nosuch'"),
        (("data", "mend", "nosuch:x"), "lgnet data can check"),
        (("bench", "--repeats", "0"), "--repeats at least 1"),
    ):
        assert run(*words) == 2
        assert said in complaint(capsys)
    assert not list(tmp_path.iterdir())


def test_synth_preview_is_one_sheet(tmp_path, capsys):
    assert run("synth", "--out", tmp_path / "p", "--count", "3", "--size", "64", "--preview") == 0
    assert "3 pictures on" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["preview.jpg"]
    sheet = cv2.imread(str(tmp_path / "p" / "preview.jpg"))
    assert sheet.shape == (192 + 16, 8 * 192, 3)
    assert (sheet[:192, 3 * 192 + 8 :] > 250).all()  # white where there are no more pictures
    assert sheet[:192, : 3 * 192].std() > 10


def test_a_preview_of_more_than_a_sheet_holds_is_refused_before_it_is_drawn(tmp_path, capsys):
    assert run("synth", "--out", tmp_path / "p", "--count", "10000", "--preview") == 2
    assert "a preview shows at most 2000 pictures, not 10000" in complaint(capsys)
    assert not (tmp_path / "p").exists()


def test_synth_preview_of_a_rig_has_a_scene_in_each_row(tmp_path):
    assert run("synth", "--out", tmp_path, "--count", "4", "--views", "2", "--size", "64", "--preview") == 0
    assert cv2.imread(str(tmp_path / "preview.jpg")).shape == (2 * (192 + 16), 2 * 192, 3)


def test_data_check_counts_faults(monkeypatch, capsys):
    from lgnet.data import check

    report = check.DataReport("realdata", 3, 4, 0, {"single": 3}, {"no such side": 1}, ("a.jpg is damaged",))
    monkeypatch.setattr(check, "check_data", lambda spec: report)
    assert run("data", "check", "realdata:x") == 1
    said = capsys.readouterr()
    assert "3 pictures (3 single), 4 hands" in said.out and said.err == "lgnet: a.jpg is damaged\n"


def test_bench_times_every_stage(photo, tmp_path, monkeypatch, capsys):
    from lgnet.detect import build_detector
    from lgnet.hand_model import load_hand_model
    from lgnet.model.network import build_network
    from lgnet.pair import build_pair_net
    from lgnet.presets import MODELS
    from lgnet.side import build_side_net

    config = MODELS["lgnet-mobile"]
    models = (load_hand_model("lgnet", "right"), load_hand_model("lgnet", "left"))
    finder = predict.Finder(build_detector().eval(), build_side_net().eval(), build_pair_net().eval())
    model = predict.Model(build_network(config).eval(), config, finder, models, "fresh")
    monkeypatch.setattr(predict, "load", lambda weights, device, tta=1: model)
    assert run("bench", "--image", photo, "--repeats", 1, "--out", tmp_path / "bench.json") == 0
    figures = json.loads((tmp_path / "bench.json").read_text())
    assert {
        *("reference", "read", "find", "crop", "network", "  backbone", "  joint stage", "  mesh stage"),
        *("  refine stage", "place", "predict, boxes given", "predict, own boxes", "the same, --tta 3"),
        "overlay",
    } == set(figures["milliseconds"])
    assert all(value > 0 for value in figures["milliseconds"].values()) and figures["threads"] >= 1
    said = capsys.readouterr().out
    assert "threads" in said and "x reference" in said


def test_from_picture_to_files_with_the_bundled_weights(tmp_path):
    weights = resources.files("lgnet") / "weights" / "lgnet-mobile.safetensors"
    if not weights.is_file():
        pytest.skip("the weights lgnet-mobile are not bundled yet")
    examples = sorted((resources.files("lgnet") / "examples").iterdir(), key=lambda f: f.name)
    if not examples:
        pytest.skip("there are no example pictures yet")
    blank = tmp_path / "blank.png"
    Image.new("RGB", (320, 240), (128, 128, 128)).save(blank)
    done = program("reconstruct", str(examples[0]), blank, "--out", tmp_path / "out", "--device", "cpu")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "out" / "blank.json").read_text())["hands"] == []
    assert (tmp_path / "out" / f"{examples[0].name.removesuffix('.jpg')}.glb").is_file()


def test_what_may_change_on_resume_stands_where_it_is_looked_for():
    options = {"--" + name.replace("_", "-") for name in RESUMABLE}
    help_text = " ".join(program("train", "--help").stdout.replace("│", " ").split())
    told = help_text.split("with the options it has. Only ")[1].split(" may ")[0]
    written = (Path(__file__).parents[1] / "docs/training.md").read_text(encoding="utf-8").split("of them only ")[1]
    for text in (told, written.split("may be changed")[0]):
        assert set(re.findall(r"--[a-z-]+", text)) == options
