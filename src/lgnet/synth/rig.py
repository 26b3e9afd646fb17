"""Rigs: one scene seen by several calibrated cameras around it, as in a studio (InterHand2.6M's, for one).

The world is the frame of the scene's own camera, which is the rig's first. `T_camera_world` takes world to camera.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..config import SynthConfig
from .generate import Drawn, Furnished, furnish, photograph, training_rng
from .rotations import cross, norm, rotation_about
from .scene import Scene, moved, sample_scene

NEAREST = 0.45
"""Metres from the hands that a camera keeps, so that no arm runs into it."""
SHOWN = 0.004
"""Share of the picture that hands take at least, unless six places of the camera all fail."""


def sample_rig_scene(rng: np.random.Generator, config: SynthConfig) -> Furnished:
    """A scene with all that is in it, people from all sides too."""
    kind = None
    for attempt in range(8):
        scene = sample_scene(rng, config, kind)
        kind = scene.kind
        furnished = furnish(rng, scene, config, force=attempt == 7, all_round=True)
        if furnished is not None:
            return furnished
    raise AssertionError("the last attempt is forced")


def sample_camera(rng: np.random.Generator, seen: Furnished, view: int, views: int) -> tuple[np.ndarray, np.ndarray]:
    """One camera of the rig: `T_camera_world` (4, 4), metres, and K (4,), pixels.

    The first is the scene's own. The others stand about evenly round the hands, half of them above, at nearly the first
    one's distance, and look at the hands but for small errors. With a body behind the hands none stands behind the body;
    few look along an arm.

    Args:
        rng: draws the errors.
        seen: the scene, in the world.
        view: which camera, from 0.
        views: how many there are.
    """
    scene = seen.scene
    if view == 0:
        return np.eye(4), scene.K.astype(np.float64)
    there = [hand for hand in scene.hands if hand is not None]
    middle = np.mean([h.joints.mean(0) for h in there], 0) if there else np.array([0, 0, 0.6])
    arc = np.deg2rad(210 if seen.body is not None else 360)
    for _ in range(20):
        turn = arc * ((view + rng.normal(0, 0.12)) / views)
        turn = turn if seen.body is None else (turn + arc / 2) % arc - arc / 2  # to both sides of the first
        raised = np.deg2rad(rng.uniform(20, 60) if view % 2 else rng.uniform(-15, 15))
        way = np.array([np.sin(turn) * np.cos(raised), -np.sin(raised), -np.cos(turn) * np.cos(raised)])
        if all(way @ hand.arm < 0.7 for hand in there):
            break
    far = norm(middle)
    distance = max(far * np.exp(rng.normal(0, 0.06)), NEAREST)
    focal = scene.K[:2] * distance / far * np.exp(rng.normal(0, 0.04))
    place = middle + distance * way
    aim = middle + rng.normal(0, 0.02, 3) * scene.size / focal[0] * distance
    ahead = (aim - place) / norm(aim - place)
    right = cross(np.array([0, 1.0, 0]), ahead)
    right /= norm(right)
    rotation = rotation_about(np.array([0, 0, 1.0]), rng.normal(0, np.deg2rad(4)))
    rotation = rotation @ np.stack([right, cross(ahead, right), ahead])
    T_camera_world = np.eye(4)
    T_camera_world[:3, :3], T_camera_world[:3, 3] = rotation, -rotation @ place
    centre = scene.K[2:] + rng.normal(0, 0.01, 2) * scene.size
    return T_camera_world, np.concatenate([focal, centre])


def seen_by(seen: Furnished, T_camera_world: np.ndarray, K: np.ndarray) -> Furnished:
    """The scene in another camera's frame, with that camera's K (4,)."""
    R, t = T_camera_world[:3, :3], T_camera_world[:3, 3]
    hands = tuple(None if hand is None else moved(hand, R, t) for hand in seen.scene.hands)
    meshes = tuple(
        replace(m, vertices=(m.vertices.astype(np.float64) @ R.T + t).astype(np.float32)) for m in seen.meshes
    )
    lights = replace(
        seen.lights, key_direction=R @ seen.lights.key_direction, fill_direction=R @ seen.lights.fill_direction
    )
    scene = Scene(seen.scene.kind, hands, K, seen.scene.size)  # type: ignore[arg-type]
    return replace(seen, scene=scene, lights=lights, meshes=meshes)


def draw_views(seed: int, pictures: range, views: int, config: SynthConfig) -> Iterator[Drawn]:
    """Pictures by number: scene 0 as each of its cameras sees it, then scene 1, and so on.

    `sample.T_camera_world` says where the camera is, `sample.scene` which pictures belong together. What a picture
    shows depends on seed, number and the number of views alone. The sky's light falls from the top of each picture.
    """
    furnished, current = None, -1
    for number in pictures:
        scene, view = divmod(number, views)
        if furnished is None or scene != current:
            furnished, current = sample_rig_scene(training_rng(seed, 0, scene), config), scene
        yield draw_view(seed, scene, furnished, view, views, config)


def draw_view(seed: int, scene: int, furnished: Furnished, view: int, views: int, config: SynthConfig) -> Drawn:
    """The picture of one camera of `furnished`, which is scene number `scene`."""
    rng = training_rng(seed, view + 1, scene)
    least = SHOWN * config.size**2 if any(furnished.scene.hands) else 0
    for _ in range(6):
        T_camera_world, K = sample_camera(rng, furnished, view, views)
        drawn = photograph(
            rng, seen_by(furnished, T_camera_world, K), config, f"{scene * views + view:06d}", force=True
        )
        assert drawn is not None  # it is forced
        parts = np.asarray(drawn.sample.parts)
        if view == 0 or int(((parts > 0) & (parts <= 32)).sum()) >= least:
            break
    name = f"{scene:06d}"
    return replace(drawn, sample=replace(drawn.sample, T_camera_world=T_camera_world, scene=name, recording=name))
