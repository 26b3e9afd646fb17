"""The programs that docs' figures come from: each can at least be loaded and says what it does."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("benchmarks", "scripts")
    for path in (ROOT / folder).glob("*.py")
    if "ArgumentParser" in path.read_text(encoding="utf-8")
)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_it_can_be_loaded(name):
    done = subprocess.run([sys.executable, str(ROOT / name), "--help"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert name in done.stdout or "usage" in done.stdout


def test_most_of_them_are_tried():
    assert len(PROGRAMS) > 20
