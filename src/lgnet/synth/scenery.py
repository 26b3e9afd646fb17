"""Places made by code: rooms, desks, screens, pages of text, foliage and streets; or photographs the user names.

All draw in place into (H, W, 3) uint8 sRGB pictures.
"""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np

Colour = tuple[float, float, float]
PHOTO_TYPES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def _colour(rng: np.random.Generator, low: float = 0.0, high: float = 1.0, vivid: float = 0.3) -> Colour:
    """A colour, mostly muted."""
    c = rng.uniform(low, high, 3)
    vivid = 1.0 if rng.random() < 0.15 else vivid
    return tuple(float(v) for v in 255 * np.clip(c.mean() + vivid * (c - c.mean()), 0, 1))  # type: ignore[return-value]


def _shade(c: Colour, factor: float) -> Colour:
    return tuple(min(255.0, v * factor) for v in c)  # type: ignore[return-value]


def _box(picture: np.ndarray, x: float, y: float, w: float, h: float, colour: Colour, thick: int = -1) -> None:
    cv2.rectangle(picture, (int(x), int(y)), (int(x + w), int(y + h)), colour, thick)


def _quad(picture: np.ndarray, points: np.ndarray, colour: Colour) -> None:
    cv2.fillPoly(picture, [np.round(points).astype(np.int32)], colour, cv2.LINE_AA)


