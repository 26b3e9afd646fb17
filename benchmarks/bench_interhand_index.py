"""Time and memory to index annotations as large as InterHand2.6M's, written here with numbers of our own.

    python benchmarks/bench_interhand_index.py [--pictures 1361062]

1,361,062 pictures is the training split at 5 frames a second; the files then have some 1.5 GB.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lgnet.data.interhand import build_index, select, write_index

CAMERAS = 80


def write(folder: Path, pictures: int) -> dict[str, Path]:
    """The three files: each frame is seen by all cameras, as in the data set."""
    rng = np.random.default_rng(0)
    files = {kind: folder / f"InterHand2.6M_train_{kind}.json" for kind in ("data", "camera", "joint_3d")}
    names = [str(400000 + i) for i in range(CAMERAS)]
    one = {
        "campos": [1.0, 2.0, 3.0],
        "camrot": np.eye(3).tolist(),
        "focal": [1270.0, 1270.0],
        "princpt": [160.0, 250.0],
    }
    captures = {str(c): {key: dict.fromkeys(names, value) for key, value in one.items()} for c in range(27)}
    files["camera"].write_text(json.dumps(captures))
    valid = [[1]] * 42
    frames = -(-pictures // CAMERAS)
    with files["data"].open("w") as out:
        for head, template in (
            ('{"images": [', lambda i, c, f, n: {
                "id": i, "file_name": f"Capture{c}/0390_dh_touchROM/cam{n}/image{f}.jpg", "width": 334, "height": 512,
                "capture": c, "subject": 3, "seq_name": "0390_dh_touchROM", "camera": n, "frame_idx": f}),
            ('], "annotations": [', lambda i, c, f, n: {
                "id": i, "image_id": i, "bbox": [33.5683937, 164.9237365, 185.0578613, 142.7256622],
                "joint_valid": valid, "hand_type": "interacting", "hand_type_valid": 1}),
        ):  # fmt: skip
            out.write(head)
            for i in range(pictures):
                frame, camera = divmod(i, CAMERAS)
                out.write((", " if i else "") + json.dumps(template(i, frame % 27, frame, names[camera])))
        out.write("]}")
    with files["joint_3d"].open("w") as out:
        for c in range(27):
            own = {
                str(f): {"world_coord": rng.normal(0, 100, (42, 3)).tolist(), "joint_valid": valid}
                for f in range(c, frames, 27)
            }
            out.write(("{" if c == 0 else ", ") + f'"{c}": ' + json.dumps(own))
        out.write("}")
    return files


def main() -> None:
    """Write, index, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1_361_062)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = write(Path(folder), options.pictures)
        size = sum(path.stat().st_size for path in files.values())
        start, used = time.monotonic(), time.process_time()
        index = build_index(files)
        write_index(index, Path(folder) / "index")
        seconds, busy = time.monotonic() - start, time.process_time() - used
        rows, _ = select(index, "two")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024) / 1024
        kept = sum(path.stat().st_size for path in (Path(folder) / "index").iterdir())
        print(f"{len(rows):,} pictures, {size / 1e9:.2f} GB of JSON, {peak:.2f} GB of memory at most")
        print(f"{busy:.0f} s of one core, {seconds:.0f} s by the clock")
        print(f"index {kept / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
