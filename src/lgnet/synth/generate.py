"""Scenes -> pictures with their truth; the fixed benchmark. Labels of every pixel and vertex are made in labels.py."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from ..config import MOST_SEED, SynthConfig
from ..data.sample import Sample, empty_sample, project
from ..hand_model import load_hand_model
from ..hands import SIDES
from .appearance import (
    Clothes,
    Lights,
    Mesh,
    Skin,
    forearm,
    hand_mesh,
    occluder,
    sample_clothes,
    sample_lights,
    sample_skin,
)
from .background import sample_background
from .body import FOREARM, Body, bystander, find_body, person_meshes
from .faults import develop, film, monochrome
from .held import held_object
from .lens import Lens, bend_picture, sample_lens
from .lighting import sample_backdrop, sample_setting
from .person import ROWS, Person, arm_rings, bare_skin, hand_and_arm, sample_person
from .render import Rendered, render, smooth_edges
from .scene import PlacedHand, Scene, sample_scene
from .scenery import sample_photograph, sample_place
from .worn import worn_by

BENCH_COUNT = 1000
BENCH_SEED = 0x1B37C4
"""Nothing else may use this seed: training seeds are below 2**16 by `training_rng`."""
BENCH_CONFIG = SynthConfig(size=320, full_frame=True, fill=(0.3, 0.85), difficulty=0.5)

CYCLES_BENCH_COUNT = 300
CYCLES_BENCH_SEED = 0x3C9C1E
"""Of synth-bench-cycles, and like BENCH_SEED of nothing else."""
CYCLES_BENCH_CONFIG = replace(BENCH_CONFIG, size=256)

LEAST_VISIBLE = 0.12
"""A hand of which less than this share of its outline's area shows makes a scene that is thrown away."""


@dataclass(frozen=True)
class Shot:
    """What another renderer than ours needs besides the meshes, and how the camera took the picture."""

    background: np.ndarray  # (H, W, 3) float32 linear RGB
    lights: Lights
    looks: bool  # whether the camera is one of the new looks
    camera: dict[str, Any]  # the generator's state when its faults were drawn


@dataclass(frozen=True)
class Drawn:
    """A picture with what it was drawn from: all that its labels can be made of."""

    sample: Sample
    scene: Scene
    light: str  # the name of the lights' style
    meshes: tuple[Mesh, ...]  # the faces of all, one after another, are what `rendered.triangle` counts
    hands: tuple[
        int | None, int | None
    ]  # which of `meshes` begins with the right hand's vertices, which with the left's
    objects: tuple[int, ...]  # which are things held or in the way: no part of anybody
    rendered: Rendered
    shot: Shot
    lens: Lens | None = None  # `rendered` is of the meshes that it has bent, `meshes` are straight


@dataclass(frozen=True)
class Furnished:
    """All there is to see of a scene, before a picture is taken of it."""

    scene: Scene
    lights: Lights
    light: str  # the name of their style
    looks: bool  # whether with the new looks
    meshes: tuple[Mesh, ...]
    hands: tuple[int | None, int | None]
    objects: tuple[int, ...]
    body: Body | None


@functools.lru_cache(maxsize=2)
def _arrays(side: int) -> dict[str, np.ndarray]:
    """What drawing needs of the hand model, in NumPy."""
    model = load_hand_model("lgnet", SIDES[side])
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
    return make_drawn(rng, config, kind, name).sample


def make_drawn(rng: np.random.Generator, config: SynthConfig, kind: str | None = None, name: str = "synth") -> Drawn:
    """As `make_sample`, with what the picture was drawn from."""
    for _ in range(8):
        scene = sample_scene(rng, config, kind)
        kind = scene.kind
        drawn = draw(rng, scene, config, name)
        if drawn is not None:
            return drawn
    return draw(rng, scene, config, name, force=True)  # type: ignore[return-value]


def draw(rng: np.random.Generator, scene: Scene, config: SynthConfig, name: str, force: bool = False) -> Drawn | None:
    """Draw a scene; None (unless `force`) where a hand is hidden almost wholly or an arm comes close to the camera."""
    furnished = furnish(rng, scene, config, force)
    return None if furnished is None else photograph(rng, furnished, config, name, force)