def room(rng: np.random.Generator, picture: np.ndarray) -> None:
    """Wall, floor, and some of window, door, shelf, pictures, sofa and lamp."""
    h, w = picture.shape[:2]
    wall, floor = _colour(rng, 0.35, 0.95, 0.2), _colour(rng, 0.15, 0.7, 0.3)
    picture[:] = wall
    if rng.random() < 0.5:  # a corner
        x = w * rng.uniform(0.1, 0.9)
        _box(picture, x, 0, w, h, _shade(wall, rng.uniform(0.75, 0.95)))
    horizon = h * rng.uniform(0.55, 0.95)
    _box(picture, 0, horizon, w, h, floor)
    away = np.array([w * rng.uniform(0, 1), horizon - 0.4 * h])
    for x in np.arange(-2, 3, rng.uniform(0.08, 0.3)):  # boards run to a vanishing point
        end = np.array([w * (0.5 + x), h * 1.2])
        start = end + (away - end) * (end[1] - horizon) / (end[1] - away[1])
        cv2.line(
            picture,
            tuple(int(v) for v in start),
            tuple(int(v) for v in end),
            _shade(floor, rng.uniform(0.8, 0.95)),
            1,
            cv2.LINE_AA,
        )
    _box(picture, 0, horizon - 0.03 * h, w, 0.03 * h, _shade(wall, 1.15))
    for _ in range(rng.integers(1, 5)):
        kind, x, y = rng.integers(5), w * rng.uniform(-0.1, 0.9), h * rng.uniform(0, 0.5)
        width, height = w * rng.uniform(0.12, 0.4), h * rng.uniform(0.15, 0.45)
        if kind == 0:  # window
            _box(picture, x, y, width, height, _colour(rng, 0.75, 1.0, 0.3))
            frame = _colour(rng, 0.3, 1.0, 0.1)
            _box(picture, x, y, width, height, frame, max(1, w // 60))
            cv2.line(
                picture, (int(x + width / 2), int(y)), (int(x + width / 2), int(y + height)), frame, max(1, w // 80)
            )
        elif kind == 1:  # door
            wood = _colour(rng, 0.2, 0.9, 0.3)
            top = horizon - h * rng.uniform(0.45, 0.75)
            _box(picture, x, top, width * 0.8, horizon - top, wood)
            _box(picture, x + 0.1 * width, top + 0.06 * h, width * 0.6, 0.2 * h, _shade(wood, 0.85), max(1, w // 100))
        elif kind == 2:  # shelf of books
            _box(picture, x, y, width, height, _colour(rng, 0.1, 0.6, 0.3))
            rows = rng.integers(1, 4)
            for row in range(rows):
                at = x + 2
                while at < x + width - 3:
                    thick = w * rng.uniform(0.008, 0.03)
                    tall = height / rows * rng.uniform(0.6, 0.9)
                    _box(
                        picture, at, y + (row + 0.95) * height / rows - tall, thick, tall, _colour(rng, 0.05, 0.95, 0.6)
                    )
                    at += thick + 1
        elif kind == 3:  # picture on the wall
            _box(picture, x, y, width * 0.7, height * 0.7, _colour(rng, 0, 1, 0.4))
            _box(picture, x, y, width * 0.7, height * 0.7, _colour(rng, 0, 0.6, 0.2), max(1, w // 70))
        else:  # sofa, bed, cupboard
            body = _colour(rng, 0.1, 0.9, 0.4)
            _box(picture, x, horizon - 0.22 * h, width * 1.6, 0.4 * h, body)
            _box(picture, x, horizon - 0.05 * h, width * 1.6, 0.06 * h, _shade(body, 1.2))


def desk(rng: np.random.Generator, picture: np.ndarray) -> None:
    """A table seen from above, with some of paper, keyboard, plate, cup and telephone."""
    h, w = picture.shape[:2]
    wood = np.array(_colour(rng, 0.2, 0.9, 0.3))
    grain = cv2.resize(rng.random((24, 3), np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.5:
        grain = cv2.resize(rng.random((3, 24), np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
    picture[:] = np.clip(wood * (0.85 + 0.3 * grain[..., None] * rng.uniform(0, 1)), 0, 255)
    for _ in range(rng.integers(1, 6)):
        centre, size = rng.uniform(0, 1, 2) * (w, h), w * rng.uniform(0.08, 0.3)
        angle = rng.uniform(0, np.pi)
        axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        kind = rng.integers(4)
        if kind == 0:  # paper with writing
            _quad(picture, centre + (corners * [0.7, 1] * size) @ axes, _colour(rng, 0.8, 1, 0.1))
            ink = _colour(rng, 0, 0.4)
            for y in np.linspace(-0.85, 0.85, 14):
                a, b = centre + (np.array([[-0.6, y], [rng.uniform(0, 0.6), y]]) * size) @ axes
                cv2.line(picture, (int(a[0]), int(a[1])), (int(b[0]), int(b[1])), ink, 1, cv2.LINE_AA)
        elif kind == 1:  # keyboard
            body, key = _colour(rng, 0, 1, 0.1), _colour(rng, 0, 1, 0.1)
            _quad(picture, centre + (corners * [1.3, 0.5] * size) @ axes, body)
            for row in range(4):
                for column in range(11):
                    at = np.array([-1.2 + 2.4 * column / 11 + 0.1, -0.4 + 0.23 * row + 0.03]) * size
                    _quad(picture, centre + (at + corners * 0.085 * size) @ axes, key)
        elif kind == 2:  # plate, cup
            middle = (int(centre[0]), int(centre[1]))
            colour = _colour(rng, 0.5, 1, 0.3)
            cv2.circle(picture, middle, int(size * 0.8), _shade(colour, 0.85), -1, cv2.LINE_AA)
            cv2.circle(picture, middle, int(size * 0.6), colour, -1, cv2.LINE_AA)
        else:  # telephone, tablet, book
            _quad(picture, centre + (corners * [0.5, 0.9] * size) @ axes, _colour(rng, 0, 0.5, 0.2))
            _quad(picture, centre + (corners * [0.44, 0.8] * size) @ axes, _colour(rng, 0, 1, 0.5))


@functools.lru_cache(maxsize=1)
def _writing() -> np.ndarray:
    """(512, 512) uint8: lines of made-up letters, 255 where there is ink, the same for everybody."""
    rng = np.random.default_rng(20240229)
    tile = np.zeros((512, 512), np.uint8)
    corners = [(0, 0), (5, 0), (0, 5), (5, 5), (0, 10), (5, 10)]
    letters = rng.integers(0, 6, (30, 3, 2))
    for y in range(3, 498, 17):
        x = int(rng.choice([4, 4, 40, 80]))
        end = x + rng.uniform(0.2, 1) * (505 - x)
        while x < end:
            x += 8
            if rng.random() < 0.18:
                continue
            for a, b in letters[rng.integers(30)]:
                p, q = corners[a], corners[b]
                cv2.line(tile, (x + p[0], y + p[1]), (x + q[0], y + q[1]), 255, 1, cv2.LINE_AA)
    return tile


def page(rng: np.random.Generator, picture: np.ndarray) -> None:
    """Lines of text: a page, a poster, a screen of code."""
    h, w = picture.shape[:2]
    dark = rng.random() < 0.4
    paper = _colour(rng, 0, 0.25) if dark else _colour(rng, 0.75, 1, 0.1)
    zoom = np.exp(rng.uniform(np.log(0.6), np.log(4))) * h / 256
    cut_h, cut_w = min(512, max(2, int(h / zoom))), min(512, max(2, int(w / zoom)))
    y, x = rng.integers(0, 513 - cut_h), rng.integers(0, 513 - cut_w) if rng.random() < 0.5 else 0
    ink = cv2.resize(_writing()[y : y + cut_h, x : x + cut_w], (w, h), interpolation=cv2.INTER_LINEAR)
    share = ink[..., None].astype(np.float32) / 255
    lines = np.array([_colour(rng, 0.5, 1, 0.6) if dark else _colour(rng, 0, 0.4) for _ in range(3)], np.float32)
    colour = lines[(np.arange(h) * 3 // h)][:, None]
    picture[:] = np.array(paper, np.float32) * (1 - share) + colour * share


def screen(rng: np.random.Generator, picture: np.ndarray) -> None:
    """A monitor on a wall or desk, with windows in it."""
    h, w = picture.shape[:2]
    room(rng, picture)
    x, y = w * rng.uniform(-0.2, 0.5), h * rng.uniform(-0.1, 0.4)
    width, height = w * rng.uniform(0.4, 0.9), h * rng.uniform(0.3, 0.6)
    _box(picture, x - 0.02 * w, y - 0.02 * w, width + 0.04 * w, height + 0.04 * w, _colour(rng, 0, 0.3, 0.1))
    x0, y0, x1, y1 = int(max(x, 0)), int(max(y, 0)), int(min(x + width, w)), int(min(y + height, h))
    if x1 - x0 < 8 or y1 - y0 < 8:
        return
    inside = np.ascontiguousarray(picture[y0:y1, x0:x1])
    page(rng, inside)
    for _ in range(rng.integers(1, 4)):
        left, top = rng.uniform(0, 0.7, 2) * (x1 - x0, y1 - y0)
        _box(inside, left, top, rng.uniform(0.2, 0.6) * (x1 - x0), rng.uniform(0.2, 0.6) * (y1 - y0), _colour(rng))
    picture[y0:y1, x0:x1] = inside


@functools.lru_cache(maxsize=2)
def _leaves(grass: bool) -> np.ndarray:
    """(512, 512) uint8: how bright leaves, or blades, are; the same for everybody."""
    rng = np.random.default_rng(20240301 + grass)
    tile = np.full((512, 512), 50, np.uint8)
    for _ in range(2500):
        x, y = rng.integers(0, 512, 2)
        size = rng.uniform(8, 22)
        angle = rng.normal(90, 15) if grass else rng.uniform(0, 180)
        reach = (int(size), max(1, int(size * (0.12 if grass else rng.uniform(0.25, 0.6)))))
        cv2.ellipse(tile, (int(x), int(y)), reach, angle, 0, 360, int(rng.uniform(60, 255)), -1, cv2.LINE_AA)
    return tile


def foliage(rng: np.random.Generator, picture: np.ndarray) -> None:
    """Leaves or grass, perhaps with sky above."""
    h, w = picture.shape[:2]
    green = 255 * np.array([rng.uniform(0.1, 0.6), rng.uniform(0.35, 0.8), rng.uniform(0.05, 0.35)])
    side = int(rng.uniform(128, 512))
    y, x = rng.integers(0, 513 - side, 2)
    leaves = cv2.resize(_leaves(rng.random() < 0.3)[y : y + side, x : x + side], (w, h), interpolation=cv2.INTER_AREA)
    picture[:] = leaves[..., None].astype(np.float32) / 255 * green
    if rng.random() < 0.5:
        _box(picture, 0, 0, w, h * rng.uniform(0.05, 0.5), _colour(rng, 0.7, 1, 0.4))


def street(rng: np.random.Generator, picture: np.ndarray) -> None:
    """Sky, houses with windows, a road."""
    h, w = picture.shape[:2]
    picture[:] = _colour(rng, 0.6, 1, 0.4)
    ground, x = h * rng.uniform(0.6, 0.95), -0.1 * w
    while x < w:
        width, top = w * rng.uniform(0.12, 0.4), h * rng.uniform(0.0, 0.5)
        wall, pane = _colour(rng, 0.2, 0.85, 0.3), _colour(rng, 0.05, 0.6, 0.3)
        _box(picture, x, top, width, h, wall)
        step = w * rng.uniform(0.04, 0.09)
        for px in np.arange(x + step / 2, x + width - step / 2, step):
            for py in np.arange(top + step / 2, ground - step, step * 1.4):
                _box(picture, px, py, step * 0.5, step * 0.8, pane)
        x += width + w * rng.uniform(0, 0.05)
    _box(picture, 0, ground, w, h, _colour(rng, 0.2, 0.5, 0.1))


PAINTERS = (room, desk, page, screen, foliage, street)
SHARES = (0.38, 0.2, 0.08, 0.12, 0.12, 0.10)


def sample_place(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(height, width, 3) float32 linear RGB: one of the places, light falling off across it, mostly out of focus."""
    drawn = np.empty((height, width, 3), np.uint8)
    PAINTERS[rng.choice(len(PAINTERS), p=SHARES)](rng, drawn)
    picture = drawn.astype(np.float32) / 255
    low, high = np.sort(rng.uniform(0.55, 1.2, 2))
    angle = rng.uniform(0, 2 * np.pi)
    y, x = (np.linspace(-0.5, 0.5, n, dtype=np.float32) for n in (height, width))
    y = y[:, None]
    fall = low + (high - low) * (0.5 + 0.7 * (x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))))
    picture *= fall[..., None]
    if rng.random() < 0.7:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 4) * height / 256)
    np.clip(picture, 0, 1, out=picture)
    return np.square(picture, out=picture)


@functools.lru_cache(maxsize=4)
def photographs(folder: str) -> tuple[Path, ...]:
    """Every picture under `folder`, sorted.

    Raises:
        ValueError: there is no such folder, or no picture in it.
    """
    files = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in PHOTO_TYPES)
    if not files:
        raise ValueError(f"no pictures for backgrounds in {folder}; name a folder of .jpg or .png files")
    return tuple(files)


def sample_photograph(rng: np.random.Generator, folder: str, height: int, width: int) -> np.ndarray:
    """(height, width, 3) float32 linear RGB: a part of a picture under `folder`, half the time mirrored.

    Raises:
        ValueError: there are no pictures, or the one drawn cannot be read.
    """
    files = photographs(folder)
    path = files[rng.integers(len(files))]
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"{path} cannot be read as a picture; take it out of the folder of backgrounds")
    h, w = picture.shape[:2]
    side = rng.uniform(0.5, 1) * min(h / height, w / width)
    cut_h, cut_w = max(1, int(side * height)), max(1, int(side * width))
    y, x = rng.integers(0, h - cut_h + 1), rng.integers(0, w - cut_w + 1)
    cut = cv2.resize(picture[y : y + cut_h, x : x + cut_w], (width, height), interpolation=cv2.INTER_AREA)[..., ::-1]
    linear = (cut.astype(np.float32) / 255) ** np.float32(2.2)
    return np.ascontiguousarray(linear[:, ::-1] if rng.random() < 0.5 else linear)
