"""`lgnet stream` measured from outside: frames a second by stage, and how old packets are when another process has them.

    python benchmarks/streaming.py                     # over a video of a synthetic sequence, drawn first
    python benchmarks/streaming.py --video film.mp4    # over your own

The command is run twice, as fast as it can and in real time, once with each format. Its own table is shown; below it
stands, for a UDP and a WebSocket reader in this process, how many packets came and the time from a frame's coming
(`captured` in the packet) to the packet's arrival here.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import tyro
from following import RATE, sequence
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from lgnet.packets import read_packet


@dataclass
class Reader:
    """What one reader had."""

    name: str
    ages: list[float] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    size: int = 0

    def take(self, content: bytes | str) -> None:
        now = time.time()
        packet = read_packet(content)
        self.ages.append(1000 * (now - packet.captured))
        self.sequences.append(packet.sequence)
        self.size += len(content)

    def says(self) -> str:
        if len(self.ages) < 2:
            return f"{self.name}: {len(self.ages)} packets"
        half, most = np.percentile(self.ages[1:], [50, 95])  # the first frame warms up
        missed = self.sequences[-1] - self.sequences[0] + 1 - len(self.sequences)
        mean = self.size / len(self.ages)
        came = f"{self.name}: {len(self.ages)} packets of {mean:.0f} bytes, {missed} missed"
        return f"{came}; {half:.1f} ms old (p50), {most:.1f} (p95)"


def listen_udp(sock: socket.socket, reader: Reader, over: threading.Event) -> None:
    while not over.is_set():
        try:
            reader.take(sock.recv(65536))
        except TimeoutError:
            continue


def listen_websocket(address: str, reader: Reader) -> None:
    with connect(address) as link:
        try:
            for content in link:
                reader.take(content)
        except ConnectionClosed:
            pass


def measure(video: Path, frames: int, form: str, realtime: bool) -> None:
    udp, websocket, over = Reader("udp"), Reader("websocket"), threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.2)
        threads = [threading.Thread(target=listen_udp, args=(sock, udp, over))]
        threads[0].start()
        words = ["stream", str(video), "--to", f"udp://127.0.0.1:{sock.getsockname()[1]}", "ws://127.0.0.1:0"]
        words += ["--format", form, "--frames", str(frames), *(["--realtime"] if realtime else [])]
        print(f"\n{form}, {'in real time' if realtime else 'as fast as it can'}")
        with subprocess.Popen([sys.executable, "-m", "lgnet", *words], stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            for line in program.stdout:
                print(line, end="")
                if line.startswith("serving"):
                    threads.append(threading.Thread(target=listen_websocket, args=(line.split()[-1], websocket)))
                    threads[-1].start()
        over.set()
        for thread in threads:
            thread.join()
    print(udp.says())
    print(websocket.says(), flush=True)


def draw_film(path: Path, frames: int, seed: int, width: int) -> None:
    """A synthetic sequence of two hands as a video (Motion JPEG)."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE, (width, width))
    for sample in sequence(seed, frames, "separate"):
        image = cv2.resize(sample.image, (width, width), interpolation=cv2.INTER_CUBIC)
        writer.write(np.ascontiguousarray(image[..., ::-1]))
    writer.release()


def main(video: str | None = None, frames: int = 120, seed: int = 1, width: int = 640) -> None:
    """Measure and print.

    Args:
        video: your own; else a synthetic sequence is drawn.
        frames: at most so many.
        seed: of the sequence.
        width: of its pictures, which are square.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(video) if video else Path(folder) / "sequence.avi"
        if video is None:
            draw_film(path, frames, seed, width)
        for form, realtime in (("json", False), ("binary", False), ("json", True), ("binary", True)):
            measure(path, frames, form, realtime)


if __name__ == "__main__":
    tyro.cli(main)