def furnish(
    rng: np.random.Generator, scene: Scene, config: SynthConfig, force: bool = False, all_round: bool = False
) -> Furnished | None:
    """Light the scene and add arms, people and things; None (unless `force`) where an arm comes close to the camera.

    `all_round`: of people also what the scene's own camera does not see.
    """
    person = None
    if config.looks and rng.random() < config.looks:
        lights, style = sample_setting(rng)
        person = sample_person(rng)
        skin = bare_skin(person)
    else:
        lights, style = sample_lights(rng)
        skin = sample_skin(rng)
    body, clothes = None, None
    if config.people and rng.random() < config.people:
        body = _owner(rng, scene)
        clothes = sample_clothes(rng) if body else None
    meshes: list[Mesh] = []
    places: list[int | None] = [None, None]
    objects: list[int] = []
    for side, hand in enumerate(scene.hands):
        if hand is None:
            continue
        places[side] = len(meshes)
        length = FOREARM * body.scale if body else None
        if person is None:
            dressed = _simple(rng, hand, side, skin, length, clothes, force)
        else:
            dressed = _dressed(rng, hand, side, person, length, clothes, force)
        if dressed is None:
            return None
        meshes += dressed
        if config.held and scene.kind != "interacting" and rng.random() < config.held:
            thing = held_object(rng, hand.joints)
            if thing is not None:
                objects.append(len(meshes))
                meshes.append(thing)
    there = [hand for hand in scene.hands if hand is not None]
    if rng.random() < 0.25 * config.difficulty:
        objects.append(len(meshes))
        meshes.append(_in_the_way(rng, there))
    frame = None if all_round else (scene.K, scene.size)
    if body is not None and clothes is not None:
        meshes += person_meshes(rng, body, skin, clothes, frame)
    if config.people and rng.random() < 0.5 * config.people:
        meshes += _bystanders(rng, scene, frame)
    hands = places[0], places[1]
    return Furnished(scene, lights, style, person is not None, tuple(meshes), hands, tuple(objects), body)


def photograph(
    rng: np.random.Generator, seen: Furnished, config: SynthConfig, name: str, force: bool = False
) -> Drawn | None:
    """Take the picture; None (unless `force`) where a hand is hidden almost wholly."""
    scene, K = seen.scene, seen.scene.K
    there = [hand for hand in scene.hands if hand is not None]
    lens = None
    if config.lens:
        own = rng.spawn(1)[0]  # so that a picture is the same but for its lens
        if own.random() < config.lens:
            lens = sample_lens(own, K, scene.size, [hand.joints for hand in there], wide=config.full_frame)
    background = _background(rng, scene.size, seen.light, config, looks=seen.looks)
    if lens is not None:
        background = bend_picture(background, K, lens)
    rendered = render(seen.meshes, K, background, seen.lights, lens=lens)
    shot = Shot(background, seen.lights, seen.looks, rng.bit_generator.state)  # type: ignore[arg-type]
    linear = smooth_edges(rendered.linear, rendered.depth) if seen.looks else rendered.linear
    image = _through_camera(rng, linear, seen.light, config, seen.looks)
    sample = empty_sample(name, scene.kind, image, K.astype(np.float32))
    sample = replace(sample, parts=rendered.parts, hand_model="lgnet", distortion=lens and lens.distortion)
    for side, hand in enumerate(scene.hands):
        if hand is not None and not _label(sample, side, hand, scene, rendered.parts) and not force:
            return None
    return Drawn(sample, scene, seen.light, seen.meshes, seen.hands, seen.objects, rendered, shot, lens)


def _through_camera(
    rng: np.random.Generator, linear: np.ndarray, style: str, config: SynthConfig, looks: bool
) -> np.ndarray:
    """(H, W, 3) uint8 of light (H, W, 3) float32 linear, which may be changed in place: with the camera's faults."""
    level = config.difficulty * rng.uniform(0, 1.4)
    if looks:
        linear = film(linear, rng, style, level)
    image = develop(linear, rng, level, toned=bool(config.toned and rng.random() < config.toned))
    return monochrome(image, rng) if looks and rng.random() < 0.08 else image


