"""Samples told in another hand model's terms: joints of any data set become pose and shape of the one that is trained."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ..fit import fit_joints
from ..geometry import matrix_to_rotvec, rotvec_to_matrix
from ..hand_model import load_hand_model
from ..hands import NUM_BETAS, NUM_ROTATIONS, SIDES, WRIST
from ..progress import progress_bar
from ..shards import Shards
from .registry import DataSet
from .sample import ENOUGH_TO_FIT, Sample

WORST = 0.010
"""Metres: hands whose joints are further off on average are too, as their truth is no hand this model has."""
TOGETHER = 500
"""Pictures of a part of the fits that are kept."""
PROBED = 50
"""A data set is left as it is where none of so many pictures, spread over it, has a hand to fit."""
VERSION = 2
"""Of the fits; kept ones of another are not gone on with."""
HandModelName = Literal["lgnet", "mano"]


def lacking(sample: Sample, hand_model: str) -> np.ndarray:
    """(2,) bool: the right and left hand that can be fitted and has no pose and shape in terms of `hand_model`."""
    told = sample.has_params & (sample.hand_model == hand_model)
    known = sample.joints3d_valid
    return sample.present & ~told & known[:, WRIST] & (known.sum(1) >= ENOUGH_TO_FIT)


@dataclass(frozen=True)
class Fits:
    """Pose and shape of the hands of N samples, found by fitting; right first."""

    pose: np.ndarray  # (N, 2, 16, 3) axis-angle, the wrist's in the camera frame, or the world's where it is known
    shape: np.ndarray  # (N, 2, 10)
    off: np.ndarray  # (N, 2) metres, mean over the joints; NaN: not fitted


def fit_samples(samples: Sequence[Sample], hand_model: HandModelName = "lgnet") -> Fits:
    """Fit `hand_model` to every hand that is `lacking` it, all in batches; wrists turned in the camera frame.

    Raises:
        ValueError: MANO is wanted and its files are not there.
    """
    count = len(samples)
    pose = np.zeros((count, 2, NUM_ROTATIONS, 3), np.float32)
    shape, off = np.zeros((count, 2, NUM_BETAS), np.float32), np.full((count, 2), np.nan, np.float32)
    wanted = np.array([lacking(s, hand_model) for s in samples]).reshape(-1, 2)
    for side, name in enumerate(SIDES):
        rows = np.flatnonzero(wanted[:, side]).tolist()
        if not rows:
            continue
        fit = fit_joints(
            load_hand_model(hand_model, name),
            torch.from_numpy(np.stack([samples[i].joints3d[side] for i in rows])),
            torch.from_numpy(np.stack([samples[i].joints3d_valid[side] for i in rows])),
        )
        pose[rows, side] = matrix_to_rotvec(fit.rotations).numpy()
        shape[rows, side] = fit.betas.numpy()
        off[rows, side] = fit.residual.nanmean(1).numpy()
    return Fits(pose, shape, off)


def with_fit(sample: Sample, hand_model: str, pose: np.ndarray, shape: np.ndarray, used: np.ndarray) -> Sample:
    """The sample in terms of `hand_model`: its own pose and shape where they are, else fitted ones of the hands `used`.

    Args:
        sample: not changed.
        hand_model: that the fit is of.
        pose, shape: (2, 16, 3), (2, 10), wrists turned in the camera frame.
        used: (2,) bool.
    """
    same = sample.hand_model == hand_model
    kept = sample.has_params if same else np.zeros(2, bool)
    taken = used & lacking(sample, hand_model)
    wrist = sample.wrist if same else None
    if wrist is not None:
        wrist = np.where(taken[:, None], sample.joints3d[:, WRIST], wrist)
    return replace(
        sample,
        hand_model=hand_model,
        wrist=wrist,
        vertices=sample.vertices if same else None,
        pose=np.where(taken[:, None, None], pose, np.where(kept[:, None, None], sample.pose, 0)).astype(np.float32),
        shape=np.where(taken[:, None], shape, np.where(kept[:, None], sample.shape, 0)).astype(np.float32),
        has_params=kept | taken,
    )


def refit(samples: Sequence[Sample], hand_model: HandModelName = "lgnet") -> list[Sample]:
    """The same samples with pose and shape in terms of `hand_model`, fitted to their 3D joints, all in batches.

    Hands that are in its terms already stay as they are. Of the others those with 15 or more known 3D joints, the wrist
    among them, that can be fitted to 10 mm on average have parameters afterwards, and no others have.

    Raises:
        ValueError: MANO is wanted and its files are not there.
    """
    fits = fit_samples(samples, hand_model)
    return [
        with_fit(s, hand_model, fits.pose[i], fits.shape[i], fits.off[i] < WORST)
        if s.hand_model != hand_model or not np.isnan(fits.off[i]).all()
        else s
        for i, s in enumerate(samples)
    ]


def fitted(
    data: DataSet, hand_model: HandModelName, within: float, folder: Path, rank: int = 0, world: int = 1
) -> DataSet:
    """A data set whose hands have pose and shape in terms of `hand_model`, fitted once and kept in `folder`.

    Samples of one moment, where the data set tells which are (`DataSet.alike`), share a fit. Several processes share the
    work, and one that is broken off goes on with what was kept.

    Args:
        data: from `open_data`.
        hand_model: that of the network.
        within: metres; fits that are further off on average are not used.
        folder: of all fits of a run; each data set has its own in it.
        rank, world: which of how many processes this is; all have to be given the same otherwise.

    Returns:
        The data set itself where none of `PROBED` pictures has a hand to fit.

    Raises:
        ValueError: MANO is wanted and its files are not there, a picture cannot be read, or the folder holds fits of
            another data set.
    """
    probed = np.unique(np.linspace(0, len(data) - 1, min(PROBED, len(data))).round().astype(int))
    if not any(lacking(data.without_picture(int(index)), hand_model).any() for index in probed):
        return data
    of, alike = np.arange(len(data)), np.arange(len(data))
    if data.alike is not None:
        of, alike = np.unique(data.alike(), return_inverse=True)
    source = "" if data.source is None else data.source[0]
    name = f"{data.name}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"  # the same set may lie in several places
    plan = {"data": source, "pictures": len(data), "hand model": hand_model, "version": VERSION}
    shards = Shards(folder / name, plan, rank, world)
    ranges = [range(start, min(start + TOGETHER, len(of))) for start in range(0, len(of), TOGETHER)]
    with progress_bar(shown=rank == 0) as progress:
        task = progress.add_task(f"fitting hands of {data.name}", total=len(of))

        def tell(done: list[int]) -> None:
            progress.update(task, completed=sum(len(ranges[n]) for n in done))

        for number in shards.begin(len(ranges)):
            tell(shards.done(len(ranges)))
            shards.write(
                number, _bytes(_in_world([data.without_picture(int(of[i])) for i in ranges[number]], hand_model))
            )
        parts = [_read(content, shards.path(n)) for n, content in enumerate(shards.wait(len(ranges), tell))]
    fits = Fits(*(np.concatenate([getattr(part, key) for part in parts]) for key in ("pose", "shape", "off")))
    if rank == 0:
        known = fits.off[~np.isnan(fits.off)]
        told = f"{(known < within).mean():.1%} within {1000 * within:g} mm, median {1000 * np.median(known):.1f} mm"
        print(f"{data.name}: {len(known):,} hands fitted, {told if len(known) else 'nothing to fit'}", flush=True)

    def own(sample: Sample, index: int) -> Sample:
        row = alike[index]
        pose = fits.pose[row]
        if sample.T_camera_world is not None:
            pose = _turned(pose, sample.T_camera_world[:3, :3])
        return with_fit(sample, hand_model, pose, fits.shape[row], fits.off[row] < within)

    return replace(
        data,
        load=lambda index: own(data.load(index), index),
        truth=lambda index: own(data.without_picture(index), index),
        source=None,  # in another process it would be opened without fits
    )


def _in_world(samples: Sequence[Sample], hand_model: HandModelName) -> Fits:
    """Fits with the wrists turned in the world where the cameras are known in it."""
    fits = fit_samples(samples, hand_model)
    for pose, sample in zip(fits.pose, samples):
        if sample.T_camera_world is not None:
            pose[:] = _turned(pose, sample.T_camera_world[:3, :3].T)
    return fits


def _turned(pose: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """(2, 16, 3) poses whose wrists' turn is followed by a rotation (3, 3)."""
    wrists = rotvec_to_matrix(torch.from_numpy(pose[:, 0].astype(np.float64)))
    out = pose.copy()
    out[:, 0] = matrix_to_rotvec(torch.from_numpy(rotation.astype(np.float64)) @ wrists).numpy()
    return out


def _bytes(fits: Fits) -> bytes:
    file = io.BytesIO()
    np.savez(file, **vars(fits))
    return file.getvalue()


def _read(content: bytes, path: Path) -> Fits:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return Fits(file["pose"], file["shape"], file["off"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged; delete it, and it is fitted anew") from error
