"""A second renderer for truth's sake: the same scenes and labels, the pixels by Blender's Cycles.

Blender is a program of the user's, never a dependency: `blender_script.py` runs in it, and only files go to and fro. A
scene is a .npz of plain arrays (`scene_arrays`), what comes back a .npy of light and alpha. Everything behind the meshes,
the camera's faults and all labels stay our renderer's, so that nothing but shading and light differ.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from ..config import SynthConfig
from .appearance import Lights, Mesh
from .generate import Drawn, taken_again
from .lens import bent
from .render import joined, texel_level
from .skin_detail import STEP, detail_maps
from .skin_shader import AMOUNTS, BLOOD, MELANIN
from .skin_texels import SIZE, TEXEL

SCRIPT = Path(__file__).with_name("blender_script.py")
READY = "lgnet has rendered "
"""How the script begins the line that it prints after every picture."""
BATCH = 50
"""Scenes that one run of Blender renders."""
_LAST = 12
"""So many of Blender's last lines are told when it fails."""
MATERIAL = ("skin", "metal", "casts_shadow", "texture")
"""Columns of a scene's `materials`: shares 0..1, 0 or 1, and the number of its textures or -1."""


@dataclass(frozen=True)
class Cycles:
    """How Blender is run."""

    program: str = "blender"
    """Blender, or a python that has the module bpy, by name or path."""
    samples: int = 16
    """Paths traced a pixel, before the noise is taken out."""
    threads: int = 0
    """0: as many as Blender chooses."""


def repainted(
    pictures: Iterable[tuple[int, Drawn]], config: SynthConfig, cycles: Cycles
) -> Iterator[tuple[int, Drawn]]:
    """Numbered pictures of our renderer -> the same with Cycles' pixels, a batch at a time.

    Raises:
        ValueError: there is no such program, or it failed; the text ends with its own last lines.
    """
    left = iter(pictures)
    while batch := list(islice(left, BATCH)):
        lights = render_scenes([_as_seen(drawn) for _, drawn in batch], cycles)
        for (index, drawn), rgba in zip(batch, lights):
            yield index, taken_again(drawn, over(rgba, drawn.shot.background), config)


def _as_seen(drawn: Drawn) -> dict[str, np.ndarray]:
    lens, meshes = drawn.lens, drawn.meshes
    if lens is not None:
        meshes = [replace(mesh, vertices=bent(mesh.vertices, lens)) for mesh in meshes]
    return scene_arrays(meshes, drawn.scene.K, drawn.scene.size, drawn.shot.lights)


def renderer_name(cycles: Cycles | None) -> str:
    """What a folder's index says of who made the pixels; pictures of another name are not the same pictures."""
    return "numba" if cycles is None else f"cycles, {cycles.samples} samples a pixel"


def over(rgba: np.ndarray, background: np.ndarray) -> np.ndarray:
    """(H, W, 3) linear: light with alpha (H, W, 4), already multiplied by it, before a background (H, W, 3)."""
    return rgba[..., :3] + (1 - rgba[..., 3:]) * background.astype(np.float32)


def command(cycles: Cycles) -> list[str]:
    """How to call Blender, or a python that has bpy, with our script; files to render follow.

    Raises:
        ValueError: there is no such program.
    """
    program = shutil.which(cycles.program)
    if program is None:
        raise ValueError(
            f"there is no program {cycles.program!r} here: --renderer cycles needs Blender 4.2 or later (blender.org), or a "
            "python with its module bpy; name it as --blender PATH"
        )
    if Path(program).name.startswith("python"):
        call = [program, "-P", str(SCRIPT)]  # -P: our own modules' names are nothing to its packages
    else:
        call = [program, "--background", "--factory-startup", "--threads", str(cycles.threads)]
        call += ["--python-exit-code", "1", "--python", str(SCRIPT)]
    return [*call, "--", "--samples", str(cycles.samples), "--threads", str(cycles.threads)]


def render_scenes(
    scenes: Sequence[dict[str, np.ndarray]], cycles: Cycles, tick: Callable[[], None] = lambda: None
) -> list[np.ndarray]:
    """Scenes of `scene_arrays` -> (H, W, 4) float32 of each: linear RGB multiplied by alpha, and alpha.

    `tick` is called after every picture.

    Raises:
        ValueError: there is no such program, or it failed; the text ends with its own last lines.
    """
    call = command(cycles)
    with tempfile.TemporaryDirectory(prefix="lgnet-cycles-") as name:
        paths = [Path(name) / f"{number:04d}.npz" for number in range(len(scenes))]
        for path, arrays in zip(paths, scenes):
            np.savez(path, **arrays)  # type: ignore[arg-type]
        last, status = _run([*call, *map(str, paths)], tick)
        made = [path.with_suffix(".npy") for path in paths]
        if status or not all(path.is_file() for path in made):
            raise ValueError(
                f"{call[0]} could not render (exit status {status}); it said: {' / '.join(last) or 'nothing'}"
            )
        return [np.load(path, allow_pickle=False) for path in made]


