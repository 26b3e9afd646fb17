"""Light and what is behind the hands, for the new looks: studio, window, sun, coloured, night, or as before.

Linear RGB throughout.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .appearance import Lights, sample_lights
from .background import sample_background

STYLES = ("plain", "studio", "window", "sun", "coloured", "night")
SHARES = (0.34, 0.16, 0.18, 0.16, 0.06, 0.10)


def sample_setting(rng: np.random.Generator) -> tuple[Lights, str]:
    """The lights and the name of their style, by which `sample_backdrop` and `faults.film` go."""
    style = STYLES[rng.choice(len(STYLES), p=SHARES)]
    if style == "plain":
        return sample_lights(rng)
    azimuth, height = rng.uniform(-np.pi, np.pi), rng.uniform(0.3, 1.2)
    travel = np.array([np.cos(azimuth) * np.cos(height), np.sin(height), np.sin(azimuth) * np.cos(height)])
    fill_to = rng.normal(size=3) * [1, 0.5, 0.5] + [0, -0.3, -0.6]
    white = np.array([1.0, rng.uniform(0.88, 1.0), rng.uniform(0.75, 1.0)])
    if style == "studio":  # as InterHand2.6M: dim, yellow-green, lamps in sight
        tint = np.array([rng.uniform(0.72, 0.95), 1.0, rng.uniform(0.3, 0.6)])
        level = np.exp(rng.uniform(np.log(0.15), np.log(0.4)))
        key, fill, sky = tint * level * 0.8, tint * level * 0.5, tint * level * 0.5
        return _lights(travel, key, fill_to, fill, sky, 0.45, soft=2.0), style
    if style == "window":  # large and from one side
        travel = np.array([rng.choice([-1, 1]), rng.uniform(0.0, 0.6), rng.uniform(-0.5, 0.9)])
        cool = np.array([rng.uniform(0.85, 1.0), rng.uniform(0.92, 1.0), 1.0])
        sky = white * rng.uniform(0.12, 0.35)
        return _lights(travel, cool * rng.uniform(0.7, 1.3), fill_to, sky * 0.5, sky, 0.7, soft=3.5), style
    if style == "sun":
        sky = np.array([0.8, 0.92, 1.0]) * rng.uniform(0.22, 0.45)
        key = np.array([1.0, rng.uniform(0.85, 0.97), rng.uniform(0.65, 0.9)]) * rng.uniform(1.0, 1.9)
        return _lights(travel, key, fill_to, sky * 0.2, sky, rng.uniform(0.4, 0.9), soft=0.5), style
    if style == "coloured":  # lamps of two colours
        one, two = (0.45 + 0.55 * rng.random((2, 3))) ** 2
        sky = 0.3 * (one + two) * rng.uniform(0.15, 0.5)
        return _lights(travel, one * rng.uniform(0.6, 1.3), fill_to, two * rng.uniform(0.3, 0.8), sky, 0.7, 1.5), style
    lamp = np.array([1.0, 0.75, 0.45]) if rng.random() < 0.6 else np.array([0.6, 0.75, 1.0])  # a bulb or a screen
    level = np.exp(rng.uniform(np.log(0.14), np.log(0.6)))
    sky = np.array([0.8, 0.85, 1.0]) * level * rng.uniform(0.1, 0.35)
    return _lights(travel, lamp * level, fill_to, sky * 0.5, sky, 0.7, 1.5), style


def _lights(travel, key, fill_to, fill, sky, ground: float, soft: float) -> Lights:
    travel, fill_to = travel / np.linalg.norm(travel), fill_to / np.linalg.norm(fill_to)
    return Lights(travel, key, fill_to, fill, sky, sky * ground, soft)


Painter = Callable[[np.random.Generator, int, int], np.ndarray]


def sample_backdrop(
    rng: np.random.Generator, height: int, width: int, style: str, place: Painter | None = None
) -> np.ndarray:
    """(height, width, 3) float32 linear RGB that goes with the lights' style: of `place`, else shapes and gradients."""
    scale = height / 256
    if style == "studio":
        level = rng.uniform(0.0, 0.006)
        picture = np.full((height, width, 3), level, np.float32) * np.array([0.9, 1.0, 0.8], np.float32)
        if rng.random() < 0.75:
            _lamps(rng, picture, int(rng.integers(3, 26)), (0.9 * scale, 2.4 * scale), (1.0, 0.95, 0.8))
        return picture
    picture = place(rng, height, width) if place else sample_background(rng, height, width, "indoor")
    if style == "night":
        picture *= np.float32(rng.uniform(0.01, 0.12))
        if rng.random() < 0.6:
            colour = tuple(rng.uniform(0.3, 1.0, 3))
            _lamps(rng, picture, int(rng.integers(2, 14)), (2 * scale, 9 * scale), colour, spread=0.35)
    elif style == "window":
        picture *= np.float32(rng.uniform(0.25, 0.9))
        if rng.random() < 0.35:
            x, y = rng.uniform(-0.3, 0.8) * width, rng.uniform(-0.4, 0.4) * height
            corner = (int(x + rng.uniform(0.25, 0.7) * width), int(y + rng.uniform(0.5, 1.2) * height))
            pane = tuple(float(v) for v in rng.uniform(0.75, 1.3) * np.array([0.92, 0.97, 1.0]))
            cv2.rectangle(picture, (int(x), int(y)), corner, pane, -1)
            if rng.random() < 0.7:
                picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(1, 4) * scale)
    elif style == "sun":
        picture *= np.float32(rng.uniform(0.8, 1.5))
    elif style == "coloured":
        for k, gain in enumerate(rng.uniform(0.1, 0.9, 3)):
            picture[..., k] *= np.float32(gain)
    return picture


def _lamps(
    rng: np.random.Generator,
    picture: np.ndarray,
    count: int,
    radius: tuple[float, float],
    colour: tuple[float, ...],
    spread: float = 0.05,
) -> None:
    """Bright spots, in place: points of light with a small glow, or, large, lights out of focus."""
    height, width = picture.shape[:2]
    size = rng.uniform(*radius)
    for _ in range(count):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        r = max(0.6, size * rng.uniform(0.8, 1.2))
        own = np.clip(np.array(colour) * (1 + spread * rng.normal(size=3)), 0.05, 1.5)
        reach = int(np.ceil(3 * r))
        top, left = max(0, y - reach), max(0, x - reach)
        cut = picture[top : y + reach + 1, left : x + reach + 1]
        rows, columns = np.ogrid[top : top + cut.shape[0], left : left + cut.shape[1]]
        square = ((rows - y) ** 2 + (columns - x) ** 2).astype(np.float32) / np.float32(r * r)
        disc = np.clip(4 * (1.12 - square), 0, 1) + 0.12 / (1 + 2 * square * square)
        cut += disc[..., None].astype(np.float32) * own.astype(np.float32)
