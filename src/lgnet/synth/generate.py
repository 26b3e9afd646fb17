"""Scenes -> pictures with all their labels; the fixed benchmark; `lgnet synth`."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from ..config import SynthConfig
from ..data.sample import Sample, empty_sample, project
from ..hand_model import load_hand_model
from ..hands import JOINT_NAMES, SIDES
from .appearance import Mesh, forearm, hand_mesh, occluder, sample_lights, sample_skin
from .background import sample_background
from .faults import develop, film, monochrome
from .lighting import sample_backdrop, sample_setting
from .person import ROWS, Person, arm_rings, hand_and_arm, sample_person
from .render import render
from .scene import PlacedHand, Scene, sample_scene
from .worn import worn_by

BENCH_COUNT = 1000
BENCH_SEED = 0x1B37C4
"""Nothing else may use this seed: training seeds are below 2**16 by `training_rng`."""
BENCH_CONFIG = SynthConfig(size=320, full_frame=True, fill=(0.3, 0.85), difficulty=0.5)

LEAST_VISIBLE = 0.12
"""A hand of which less than this share of its outline's area shows makes a scene that is thrown away."""


@functools.lru_cache(maxsize=2)
def _arrays(side: int) -> dict[str, np.ndarray]:
    """What drawing needs of the hand model, in NumPy."""
    model = load_hand_model("lgnet", SIDES[side])  # type: ignore[arg-type]
    weights = model.weights.numpy()
    entropy = -(weights * np.log(weights + 1e-9)).sum(1) / np.log(2)
    return {
        "faces": model.faces.numpy().astype(np.int32),
        "rest": model.template.numpy() * ([-1, 1, 1] if side else [1, 1, 1]),
        "nail": model.nail.numpy(),
        "palm": model.palm.numpy(),
        "part": model.part.numpy(),
        "loop": model.wrist_loop.numpy(),
        "entropy": np.clip(entropy, 0, 1),
    }


def make_sample(rng: np.random.Generator, config: SynthConfig, kind: str | None = None, name: str = "synth") -> Sample:
    """One picture with its truth. Scenes in which a hand can hardly be seen are drawn again (same `kind`)."""
    for _ in range(8):
        scene = sample_scene(rng, config, kind)
        kind = scene.kind
        sample = draw(rng, scene, config, name)
        if sample is not None:
            return sample
    return draw(rng, scene, config, name, force=True)  # type: ignore[return-value]


def draw(rng: np.random.Generator, scene: Scene, config: SynthConfig, name: str, force: bool = False) -> Sample | None:
    """Draw a scene; None (unless `force`) where a hand is hidden almost wholly or an arm comes close to the camera."""
    if config.looks and rng.random() < config.looks:
        return _draw_looks(rng, scene, config, name, force)
    lights, style = sample_lights(rng)
    skin = sample_skin(rng)
    meshes: list[Mesh] = []
    for side, hand in enumerate(scene.hands):
        if hand is None:
            continue
        a = _arrays(side)
        own = skin if rng.random() < 0.95 else sample_skin(rng)
        vertices = np.ascontiguousarray(hand.vertices, np.float32)
        meshes.append(
            hand_mesh(vertices, a["faces"], a["rest"], a["nail"], a["palm"], a["part"], a["entropy"], own, side == 1)
        )
        wrist = hand.joints[0]
        length = rng.uniform(0.22, 0.42)
        end = wrist + hand.arm * length
        if end[2] < 0.55 * wrist[2] or end[2] < 0.12:
            if not force:
                return None
            continue
        meshes.extend(forearm(rng, vertices[a["loop"]], hand.arm, length, own))
    there = [hand for hand in scene.hands if hand is not None]
    if rng.random() < 0.25 * config.difficulty:
        meshes.append(_in_the_way(rng, there, scene))
    background = sample_background(rng, scene.size, scene.size, style)
    rendered = render(meshes, scene.K, background, lights)
    image = develop(rendered.linear, rng, config.difficulty * rng.uniform(0, 1.4))
    return _labelled(name, scene, image, rendered.parts, force)


def _draw_looks(rng: np.random.Generator, scene: Scene, config: SynthConfig, name: str, force: bool) -> Sample | None:
    """`draw` with the new looks."""
    lights, style = sample_setting(rng)
    person = sample_person(rng)
    meshes: list[Mesh] = []
    for side, hand in enumerate(scene.hands):
        if hand is None:
            continue
        own = person if rng.random() < 0.95 else sample_person(rng)
        dressed = _dressed(rng, hand, side, own, force)
        if dressed is None:
            return None
        meshes.extend(dressed)
    there = [hand for hand in scene.hands if hand is not None]
    if rng.random() < 0.25 * config.difficulty:
        meshes.append(_in_the_way(rng, there, scene))
    rendered = render(meshes, scene.K, sample_backdrop(rng, scene.size, scene.size, style), lights)
    level = config.difficulty * rng.uniform(0, 1.4)
    image = develop(film(rendered.linear, rng, style, level), rng, level)
    if rng.random() < 0.08:
        image = monochrome(image, rng)
    return _labelled(name, scene, image, rendered.parts, force)


