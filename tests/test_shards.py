"""Work shared by processes and gone on with: lgnet evaluate under torchrun, and the parts that it is made of."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_evaluate import DATA, Knowing, make

from lgnet.evaluate import evaluate, evaluate_files
from lgnet.scoring.predictions import write_prediction
from lgnet.shards import Shards, launched

SOURCE = Path(__file__).parents[1] / "src"


def shards(folder: Path, rank: int = 0, world: int = 1, **plan) -> Shards:
    return Shards(folder, plan, rank, world)


def test_who_torchrun_says_we_are(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert launched() is None
    monkeypatch.setenv("RANK", "2")
    assert launched() is None
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert launched() == (2, 4)
    monkeypatch.setenv("RANK", "4")
    assert launched() is None


def test_parts_are_dealt_out_and_done_ones_skipped(tmp_path):
    both = [shards(tmp_path / "parts", rank, 2) for rank in range(2)]
    assert [own.begin(5) for own in both] == [[0, 2, 4], [1, 3]]
    both[1].write(3, b"three")
    both[0].write(0, b"zero")
    assert [own.begin(5) for own in both] == [[2, 4], [1]]
    assert [shards(tmp_path / "parts", rank, 3).begin(5) for rank in range(3)] == [[], [1, 4], [2]]  # another number
    for number in (1, 2, 4):
        both[0].write(number, str(number).encode())
    heard = []
    assert list(both[0].wait(5, heard.append)) == [b"zero", b"1", b"2", b"three", b"4"]
    assert heard == [[0, 1, 2, 3, 4]]
    both[0].remove()
    assert not (tmp_path / "parts").exists()


def test_parts_of_other_work_are_refused(tmp_path):
    shards(tmp_path / "parts", weights="a", boxes="own").begin(5)
    with pytest.raises(ValueError, match="differs in weights"):
        shards(tmp_path / "parts", weights="b", boxes="own").begin(5)
    with pytest.raises(ValueError, match="differs in parts"):
        shards(tmp_path / "parts", weights="a", boxes="own").begin(6)
    (tmp_path / "parts" / "plan.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        shards(tmp_path / "parts", weights="a", boxes="own").begin(5)


def test_work_that_fails_before_anything_is_done_leaves_nothing_that_binds_the_next(tmp_path):
    own = shards(tmp_path / "parts", boxes="truth")

    def fail(done):
        own.begin(3)
        with own.kept():
            if done:
                own.write(0, b"zero")
            raise ValueError("no side")

    for done in (False, True):
        with pytest.raises(ValueError, match="no side"):
            fail(done)
        assert own.folder.exists() is done


@pytest.mark.usefixtures("no_plots")
def test_two_processes_give_one_result(tmp_path):
    whole = evaluate(Knowing(0.01), DATA, tmp_path / "one", quiet=True)
    out, second = tmp_path / "two", Knowing(0.01)
    assert evaluate(second, DATA, out, quiet=True, shards=shards(out / "parts", 1, 2)) == {}
    assert sorted(int(asked[0][0, 0, 0]) for asked in second.asked) == [1, 3, 5]
    first = Knowing(0.01)
    assert evaluate(first, DATA, out, quiet=True, shards=shards(out / "parts", 0, 2)) == whole
    assert sorted(int(asked[0][0, 0, 0]) for asked in first.asked) == [0, 2, 4]
    assert (out / "metrics.json").read_bytes() == (tmp_path / "one" / "metrics.json").read_bytes()
    assert (out / "cases.jpg").read_bytes() == (tmp_path / "one" / "cases.jpg").read_bytes()
    assert not (out / "parts").exists()


class Breaking(Knowing):
    """Breaks off at the fourth picture."""

    def predict(self, image, camera, boxes, given):
        if len(self.asked) == 3:
            raise KeyboardInterrupt
        return super().predict(image, camera, boxes, given)


@pytest.mark.usefixtures("no_plots")
def test_a_second_start_does_only_what_is_left(tmp_path, capsys):
    whole = evaluate(Knowing(0.01), DATA, tmp_path / "one", quiet=True)
    out = tmp_path / "two"
    with pytest.raises(KeyboardInterrupt):
        evaluate(Breaking(0.01), DATA, out, quiet=True, shards=shards(out / "parts"))
    again = Knowing(0.01)
    assert evaluate(again, DATA, out, quiet=True, shards=shards(out / "parts")) == whole
    assert [int(asked[0][0, 0, 0]) for asked in again.asked] == [3, 4, 5]
    assert "3 of 6 parts are done already" in capsys.readouterr().err
    assert (out / "metrics.json").read_bytes() == (tmp_path / "one" / "metrics.json").read_bytes()


@pytest.mark.usefixtures("no_plots")
def test_files_that_are_missing_or_damaged_are_told_by_whoever_comes_last(tmp_path):
    for index in (0, 1, 3, 4):
        sample = make(index)
        write_prediction(Knowing(0.01).predict(sample.image, None, None, None), sample, tmp_path / "theirs")
    (tmp_path / "theirs" / "set" / "3.json").write_text("{")
    (tmp_path / "theirs" / "other.json").write_text("{}")
    whole = evaluate_files(tmp_path / "theirs", DATA, tmp_path / "one", quiet=True)
    assert whole["predictions"]["missing"]["names"] == ["set/2.png", "set/5.png"]
    assert whole["predictions"]["damaged"]["count"] == whole["predictions"]["unknown"]["count"] == 1
    out = tmp_path / "two"
    assert evaluate_files(tmp_path / "theirs", DATA, out, quiet=True, shards=shards(out / "parts", 1, 2)) == {}
    assert evaluate_files(tmp_path / "theirs", DATA, out, quiet=True, shards=shards(out / "parts", 0, 2)) == whole
    assert (out / "metrics.json").read_bytes() == (tmp_path / "one" / "metrics.json").read_bytes()


@pytest.mark.usefixtures("no_plots")
def test_a_damaged_part_is_named(tmp_path):
    out = tmp_path / "two"
    evaluate(Knowing(), DATA, out, quiet=True, shards=shards(out / "parts", 1, 2))
    (out / "parts" / "000003.npz").write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(ValueError, match=r"000003\.npz is damaged; delete it"):
        evaluate(Knowing(), DATA, out, quiet=True, shards=shards(out / "parts", 0, 2))


def run(*arguments: str, folder: Path, ends_well: bool = True) -> str:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=1800
    )
    assert (done.returncode == 0) == ends_well, done.stderr
    return done.stderr


@pytest.mark.slow
def test_torchrun_gives_the_figures_of_one_process_and_goes_on(tmp_path):
    pytest.importorskip("numba")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    task = ["-m", "lgnet", "evaluate", "--data", "synth-bench", "--limit", "8", "--boxes", "truth", "--out"]
    run(*task, "one", "--save-predictions", folder=tmp_path)
    expected = (tmp_path / "one" / "metrics.json").read_bytes()
    run(*torchrun, *task, "two", "--save-predictions", folder=tmp_path)
    assert (tmp_path / "two" / "metrics.json").read_bytes() == expected
    assert not (tmp_path / "two" / "parts").exists()
    for path in (tmp_path / "one" / "predictions").rglob("*.*"):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        if path.suffix == ".json":
            assert other.read_bytes() == path.read_bytes()
        else:
            with np.load(path) as a, np.load(other) as b:
                assert all(a[key].tobytes() == b[key].tobytes() for key in a.files)

    # half done: a process alone was killed once it had some parts; what it had done is not done again
    worker = subprocess.Popen(
        [sys.executable, *task, "three", "--save-predictions"], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    parts = tmp_path / "three" / "parts"
    try:
        while len(list(parts.glob("*.npz"))) < 3:
            assert worker.poll() is None
            time.sleep(0.05)
    finally:
        worker.kill()
        worker.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.npz")}
    assert 3 <= len(kept) < 8
    shutil.copytree(parts, tmp_path / "kept")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "three" / "predictions").rglob("*.json")}
    told = run(*torchrun, *task, "three", "--save-predictions", folder=tmp_path)
    assert f"{len(kept)} of 8 parts are done already" in told
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "three" / "predictions").rglob("*.json")}
    assert len(after) == 8
    assert sum(after[path] == time for path, time in before.items()) >= len(kept)
    assert (tmp_path / "three" / "metrics.json").read_bytes() == expected

    # other options do not go on with it
    shutil.copytree(tmp_path / "kept", parts)
    other = [word if word != "truth" else "own" for word in task]
    assert "differs in boxes" in run(*other, "three", "--save-predictions", folder=tmp_path, ends_well=False)

    # files, by two processes
    scored = [*task, "four", "--predictions", "one/predictions"]
    run(*torchrun, *scored, folder=tmp_path)
    files = json.loads((tmp_path / "four" / "metrics.json").read_text())
    for key in ("protocols", "pa_mpjpe", "mrrpe", "pck2d", "confidence", "by"):
        assert files[key] == json.loads(expected)[key]
