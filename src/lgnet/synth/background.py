"""What is behind the hands, made up: rooms, gradients, clutter, people-like shapes, plain walls and dark studios."""

from __future__ import annotations

import functools

import cv2
import numpy as np


@functools.lru_cache(maxsize=1)
def noise_tiles() -> np.ndarray:
    """(12, 512, 512) float32 in 0..1: smooth noise of several scales, the same for everybody."""
    rng = np.random.default_rng(987654321)
    tiles = []
    for base in (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96):
        tile = np.zeros((512, 512), np.float32)
        weight = 1.0
        size = base
        while size <= 256:
            grid = rng.random((size, size)).astype(np.float32)
            tile += weight * cv2.resize(grid, (512, 512), interpolation=cv2.INTER_LINEAR)
            size, weight = size * 2, weight * 0.55
        low, high = tile.min(), tile.max()
        tiles.append((tile - low) / (high - low))
    return np.stack(tiles)


@functools.lru_cache(maxsize=1)
def grain_tile() -> np.ndarray:
    """(640, 640, 3) float32: unit normal noise, for the camera's noise."""
    return np.random.default_rng(123456789).standard_normal((640, 640, 3)).astype(np.float32)


def _tile(rng: np.random.Generator, height: int, width: int, lo: int = 0, hi: int = 12) -> np.ndarray:
    tile = noise_tiles()[rng.integers(lo, hi)]
    y, x = rng.integers(0, 512 - min(height, 511)), rng.integers(0, 512 - min(width, 511))
    cut = tile[y : y + height, x : x + width]
    return cut if cut.shape == (height, width) else cv2.resize(tile, (width, height))


def sample_background(rng: np.random.Generator, height: int, width: int, style: str) -> np.ndarray:
    """(height, width, 3) float32 linear RGB. `style` is that of the lights: a studio is dark."""
    if style == "studio" and rng.random() < 0.75:
        level = rng.uniform(0.0, 0.06)
        shade = level * (0.5 + _tile(rng, height, width, 0, 6))
        tint = rng.uniform(0.8, 1.2, 3)
        shade = shade.astype(np.float64)
        return np.stack([(shade * tint[k]).astype(np.float32) for k in range(3)], 2)
    one, two = rng.uniform(0.03, 0.95, (2, 3))
    if rng.random() < 0.6:  # most rooms are not colourful
        one, two = one.mean() + 0.25 * (one - one.mean()), two.mean() + 0.25 * (two - two.mean())
    blend = _tile(rng, height, width, 0, 5) if rng.random() < 0.6 else _ramp(rng, height, width)
    blend = blend.astype(np.float64)
    picture = np.empty((height, width, 3), np.float32)
    for k in range(3):  # a plane at a time: several times faster than an inner loop of three
        picture[..., k] = one[k] + (two[k] - one[k]) * blend
    kind = rng.random()
    if kind < 0.15:
        pass  # a plain wall
    elif kind < 0.75:
        for _ in range(rng.integers(2, 14)):
            _shape(rng, picture)
        if rng.random() < 0.3:
            _person(rng, picture)
    else:
        _person(rng, picture)
        for _ in range(rng.integers(0, 4)):
            _shape(rng, picture)
    if rng.random() < 0.7:
        texture = _tile(rng, height, width, 4, 12) - 0.5
        texture = 1 + rng.uniform(0, 0.8) * texture
        for k in range(3):
            picture[..., k] *= texture
    if rng.random() < 0.5:  # out of focus
        sigma = rng.uniform(0.8, 5) * height / 256
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    np.clip(picture, 0, 1, out=picture)
    return np.square(picture, out=picture)


def _ramp(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    ramp = (x * np.cos(angle) + y * np.sin(angle)) / max(height, width)
    ramp = ramp - ramp.min()
    return (ramp / max(ramp.max(), 1e-6)).astype(np.float32)


def _shape(rng: np.random.Generator, picture: np.ndarray) -> None:
    """A rectangle, polygon, ellipse, line or run of stripes, in place."""
    height, width = picture.shape[:2]
    colour = rng.uniform(0, 1, 3)
    if rng.random() < 0.5:
        colour = colour.mean() + 0.4 * (colour - colour.mean())
    if rng.random() < 0.25:
        colour = np.clip(np.array([0.82, 0.6, 0.47]) * rng.uniform(0.4, 1.2), 0, 1)  # wood and skin-like
    colour = tuple(float(c) for c in colour)
    kind = rng.integers(5)
    x, y = int(rng.integers(-20, width)), int(rng.integers(-20, height))
    w, h = int(width * rng.uniform(0.05, 0.6)), int(height * rng.uniform(0.05, 0.6))
    if kind == 0:
        cv2.rectangle(picture, (x, y), (x + w, y + h), colour, -1)
    elif kind == 1:
        points = np.stack([rng.integers(x, x + w + 2, 5), rng.integers(y, y + h + 2, 5)], 1).astype(np.int32)
        cv2.fillPoly(picture, [points], colour)
    elif kind == 2:
        cv2.ellipse(picture, (x, y), (w // 2 + 1, h // 2 + 1), float(rng.uniform(0, 180)), 0, 360, colour, -1)
    elif kind == 3:
        end = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        cv2.line(picture, (x, y), end, colour, int(rng.integers(1, max(2, width // 14))))
    else:
        gap = int(rng.integers(4, 24))
        for k in range(0, w, gap):
            cv2.rectangle(picture, (x + k, y), (x + k + gap // 2, y + h), colour, -1)


def _person(rng: np.random.Generator, picture: np.ndarray) -> None:
    """A head and shoulders of skin and cloth colours, in place: what is behind a hand held up to a webcam."""
    height, width = picture.shape[:2]
    tone = np.array([0.88, 0.68, 0.56]) * rng.uniform(0.35, 1.08)
    cloth, hair = rng.uniform(0, 0.9, 3), rng.uniform(0, 0.35) * np.array([1, 0.8, 0.6])
    size = height * rng.uniform(0.15, 0.4)
    x, y = int(width * rng.uniform(0.1, 0.9)), int(height * rng.uniform(0.1, 0.7))
    t = lambda c: tuple(float(v) for v in np.clip(c, 0, 1))  # noqa: E731
    s = int(size)
    cv2.ellipse(picture, (x, y + int(2.3 * s)), (int(1.5 * s), int(1.4 * s)), 0, 0, 360, t(cloth), -1)
    cv2.rectangle(picture, (x - s // 4, y), (x + s // 4, y + int(1.1 * s)), t(tone * 0.85), -1)
    cv2.ellipse(picture, (x, y - s // 6), (int(0.66 * s), int(0.85 * s)), 0, 0, 360, t(hair), -1)
    cv2.ellipse(picture, (x, y), (int(0.55 * s), int(0.75 * s)), 0, 0, 360, t(tone), -1)
    for side in (-1, 1):
        cv2.circle(picture, (x + side * int(0.2 * s), y - int(0.1 * s)), max(1, s // 14), t(tone * 0.25), -1)
    cv2.ellipse(picture, (x, y + int(0.35 * s)), (max(1, s // 5), max(1, s // 16)), 0, 0, 360, t(tone * 0.6), -1)