def _dressed(rng: np.random.Generator, hand: PlacedHand, side: int, person: Person, force: bool) -> list[Mesh] | None:
    """A hand, its arm and what they wear; None where the arm comes close to the camera (`force`: without it)."""
    a = _arrays(side)
    vertices = np.ascontiguousarray(hand.vertices, np.float32)
    wrist, length, widen = hand.joints[0], rng.uniform(0.22, 0.42), rng.uniform(0.15, 0.6)
    end = wrist + hand.arm * length
    if end[2] < 0.55 * wrist[2] or end[2] < 0.12:
        return [hand_and_arm(vertices, a, person, side == 1, None)] if force else None
    loop = vertices[a["loop"]].astype(np.float64)
    arm = arm_rings(loop, hand.arm, length, widen, ROWS)
    back = -hand.rotations[0][:, 2].astype(np.float64)
    worn = worn_by(rng, person, vertices, loop, back, hand.arm, length, widen)
    return [hand_and_arm(vertices, a, person, side == 1, arm), *worn]


def _labelled(name: str, scene: Scene, image: np.ndarray, parts: np.ndarray, force: bool) -> Sample | None:
    """The picture with its truth; None (unless `force`) where a hand can hardly be seen."""
    sample = empty_sample(name, scene.kind, image, scene.K.astype(np.float32))
    sample = replace(sample, parts=parts, hand_model="lgnet")
    for side, hand in enumerate(scene.hands):
        if hand is not None and not _label(sample, side, hand, scene, parts) and not force:
            return None
    return sample


def _label(sample: Sample, side: int, hand: PlacedHand, scene: Scene, parts: np.ndarray) -> bool:
    """Write one hand's truth into the sample's arrays; False if too little of it can be seen."""
    uv = project(hand.vertices, scene.K)
    low, high = (np.array([reduce(axis) for axis in uv.T]) for reduce in (np.min, np.max))
    sample.present[side] = True
    sample.box[side] = *low, *(high - low)
    sample.joints2d[side] = project(hand.joints, scene.K)
    sample.joints2d_valid[side] = True
    sample.joints3d[side] = hand.joints
    sample.joints3d_valid[side] = True
    sample.pose[side] = np.stack([cv2.Rodrigues(r.astype(np.float64))[0][:, 0] for r in hand.rotations])
    sample.shape[side] = hand.betas
    sample.has_params[side] = True
    outline = cv2.contourArea(cv2.convexHull(uv.astype(np.float32)))
    seen = int(((parts > 16 * side) & (parts <= 16 * side + 16)).sum())
    return seen > LEAST_VISIBLE * outline


def _in_the_way(rng: np.random.Generator, there: list[PlacedHand], scene: Scene) -> Mesh:
    """Something held by, before or behind the hands."""
    if there:
        hand = there[rng.integers(len(there))]
        centre = hand.joints[rng.integers(21)] + rng.normal(0, 0.03, 3)
    else:
        centre = np.array([0, 0, 0.5])
    return occluder(rng, centre * rng.uniform(0.85, 1.1), rng.uniform(0.015, 0.05))


def training_rng(seed: int, worker: int, index: int) -> np.random.Generator:
    """The generator of a worker's picture: never that of the benchmark."""
    return np.random.Generator(np.random.PCG64([seed & 0xFFFF, worker, index]))


def bench_sample(index: int) -> Sample:
    """Picture `index` (0..999) of synth-bench: 600 interacting, then 200 separate, then 200 single.

    Raises:
        IndexError: there is no such picture.
    """
    if not 0 <= index < BENCH_COUNT:
        raise IndexError(f"synth-bench has pictures 0 to {BENCH_COUNT - 1}, not {index}")
    kind = "interacting" if index < 600 else "separate" if index < 800 else "single"
    rng = np.random.Generator(np.random.PCG64([BENCH_SEED, index]))
    return make_sample(rng, BENCH_CONFIG, kind, name=f"synth-bench/{index:04d}")


def write_dataset(out: str, count: int, seed: int = 0, config: SynthConfig | None = None) -> list[Path]:
    """`lgnet synth`: `count` pictures with labels under `out`; the files written.

    Writes `<index>.jpg`, `<index>.json` (camera, kind and for each hand side, box, joints2d, joints3d, pose, shape,
    as in lgnet's results) and `<index>_parts.png` (0 none, 1..16 right hand, 17..32 left).
    """
    from rich.console import Console
    from rich.progress import track

    config = config or SynthConfig(full_frame=True)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for index in track(range(count), description="drawing", console=Console(stderr=True), transient=True):
        sample = make_sample(training_rng(seed, 0, index), config, name=f"{index:06d}")
        stem = folder / sample.name
        cv2.imwrite(f"{stem}.jpg", sample.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        cv2.imwrite(f"{stem}_parts.png", np.asarray(sample.parts))
        Path(f"{stem}.json").write_text(json.dumps(_labels(sample)))
        written.append(Path(f"{stem}.jpg"))
    (folder / "dataset.json").write_text(
        json.dumps({"schema": "lgnet-synth/1", "count": count, "seed": seed, "joints": list(JOINT_NAMES)}, indent=1)
    )
    return written


def _labels(sample: Sample) -> dict:
    keys = ("box", "joints2d", "joints3d", "pose", "shape")
    return {
        "image": f"{sample.name}.jpg",
        "kind": sample.kind,
        "camera": dict(zip(("fx", "fy", "cx", "cy"), (float(k) for k in sample.K))) if sample.K is not None else None,
        "hand_model": sample.hand_model,
        "hands": [
            {"side": SIDES[side], **{key: getattr(sample, key)[side].astype(float).round(6).tolist() for key in keys}}
            for side in (0, 1)
            if sample.present[side]
        ],
    }