def taken_again(drawn: Drawn, linear: np.ndarray, config: SynthConfig) -> Drawn:
    """The picture anew from light (H, W, 3) float32 linear of another renderer: same camera, same faults, same labels.

    `config` is the one it was drawn with.
    """
    bits = np.random.PCG64()
    bits.state = drawn.shot.camera  # type: ignore[assignment]
    image = _through_camera(np.random.Generator(bits), linear.copy(), drawn.light, config, drawn.shot.looks)
    return replace(drawn, sample=replace(drawn.sample, image=image))


def _simple(
    rng: np.random.Generator,
    hand: PlacedHand,
    side: int,
    skin: Skin,
    length: float | None,
    clothes: Clothes | None,
    force: bool,
) -> list[Mesh] | None:
    """A hand, then its arm of `length` metres (None: drawn); None where that comes close to the camera.

    `force`: then the hand without its arm.
    """
    a = _arrays(side)
    own = skin if rng.random() < 0.95 else sample_skin(rng)
    vertices = np.ascontiguousarray(hand.vertices, np.float32)
    mesh = hand_mesh(vertices, a["faces"], a["rest"], a["nail"], a["palm"], a["part"], a["entropy"], own, side == 1)
    length = length or rng.uniform(0.22, 0.42)
    if _too_near(hand, length):
        return [mesh] if force else None
    return [mesh, *forearm(rng, vertices[a["loop"]], hand.arm, length, own, clothes)]


def _dressed(
    rng: np.random.Generator,
    hand: PlacedHand,
    side: int,
    person: Person,
    length: float | None,
    clothes: Clothes | None,
    force: bool,
) -> list[Mesh] | None:
    """As `_simple` with the new looks: hand and arm are one mesh, then what they wear."""
    a = _arrays(side)
    own = person if rng.random() < 0.95 else sample_person(rng)
    vertices = np.ascontiguousarray(hand.vertices, np.float32)
    length, widen = length or rng.uniform(0.22, 0.42), rng.uniform(0.15, 0.6)
    if _too_near(hand, length):
        return [hand_and_arm(vertices, a, own, side == 1, None)] if force else None
    loop = vertices[a["loop"]].astype(np.float64)
    arm = arm_rings(loop, hand.arm, length, widen, ROWS)
    back = -hand.rotations[0][:, 2].astype(np.float64)
    worn = worn_by(rng, own, vertices, loop, back, hand.arm, length, widen, clothes)
    return [hand_and_arm(vertices, a, own, side == 1, arm), *worn]


def _too_near(hand: PlacedHand, length: float) -> bool:
    """Whether an arm of `length` metres ends close to the camera."""
    wrist = hand.joints[0]
    end = wrist + hand.arm * length
    return bool(end[2] < 0.55 * wrist[2] or end[2] < 0.12)


def _label(sample: Sample, side: int, hand: PlacedHand, scene: Scene, parts: np.ndarray) -> bool:
    """Write one hand's truth into the sample's arrays; False if too little of it can be seen."""
    uv = project(hand.vertices, scene.K, sample.distortion)
    low, high = (np.array([reduce(axis) for axis in uv.T]) for reduce in (np.min, np.max))
    sample.present[side] = True
    sample.box[side] = *low, *(high - low)
    sample.joints2d[side] = project(hand.joints, scene.K, sample.distortion)
    sample.joints2d_valid[side] = True
    sample.joints3d[side] = hand.joints
    sample.joints3d_valid[side] = True
    for joint, rotation in enumerate(hand.rotations.astype(np.float64)):
        sample.pose[side, joint] = cv2.Rodrigues(rotation)[0][:, 0]
    sample.shape[side] = hand.betas
    sample.has_params[side] = True
    outline = cv2.contourArea(cv2.convexHull(uv.astype(np.float32)))
    seen = int(((parts > 16 * side) & (parts <= 16 * side + 16)).sum())
    return seen > LEAST_VISIBLE * outline