def _run(call: Sequence[str], tick: Callable[[], None]) -> tuple[list[str], int]:
    """Run a program to its end: its last lines, its exit status. It ends with us."""
    last: deque[str] = deque(maxlen=_LAST)
    with subprocess.Popen(
        call, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith(READY):
                    tick()
                elif line.strip():
                    last.append(line.strip())
        except BaseException:
            process.kill()
            raise
    return list(last), process.returncode


def scene_arrays(meshes: Sequence[Mesh], K: np.ndarray, size: int, lights: Lights) -> dict[str, np.ndarray]:
    """All that Blender is told of a picture of `size` x `size` pixels, in lgnet's camera frame and metres.

    Returns:
        `camera` (6,) fx, fy, cx, cy, width, height in pixels, pixel centres at integers; `lights` (7, 3): the key's
        direction of travel and colour, direction to the fill light and its colour, sky, ground, and in [6, 0] the key's
        apparent size in degrees. `vertices` (N, 3), `faces` (F, 3) of all meshes, `counts` (M, 2) each mesh's numbers of
        these; `colour`, `gloss`, `rest` (N, 3) as of `Mesh`; `texel` (F, 3, 2) texture coordinates, v up, -1 where
        there is no texture; `materials` (M, 4) columns MATERIAL. Of each texture k, rows from below: `tint_k` (S, S, 3)
        that the colour is multiplied by, `paint_k` (S, S, 4) that is added, with alpha where nails are, `normal_k`
        (S, S, 3) in tangent space, 0..1.
    """
    vertices, faces = joined(meshes) if meshes else (np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    level = max(texel_level(meshes, K) - 1, 0)  # Cycles looks at many places of a pixel: one finer than ours
    textures: dict[str, np.ndarray] = {}
    materials = np.zeros((len(meshes), len(MATERIAL)), np.float32)
    texel = np.full((len(faces), 3, 2), -1, np.float32)
    start = 0
    for k, mesh in enumerate(meshes):
        textured = mesh.corner is not None and mesh.amounts is not None
        materials[k] = is_skin(mesh), _metal(mesh), mesh.casts_shadow, k if textured else -1
        if mesh.corner is not None and mesh.amounts is not None:
            there = mesh.corner[:, :, 0] >= 0
            place = (mesh.corner + 0.5) / SIZE * [1, -1] + [0, 1]
            texel[start : start + len(mesh.faces)] = np.where(there[..., None], place, -1)
            for name, pixels in skin_textures(mesh.amounts, level).items():
                textures[f"{name}_{k}"] = np.ascontiguousarray(pixels[::-1], np.float16)
        start += len(mesh.faces)
    soft = min(6 * lights.soft, 40.0)
    return {
        "camera": np.array([*np.asarray(K, np.float64), size, size]),
        "lights": np.stack(
            [
                *(lights.key_direction, lights.key, lights.fill_direction, lights.fill, lights.sky, lights.ground),
                [soft, 0, 0],
            ]
        ).astype(np.float64),
        "vertices": vertices,
        "faces": faces,
        "counts": np.array([[len(m.vertices), len(m.faces)] for m in meshes], np.int64).reshape(-1, 2),
        **{name: _all(meshes, name) for name in ("colour", "gloss", "rest")},
        "texel": texel,
        "materials": materials,
        **textures,
    }


def _all(meshes: Sequence[Mesh], name: str) -> np.ndarray:
    values = [m.albedo if name == "colour" else m.gloss if name == "gloss" else m.rest for m in meshes]
    return np.concatenate([np.zeros((0, 3)), *values]).astype(np.float32)


def is_skin(mesh: Mesh) -> bool:
    """Whether light goes into a surface as it does into skin: by its soft terminator, unless it is a glove."""
    gloved = mesh.corner is not None and mesh.amounts is not None and not mesh.amounts[AMOUNTS.index("crease")]
    return bool(np.median(mesh.gloss[:, 1]) >= 0.2) and not gloved


def _metal(mesh: Mesh) -> float:
    return 0.0 if mesh.amounts is None else float(mesh.amounts[AMOUNTS.index("metal")])


def skin_textures(amounts: np.ndarray, level: int) -> dict[str, np.ndarray]:
    """What the shader of the new looks makes of a skin's detail, as pictures of the UV space, rows from above.

    Args:
        amounts: (len(AMOUNTS),) of the person.
        level: of `detail_maps`.

    Returns:
        `tint` (S, S, 3), `paint` (S, S, 4), `normal` (S, S, 3) as in `scene_arrays`.
    """
    d = np.moveaxis(detail_maps()[level], 2, 0).astype(np.float32) / 127
    of = dict(zip(AMOUNTS, amounts.astype(np.float32)))
    crease, nail = of["crease"] * d[4], of["nail"] * d[8]
    blood = of["blood"] * 0.35 * d[6] * (1 - nail) + 0.22 * crease + of["vein"] * 0.1 * d[5]
    melanin = of["freckle"] * d[7] + 0.1 * crease + 0.5 * of["hair"] * d[10] * (1 - nail)
    blue = of["vein"] * d[5][..., None] * np.array([0.22, 0, -0.06], np.float32)
    depth = melanin[..., None] * MELANIN + blood[..., None] * BLOOD + blue
    hollow = (1 - 0.3 * np.minimum(crease, 1)) * (1 - nail)
    tint = hollow[..., None] / (1 + depth + 0.5 * depth**2)  # as skin_shader fades
    light = (d[9] * (1 - of["varnish"]) * 0.3)[..., None]
    colour = np.array([of["nail_red"], of["nail_green"], of["nail_blue"]], np.float32)
    paint = nail[..., None] * colour * (1 + light * np.array([0.6, 1, 1], np.float32))
    slope = STEP / (TEXEL * 1000 * 2**level)
    du, dv = (slope * (of["crease"] * d[k] + of["relief"] * d[k + 2]) for k in (0, 1))
    tame = 1 / (1 + np.hypot(du, dv))
    normal = np.stack([-tame * du, tame * dv, np.ones_like(du)], 2)  # rows go down, v goes up
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    return {"tint": tint, "paint": np.dstack([paint, nail]), "normal": 0.5 + 0.5 * normal}
