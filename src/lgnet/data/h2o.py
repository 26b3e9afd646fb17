"""Reader of H2O (Kwon et al., ICCV 2021): two hands with objects, the headset's camera, joints in 3D.

A root holds `pose_<split>.txt` (also below `label_split/` or `pose_lists/`), a picture a line as
`subject3/k2/0/cam4/rgb/000020.png`, and those folders, or `subject3_ego` for `subject3`, which is what the egocentric part
unpacks to: beside `rgb/` lie `hand_pose/000020.txt` and `cam_intrinsics.txt`. Lists of the four fixed cameras' pictures work
as well.

Traps: the left hand's 64 numbers come first: 1 where the hand is annotated, then 21 x (x, y, z) metres in the camera's
frame, lgnet's order; zeros where it is not. In the published read-me the links of the lists for training and validation
are mixed up. MANO's numbers are not read: its authors do not say which mean pose they are relative to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from ..hands import LEFT, NUM_JOINTS, RIGHT
from .files import read_pixels
from .sample import Sample, empty_sample, inside_picture, kind_of, project, set_joints

_HAND = 1 + 3 * NUM_JOINTS


@dataclass(frozen=True)
class H2o:
    """One split."""

    root: Path
    pictures: np.ndarray  # (N,) bytes: as the list has them
    folders: dict[str, Path]  # of each subject that is there


def read_h2o(root: Path, split: str) -> H2o:
    """Read a split's list (not yet pictures and joints).

    Raises:
        ValueError: the list is missing, empty or not one, or there is no folder of any of its subjects.
    """
    name = f"pose_{split}.txt"
    places = [root / name, root / "label_split" / name, root / "pose_lists" / name]
    path = next((p for p in places if p.is_file()), None)
    if path is None:
        raise ValueError(
            f"there is no file {places[0]}, H2O's list of the {split} split; https://github.com/taeinkwon/h2odataset has it"
        )
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    parts = [PurePosixPath(line).parts for line in lines]
    if not lines or any(len(p) < 3 or p[-2] != "rgb" or ".." in p or p[0] == "/" for p in parts):
        raise ValueError(f"{path} is no list of <subject>/<place>/<sequence>/<camera>/rgb/<frame>.png, one a line")
    folders = {}
    for subject in sorted({p[0] for p in parts}):
        places = [folder for folder in (root / subject, root / f"{subject}_ego") if folder.is_dir()]
        if places:
            folders[subject] = places[0]
    if not folders:
        first = parts[0][0]
        raise ValueError(
            f"{root} has no pictures of H2O: {path} wants folders as {first} or, of the egocentric part, {first}_ego; unpack "
            "the subjects' archives there"
        )
    return H2o(root, np.array([line.encode() for line in lines]), folders)


def load_sample(data: H2o, index: int) -> Sample:
    """Read one picture and its truth.

    Raises:
        ValueError: a file is missing, damaged or not laid out as published.
    """
    name = data.pictures[index].decode()
    subject, *below = PurePosixPath(name).parts
    path = data.folders.get(subject, data.root / subject).joinpath(*below)
    camera = path.parent.parent
    image = read_pixels(path)
    height, width = image.shape[:2]
    K = _numbers(camera / "cam_intrinsics.txt", 6)
    if (int(K[4]), int(K[5])) != (width, height):
        raise ValueError(f"{path} is {width} x {height} pixels, not {K[4]:g} x {K[5]:g} as its cam_intrinsics.txt says")
    K = K[:4]
    values = _numbers(camera / "hand_pose" / f"{path.stem}.txt", 2 * _HAND)
    known = np.zeros(2, bool)
    sample = replace(
        empty_sample(name, "single", image, K.astype(np.float32)),
        present_known=known,
        score_box=np.zeros((2, 4), np.float32),
        recording=str(PurePosixPath(name).parent.parent.parent),  # above cam4/rgb/picture
    )
    for side, start in ((LEFT, 0), (RIGHT, _HAND)):
        if values[start] != 1:
            continue
        known[side] = True
        points = values[start + 1 : start + _HAND].reshape(NUM_JOINTS, 3)
        ahead = points[:, 2] > 0
        pixels = project(points, K)
        inside = inside_picture(pixels, width, height) & ahead
        if inside.any():
            set_joints(sample, side, pixels, inside, points, ahead)
    return replace(sample, kind=kind_of(sample))


def _numbers(path: Path, count: int) -> np.ndarray:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        values = np.array(path.read_text(encoding="utf-8").split(), np.float64)
    except ValueError as error:
        raise ValueError(f"{path} is not {count} numbers: {error}") from error
    if values.shape != (count,) or not np.isfinite(values).all():
        raise ValueError(f"{path} is not {count} finite numbers but {values.size}")
    return values
