"""What cameras do to a picture: exposure, colour, blur, noise, lost detail and compression, from none to a lot."""

from __future__ import annotations

import functools

import cv2
import numba
import numpy as np

from .background import grain_tile

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def develop(linear: np.ndarray, rng: np.random.Generator, level: float, toned: bool = False) -> np.ndarray:
    """(H, W, 3) linear float32 -> (H, W, 3) uint8 sRGB-like picture with faults of strength `level` 0..1.

    `toned`: with contrast and sharpness as cameras put them in.
    """
    height, width = linear.shape[:2]
    exposure = np.exp(rng.normal(0, 0.12 + 0.3 * level))
    balance = np.exp(rng.normal(0, 0.12 * level, 3))
    gamma = 2.2 * np.exp(rng.normal(0, 0.15 * level))
    gain = (exposure * balance).astype(np.float32)
    picture = np.empty_like(linear)
    for k in range(3):  # a plane at a time: several times faster than an inner loop of three
        np.multiply(linear[..., k], gain[k], out=picture[..., k])
    motion, blur, detail = rng.random(3)
    if motion < 0.12 * level:
        picture = cv2.filter2D(picture, -1, _motion(rng, max(3.0, 0.03 * height * rng.uniform(0.5, 1.5))))
    elif blur < 0.6 * level:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.6) * height / 256)
    curve = (np.linspace(0, 1, 4096) ** (1 / gamma) * 255).astype(np.float32)
    out = _through(picture, curve)
    saturation = rng.normal(1, 0.25 * level) if rng.random() > 0.05 * level else 0.0
    if abs(saturation - 1) > 0.02:
        grey = _grey(out, LUMA)
        _mix(out, grey, grey, np.float32(1), np.float32(saturation))
    if toned:
        out = tone(out, rng)
    if rng.random() < 0.8 * level:
        amount = rng.uniform(1, 10) * level
        out += np.float32(amount) * _grain(height, width, rng)
    out = np.clip(out, 0, 255, out=out).astype(np.uint8)
    if detail < 0.25 * level:
        factor = rng.uniform(0.35, 0.8)
        small = cv2.resize(out, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        out = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.7 * level:
        quality = int(rng.integers(35, 95))
        ok, data = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if ok:
            out = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return out


@numba.njit(cache=True, nogil=True)
def _through(picture, curve):
    """(H, W, 3) float32: each value of 0..1 looked up in `curve` (4096,)."""
    out = np.empty(picture.shape, np.float32)
    values, looked_up, most = picture.ravel(), out.ravel(), np.float32(4095)
    for i in range(len(values)):
        looked_up[i] = curve[np.uint32(min(max(values[i] * most, np.float32(0)), most))]
    return out


def tone(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A camera's own taste: darker middle tones, steeper contrast, colours kept, edges sharpened. (H, W, 3) float32, 0..255.

    Without it synthetic crops have three quarters of photographs' contrast and half their fine detail
    (benchmarks/real_vs_synthetic.py).
    """
    grey = _grey(picture, LUMA) / 255
    grey = np.clip(grey, 0, 1, out=grey)
    bright = np.clip((grey.mean(dtype=np.float64) - 0.2) / 0.3, 0, 1)  # what is dark already is not darkened
    curved = grey ** np.float32(np.exp(rng.normal(0.42 * bright, 0.15 + 0.15 * bright)))
    middle = np.float32(curved.mean(dtype=np.float64))
    curved = (curved - middle) * np.float32(rng.uniform(1.0, 1.6)) + middle - np.float32(rng.uniform(0, 0.03))
    if rng.random() < 0.75:
        radius = rng.uniform(0.6, 1.3) * len(grey) / 320
        curved += np.float32(rng.uniform(0.3, 2.0)) * (curved - cv2.GaussianBlur(curved, (0, 0), max(radius, 0.4)))
    colourful = np.float32(rng.uniform(0.5, 1.0))
    _mix(picture, curved, grey, np.float32(255), colourful)
    return picture


@numba.njit(cache=True, nogil=True)
def _grey(picture, weights):
    """(H, W) float32: the weighted sum of three channels, the same on every processor, as BLAS is not."""
    out = np.empty(picture.shape[:2], np.float32)
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            total = np.float32(0)
            for k in range(3):
                total += np.float32(picture[y, x, k]) * weights[k]
            out[y, x] = total
    return out


@numba.njit(cache=True, nogil=True)
def _mix(picture, light, grey, scale, colourful):
    """In place, all float32: the picture (H, W, 3) with `light` (H, W) instead of `grey`, both times `scale`, and so much
    of its colour."""
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            to, was = scale * light[y, x], scale * grey[y, x]
            for k in range(3):
                picture[y, x, k] = to + colourful * (picture[y, x, k] - was)


def film(linear: np.ndarray, rng: np.random.Generator, style: str, level: float) -> np.ndarray:
    """What lens, shutter and sensor do before `develop`, for the new looks. (H, W, 3) linear float32, changed in place.

    Vignette; exposure, a little corrected in dark places as cameras do, now and then far off; bands of a rolling
    shutter under lamps that flicker; noise of a sensor with little light. What bends lines is in lens.py.
    """
    height, width = linear.shape[:2]
    gain = np.ones((height, width), np.float32)
    if rng.random() < 0.35:
        gain *= 1 - np.float32(rng.uniform(0.1, 0.55)) * _radius2(height, width)
    exposure = rng.uniform(1.0, 3.0) if style == "night" else 1.0
    if rng.random() < 0.15 * (0.5 + level):
        exposure *= np.exp(rng.normal(0, 0.55))
    if rng.random() < 0.06:
        rows = np.arange(height) / height
        gain *= (1 + rng.uniform(0.03, 0.15) * np.sin(2 * np.pi * (rng.uniform(1, 7) * rows + rng.random())))[:, None]
    gain *= np.float32(exposure)
    for k in range(3):
        linear[..., k] *= gain
    amount = rng.uniform(0.01, 0.05) if style == "night" else rng.uniform(0, 0.012) * level
    if amount > 0.004:
        cut = _grain(height, width, rng)  # photons come unevenly: noise grows as the root of the light
        linear += np.float32(amount) * np.sqrt(np.maximum(linear, 0) + np.float32(0.01)) * cut
        np.maximum(linear, 0, out=linear)
    return linear


def _grain(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """(height, width, 3) float32 of unit variance: a part of the tile, for larger pictures the tile over and over."""
    grain = grain_tile()
    y, x = rng.integers(0, 640 - min(height, 639)), rng.integers(0, 640 - min(width, 639))
    if max(height, width) <= 639:
        return grain[y : y + height, x : x + width]
    rows, columns = np.arange(y, y + height) % 640, np.arange(x, x + width) % 640
    return grain[rows[:, None], columns]


@functools.lru_cache(maxsize=4)
def _radius2(height: int, width: int) -> np.ndarray:
    """(height, width) float32 squared distance from the middle, 1 in the corners."""
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return ((x * x + y * y) / 2).astype(np.float32)


def monochrome(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture (H, W, 3) uint8 as a camera without colours sees it; more or less sensitive to red."""
    red = rng.uniform(0.2, 0.8)
    weights = np.array([red, 0.8 * (1 - red), 0.2 * (1 - red)], np.float32)
    grey = (_grey(image, weights) + np.float32(0.5)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, 2)


def _motion(rng: np.random.Generator, length: float) -> np.ndarray:
    """(n, n) a line of `length` pixels in any direction, sum 1."""
    n = int(length) | 1
    kernel = np.zeros((n, n), np.float32)
    angle = rng.uniform(0, np.pi)
    middle = n // 2
    reach = np.array([np.cos(angle), np.sin(angle)]) * middle
    start, end = (np.round([middle, middle] + s * reach).astype(int) for s in (-1, 1))
    cv2.line(kernel, tuple(int(v) for v in start), tuple(int(v) for v in end), 1.0, 1)
    return kernel / kernel.sum()