def _background(rng: np.random.Generator, size: int, style: str, config: SynthConfig, looks: bool) -> np.ndarray:
    """(size, size, 3) linear: a part of one of the user's photographs, a place, or shapes and gradients, in that light."""
    if config.backgrounds and rng.random() < 0.8:
        return sample_photograph(rng, config.backgrounds, size, size)
    place = config.places and style != "studio" and rng.random() < config.places
    if looks:
        return sample_backdrop(rng, size, size, style, sample_place if place else None)
    return sample_place(rng, size, size) if place else sample_background(rng, size, size, style)


def _owner(rng: np.random.Generator, scene: Scene) -> Body | None:
    """The person whose hands these are, where one can stand behind them."""
    hands = scene.hands
    there = [hand for hand in hands if hand is not None]
    if not there:
        return None
    wrists, arms = [h and h.joints[0] for h in hands], [h and h.arm for h in hands]
    return find_body(rng, wrists, arms, np.concatenate([h.vertices[::20] for h in there]))


def _bystanders(rng: np.random.Generator, scene: Scene, frame: tuple[np.ndarray, int] | None) -> list[Mesh]:
    """One or two people further away, hands out of sight."""
    farthest = max((h.joints[:, 2].max() for h in scene.hands if h is not None), default=0.2)
    meshes: list[Mesh] = []
    for _ in range(rng.choice([1, 2], p=[0.75, 0.25])):
        depth = farthest + np.exp(rng.uniform(np.log(0.35), np.log(3)))
        body = bystander(rng, depth, scene.K, scene.size)
        meshes += person_meshes(rng, body, sample_skin(rng), sample_clothes(rng), frame)
    return meshes


def _in_the_way(rng: np.random.Generator, there: list[PlacedHand]) -> Mesh:
    """Something held by, before or behind the hands."""
    if there:
        hand = there[rng.integers(len(there))]
        centre = hand.joints[rng.integers(21)] + rng.normal(0, 0.03, 3)
    else:
        centre = np.array([0, 0, 0.5])
    return occluder(rng, centre * rng.uniform(0.85, 1.1), rng.uniform(0.015, 0.05))


def training_rng(seed: int, worker: int, index: int) -> np.random.Generator:
    """The generator of a worker's picture: never that of the benchmark."""
    if not 0 <= seed <= MOST_SEED:
        raise ValueError(f"the seed of pictures is 0 to {MOST_SEED}, not {seed}")
    return np.random.Generator(np.random.PCG64([seed, worker, index]))


def bench_sample(index: int) -> Sample:
    """Picture `index` (0..999) of synth-bench: 600 interacting, then 200 separate, then 200 single.

    Raises:
        IndexError: there is no such picture.
    """
    rng, kind = _bench_scene("synth-bench", BENCH_SEED, BENCH_COUNT, index)
    return make_sample(rng, BENCH_CONFIG, kind, name=f"synth-bench/{index:04d}")


def cycles_bench_drawn(index: int) -> Drawn:
    """Scene `index` (0..299) of synth-bench-cycles as our own renderer draws it: 180 interacting, 60 separate, 60 single.

    The benchmark itself is read, not drawn (benchmarks/synth-bench-cycles): its pixels are Blender's.

    Raises:
        IndexError: there is no such scene.
    """
    rng, kind = _bench_scene("synth-bench-cycles", CYCLES_BENCH_SEED, CYCLES_BENCH_COUNT, index)
    return make_drawn(rng, CYCLES_BENCH_CONFIG, kind, name=f"{index:06d}")


def _bench_scene(name: str, seed: int, count: int, index: int) -> tuple[np.random.Generator, str]:
    """What a benchmark's picture is drawn from, and its kind: three fifths interacting, a fifth separate, a fifth single."""
    if not 0 <= index < count:
        raise IndexError(f"{name} has pictures 0 to {count - 1}, not {index}")
    kind = "interacting" if 5 * index < 3 * count else "separate" if 5 * index < 4 * count else "single"
    return np.random.Generator(np.random.PCG64([seed, index])), kind
