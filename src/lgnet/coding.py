"""Pictures as the bytes of PNG and JPEG files, and back; nothing is written."""

from __future__ import annotations

import cv2
import numpy as np


def png(pixels: np.ndarray) -> bytes:
    """(H, W) or (H, W, 3) RGB, 8 or 16 bit, as PNG."""
    return _encoded(".png", pixels, [])


def jpeg(pixels: np.ndarray, quality: int = 90) -> bytes:
    """(H, W, 3) uint8 RGB as JPEG."""
    return _encoded(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encoded(kind: str, pixels: np.ndarray, options: list[int]) -> bytes:
    ok, coded = cv2.imencode(kind, np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels), options)
    if not ok:
        raise ValueError(f"a picture of {pixels.shape} {pixels.dtype} could not be coded as {kind}")
    return coded.tobytes()


def decoded(content: bytes, name: str) -> np.ndarray:
    """A picture as stored, of any depth; three channels come as RGB.

    Raises:
        ValueError: it cannot be read; the text says `name`.
    """
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    if pixels is None:
        raise ValueError(f"the {name} cannot be read as a picture")
    return np.ascontiguousarray(pixels[..., ::-1]) if pixels.ndim == 3 else pixels
