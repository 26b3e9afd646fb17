"""Time and memory to score predictions kept as files, on a data set in InterHand2.6M's layout with numbers of our own.

    python benchmarks/bench_scoring.py --count 3000 [--jobs 2] [--profile]
    python benchmarks/bench_scoring.py --count 261000 --distinct 4000 --jobs 4

Every picture has two hands, its prediction is one file with their joints in 2D and 3D. The published test split of two
hands has 261 thousand pictures. With `--distinct` truth and predictions repeat after so many pictures, their files as
further names of the first ones: written sooner, read and scored like any others, but oftener from the system's memory
than from the disk.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import resource
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from lgnet.data.registry import open_data
from lgnet.evaluate import evaluate_files

CAMERAS, WHOLE = 40, 261_000
FOCAL, MIDDLE, SIZE = 1270.0, (167.0, 256.0), (334, 512)


def write(root: Path, predictions: Path, count: int, distinct: int) -> None:
    """Annotations, one photograph under many names, and a prediction of each picture."""
    frames, worlds, written = max(1, distinct // CAMERAS), {}, {}
    rng = np.random.default_rng(0)
    names = [f"cam4{i:05d}" for i in range(CAMERAS)]
    one = {"campos": [0.0, 0, 0], "camrot": np.eye(3).tolist(), "focal": [FOCAL] * 2, "princpt": list(MIDDLE)}
    cameras = {str(c): {key: {n[3:]: value for n in names} for key, value in one.items()} for c in (0, 1)}
    images, annotations, joints = [], [], {"0": {}, "1": {}}
    noise = cv2.GaussianBlur(rng.integers(0, 255, (SIZE[1], SIZE[0], 3)).astype(np.uint8), (0, 0), 3)
    for i in range(count):
        frame, camera = divmod(i, CAMERAS)
        capture, first = str(frame % 2), frame % frames
        if first not in worlds:
            worlds[first] = rng.normal((0, 0, 1100), 40, (42, 3))
        world = worlds[first]
        if str(frame) not in joints[capture]:
            joints[capture][str(frame)] = {"world_coord": world.tolist(), "joint_valid": [[1]] * 42}
        photograph = root / f"photograph{i // 30_000}.jpg"  # file systems allow some 65,000 names of a file
        if i % 30_000 == 0:
            cv2.imwrite(str(photograph), noise)
        name = f"Capture{capture}/ROM03_LT_No_Occlusion/{names[camera]}/image{frame}.jpg"
        images.append({
            "id": i, "file_name": name, "width": SIZE[0], "height": SIZE[1], "capture": int(capture),
            "camera": names[camera][3:], "frame_idx": frame,
        })  # fmt: skip
        annotations.append({
            "id": i, "image_id": i, "joint_valid": [[1]] * 42, "hand_type": "interacting", "hand_type_valid": 1,
        })  # fmt: skip
        picture = root / "images" / "test" / name
        picture.parent.mkdir(parents=True, exist_ok=True)
        os.link(photograph, picture)
        path = (predictions / name).with_suffix(".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        if (first, camera) in written:
            os.link(written[first, camera], path)
            continue
        written[first, camera] = path
        order = [20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16]
        hands = []
        for side, start in (("right", 0), ("left", 21)):
            xyz = world[start:][order] / 1000 + rng.normal(0, 0.01, (21, 3))
            uv = xyz[:, :2] / xyz[:, 2:] * FOCAL + MIDDLE
            hands.append({
                "side": side, "score": 0.9, "box": [0.0, 0, 100, 100], "joints2d": uv.tolist(), "joints3d": xyz.tolist(),
                "pose": rng.normal(0, 1, (16, 3)).tolist(), "shape": [0.0] * 10, "translation": xyz[0].tolist(),
            })  # fmt: skip
        content = {"schema": "lgnet/1", "image": {"file": name, "width": SIZE[0], "height": SIZE[1]}, "hands": hands}
        content["camera"] = {"fx": FOCAL, "fy": FOCAL, "cx": MIDDLE[0], "cy": MIDDLE[1], "assumed": False}
        path.write_text(json.dumps(content))
    folder = root / "annotations" / "test"
    folder.mkdir(parents=True)
    files = {"data": {"images": images, "annotations": annotations}, "camera": cameras, "joint_3d": joints}
    for kind, content in files.items():
        (folder / f"InterHand2.6M_test_{kind}.json").write_text(json.dumps(content))


def main() -> None:
    """Write, score, say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--distinct", type=int, help="pictures after which all repeats; else none does")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--keep", type=Path, help="a folder to write into and use again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        os.environ["LGNET_CACHE"] = str(folder / "cache")
        root, predictions = folder / "InterHand2.6M", folder / "predictions"
        if not root.is_dir():
            root.mkdir(parents=True)
            write(root, predictions, options.count, options.distinct or options.count)
        data = open_data(f"interhand26m-test:{root}")
        profile = cProfile.Profile()
        more = {} if options.jobs == 1 else {"jobs": options.jobs}
        start, cpu = time.perf_counter(), time.process_time()
        if options.profile:
            profile.enable()
        metrics = evaluate_files(predictions, data, folder / "scores", boxes="truth", quiet=True, **more)
        profile.disable()
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        if options.profile:
            pstats.Stats(profile).sort_stats("cumulative").print_stats(45)
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu += children.ru_utime + children.ru_stime
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{metrics['count']} pictures, {options.jobs} processes: {wall:.1f} s, {cpu:.1f} s of computation")
        print(
            f"a thousand pictures: {1000 * cpu / len(data):.2f} s of computation; {WHOLE}: {cpu * WHOLE / len(data):.0f} s"
        )
        print(f"memory: {memory:.2f} GB, and {children.ru_maxrss / 1e6:.2f} GB in the largest other process")
        print(
            f"MPJPE C {metrics['protocols']['C']['mpjpe']:.9f} PA {metrics['pa_mpjpe']:.9f} MRRPE {metrics['mrrpe']:.9f}"
        )


if __name__ == "__main__":
    main()
