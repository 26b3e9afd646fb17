"""An hour of film through `lgnet reconstruct`: does memory stay flat, is every frame there once, what is left of a killed run?

    python benchmarks/long_film.py                      # 3,600 s at 2 frames a second
    python benchmarks/long_film.py --seconds 60         # a quick look

The film is drawn by lgnet.synth (see following.py): some seconds of two hands, of one, and of none, over and over, so that
hands are followed, lost and found all along. Then two shorter runs are ended in their middle, by SIGTERM and by SIGKILL.
Memory is read from /proc, so this runs on Linux.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import tyro
from following import sequence

SIZE = (320, 240)
SCENE = 40
"""Frames of each scene."""


def write_film(path: Path, frames: int, rate: float) -> None:
    scenes = [[s.image for s in sequence(900 + i, SCENE, kind)] for i, kind in enumerate(("separate", "single"))]
    scenes.append([np.full_like(scenes[0][0], 90)] * (SCENE // 2))
    pictures = [cv2.resize(image, SIZE)[..., ::-1] for scene in scenes for image in (*scene, *scene[::-1])]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, SIZE)
    for index in range(frames):
        writer.write(np.ascontiguousarray(pictures[index % len(pictures)]))
    writer.release()


def start(film: Path, out: Path, most: int | None = None) -> subprocess.Popen:
    command = [sys.executable, "-m", "lgnet", "reconstruct", str(film), "--out", str(out), "--save", "json,overlay"]
    return subprocess.Popen([*command, *([] if most is None else ["--frames", str(most)])])


def resident(pid: int) -> float:
    """Megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def lines_of(path: Path) -> int:
    """How many whole lines there are; they have to be the frames from 0 on, each once."""
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1].splitlines()
    assert [json.loads(line)["frame"] for line in whole] == list(range(len(whole))), f"{path}: frames are amiss"
    return len(whole)


def frames_of(path: Path) -> int:
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.grab():
        count += 1
    return count


def whole(film: Path, out: Path, frames: int) -> None:
    before = os.times()
    run, begun, memory = start(film, out), time.monotonic(), []
    lines = out / f"{film.stem}.part.jsonl"
    while run.poll() is None:
        time.sleep(2)
        if lines.exists() and run.poll() is None:
            memory.append(resident(run.pid))
    seconds = time.monotonic() - begun
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    assert run.returncode == 0, f"the command ended with {run.returncode}"
    tenth = max(len(memory) // 10, 1)
    early, late = np.median(memory[tenth : 2 * tenth]), np.median(memory[-tenth:])
    print(f"{frames} frames in {seconds:.0f} s ({frames / seconds:.1f}/s; {1000 * cpu / frames:.0f} ms of CPU a frame)")
    print(
        f"memory: {early:.0f} MB in the second tenth of the time, {late:.0f} MB in the last ({late / early - 1:+.1%}),"
    )
    print(f"        {max(memory):.0f} MB at most")
    print(
        f"lines: {lines_of(out / (film.stem + '.jsonl'))}, frames in the film: {frames_of(out / (film.stem + '.mp4'))}"
    )


def ended(film: Path, out: Path, how: signal.Signals, after: int) -> None:
    run, lines = start(film, out), out / f"{film.stem}.part.jsonl"
    while not lines.exists() or lines.read_text().count("\n") < after:
        time.sleep(0.2)
        assert run.poll() is None, "it ended by itself"
    run.send_signal(how)
    run.wait()
    names = sorted(path.name for path in out.iterdir())
    left = out / f"{film.stem}.jsonl" if how == signal.SIGTERM else lines
    said = f"{how.name} after {after} lines: {', '.join(names)}; {lines_of(left)} lines"
    if how == signal.SIGTERM:
        said += f", {frames_of(out / (film.stem + '.mp4'))} frames in the film"
    print(said)


def main(seconds: float = 3600, rate: float = 2.0) -> None:
    """Run all.

    Args:
        seconds: of the film.
        rate: frames a second.
    """
    frames = int(seconds * rate)
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        write_film(film, frames, rate)
        for how in (signal.SIGTERM, signal.SIGKILL):
            ended(film, Path(folder) / how.name, how, min(100, frames // 2))
        whole(film, Path(folder) / "out", frames)


if __name__ == "__main__":
    tyro.cli(main)
