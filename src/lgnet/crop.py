"""Image + box -> square crop, and the exact way back.

A crop is the picture of a virtual pinhole camera at the same place as the real one, turned to look at the middle of the box
(and, in training and test-time augmentation, rolled about its axis) with a focal length that makes the box fill it. So a
crop is exact under perspective: a hand looks the same wherever it stood in the picture, and every 3D point goes to the crop
frame and back by one rotation. A mirrored crop also negates x, so that a left hand looks like a right one. Pixel centres
are at integer coordinates in pictures and crops alike; normalised crop coordinates are -1 and 1 at the crop's outer edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Crop:
    """One square crop: where it looks, how large it is, and of which camera it was cut."""

    R_camera_crop: np.ndarray  # (3, 3) takes points of the (unmirrored) crop camera to the real camera's frame
    focal: float  # of the crop camera, crop pixels
    size: int  # pixels
    mirrored: bool
    K: np.ndarray  # (4,) the real camera

    @property
    def tan_half(self) -> float:
        """Tangent of half the crop's angle of view: normalised crop coordinate = (x / z) / tan_half."""
        return self.size / 2 / self.focal

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) points of the camera frame -> the crop frame, mirrored if the crop is. Directions alike."""
        out = np.asarray(points) @ self.R_camera_crop
        return out * np.array([-1.0, 1.0, 1.0]) if self.mirrored else out

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) points of the crop frame -> the camera frame: the inverse of `to_crop`."""
        points = np.asarray(points)
        return (points * np.array([-1.0, 1.0, 1.0]) if self.mirrored else points) @ self.R_camera_crop.T

    def pose_to_crop(self, rotations: np.ndarray) -> np.ndarray:
        """(16, 3, 3) pose, the wrist's in the camera frame -> the wrist's in the crop frame; the mirrored hand's, if mirrored."""
        out = np.array(rotations)
        out[0] = self.R_camera_crop.T @ out[0]
        return self._mirror(out)

    def pose_to_camera(self, rotations: np.ndarray) -> np.ndarray:
        """The inverse of `pose_to_crop`."""
        out = np.array(self._mirror(rotations))
        out[0] = self.R_camera_crop @ out[0]
        return out

    def _mirror(self, rotation: np.ndarray) -> np.ndarray:
        sign = np.array([-1.0, 1.0, 1.0])
        return rotation * sign[:, None] * sign if self.mirrored else rotation

    def image_to_crop(self, pixels: np.ndarray) -> np.ndarray:
        """(..., 2) pixels of the picture -> normalised crop coordinates; undistorted pinhole pictures only.

        Pixels behind the crop camera (more than 90 degrees off its axis) have no place in it and come back as 1e6.
        """
        pixels = np.asarray(pixels, dtype=np.float64)
        rays = np.concatenate([(pixels - self.K[2:]) / self.K[:2], np.ones_like(pixels[..., :1])], -1)
        x, y, z = np.moveaxis(self.to_crop(rays), -1, 0)
        ahead = z > 1e-6
        z = np.where(ahead, z, 1.0)
        return np.where(ahead[..., None], np.stack([x / z, y / z], -1) / self.tan_half, 1e6)

    def crop_to_image(self, normalised: np.ndarray) -> np.ndarray:
        """(..., 2) normalised crop coordinates -> pixels of the picture: the inverse of `image_to_crop`."""
        normalised = np.asarray(normalised, dtype=np.float64)
        rays = self.to_camera(np.concatenate([normalised * self.tan_half, np.ones_like(normalised[..., :1])], -1))
        return rays[..., :2] / rays[..., 2:] * self.K[:2] + self.K[2:]

    def homography(self) -> np.ndarray:
        """(3, 3) picture pixel = H @ crop pixel, homogeneous: the map `cv2.warpPerspective` wants inverted."""
        centre = (self.size - 1) / 2
        sign = -1.0 if self.mirrored else 1.0
        rays = np.array([[sign, 0, -sign * centre], [0, 1, -centre], [0, 0, self.focal]])
        K = np.array([[self.K[0], 0, self.K[2]], [0, self.K[1], self.K[3]], [0, 0, 1]])
        return K @ self.R_camera_crop @ rays

    def cut(self, image: np.ndarray, nearest: bool = False, border: int = 0) -> np.ndarray:
        """Resample the picture (H, W[, C]) into the crop (size, size[, C]); outside the picture is `border`.

        A picture much larger than the crop is first reduced by averaging, so that fine detail does not alias.
        """
        h = self.homography()
        if not nearest:
            scale = self.K[0] / self.focal  # picture pixels per crop pixel, about
            halvings = int(np.log2(scale)) if scale >= 2 else 0
            if halvings:
                image, h = _reduced(image, 2**halvings, h, self.size)
        flags = (cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
        value = (border,) * 4
        out = cv2.warpPerspective(image, h, (self.size, self.size), flags=flags, borderValue=value)
        ends = np.array([0, self.size - 1])
        if (h[2, 0] * ends[:, None] + h[2, 1] * ends + h[2, 2]).min() <= 0:  # some of it looks behind the real camera
            pixel = np.arange(self.size)
            out[h[2, 0] * pixel + h[2, 1] * pixel[:, None] + h[2, 2] <= 0] = border
        return out


def _reduced(image: np.ndarray, step: int, h: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of the picture that a crop of `size` pixels shows, at 1 / step of its size, by averaging, and the homography
    (3, 3) that then takes the place of `h`.
    """
    shape = np.array(image.shape[1::-1])
    low, high = np.zeros(2, int), shape
    seen = h @ [[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]]
    if seen[2].min() > 0:
        places = seen[:2] / seen[2] / step
        low = np.clip(np.floor(places.min(1)) - 2, 0, (shape - 1) // step).astype(int) * step
        high = np.clip((np.ceil(places.max(1)) + 2) * step, low + 1, shape).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    width, height = high - low
    if width % step or height % step:  # where it ends at the picture's edge
        part = cv2.copyMakeBorder(part, 0, -height % step, 0, -width % step, cv2.BORDER_REPLICATE)
    part = cv2.resize(part, (part.shape[1] // step, part.shape[0] // step), interpolation=cv2.INTER_AREA)
    x, y = low + (step - 1) / 2
    return part, np.array([[1 / step, 0, -x / step], [0, 1 / step, -y / step], [0, 0, 1]]) @ h


def look_rotation(direction: np.ndarray) -> np.ndarray:
    """(3, 3) the smallest rotation that takes the optical axis (0, 0, 1) to `direction` (3,)."""
    x, y, z = np.asarray(direction, dtype=np.float64) / np.linalg.norm(direction)
    k = 1 / max(1 + z, 1e-6)
    return np.array([[1 - k * x * x, -k * x * y, x], [-k * x * y, 1 - k * y * y, y], [-x, -y, z]])


def crop_for_box(
    box: np.ndarray,
    K: np.ndarray,
    size: int,
    enlarge: float = 1.25,
    mirrored: bool = False,
    roll: float = 0.0,
) -> Crop:
    """The crop whose square is `enlarge` times the larger side of `box`, looking at the box's middle.

    Args:
        box: (4,) x, y, w, h in pixels of the picture (pixel centres at integers).
        K: (4,) fx, fy, cx, cy of the picture's camera, pixels.
        size: the crop's side in pixels.
        enlarge: how much larger than the box the crop is.
        mirrored: negate x, so that a left hand becomes a right one.
        roll: radians; the crop camera is turned by this about its own axis (training, test-time augmentation).

    Raises:
        ValueError: the box is empty, of negative size or not finite.
    """
    box, K = np.asarray(box, dtype=np.float64), np.asarray(K, dtype=np.float64)
    if not np.isfinite(box).all() or min(box[2:]) < 0 or max(box[2:]) <= 0:
        raise ValueError(f"a box needs a finite position and a size above zero, got {box.tolist()}")
    centre = box[:2] + box[2:] / 2
    direction = np.array([*((centre - K[2:]) / K[:2]), 1.0])
    half = (box[2:] / K[:2]).max() * enlarge / 2  # at distance 1; fx and fy may differ
    # seen from the turned camera a small patch at this direction is |d|^2 / |d| further away and foreshortened; taking
    # the distance alone keeps the crop at least as wide as the box in every direction
    focal = size / 2 / (half / np.linalg.norm(direction))
    c, s = np.cos(roll), np.sin(roll)
    spin = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    return Crop(look_rotation(direction) @ spin, float(focal), size, mirrored, K)


def union_box(boxes: np.ndarray) -> np.ndarray:
    """(4,) x, y, w, h of the smallest box around all `boxes` (N, 4)."""
    boxes = np.asarray(boxes, dtype=np.float64)
    low, high = boxes[:, :2].min(0), (boxes[:, :2] + boxes[:, 2:]).max(0)
    return np.concatenate([low, high - low])


@dataclass(frozen=True)
class HandCrops:
    """How one picture is shown to the network: a crop for each hand slot, and the pair frame."""

    hands: tuple[Crop | None, Crop | None]  # right, left; None: no crop for this hand. With heads: the same crop twice
    pair: Crop  # frame of the relative translation; unmirrored


def hand_crops(
    boxes: np.ndarray,
    given: np.ndarray,
    K: np.ndarray,
    size: int,
    enlarge: float,
    separation: str,
    roll: float = 0.0,
) -> HandCrops:
    """The crops of one picture.

    Args:
        boxes: (2, 4) x, y, w, h of the right and the left hand, pixels.
        given: (2,) bool, at least one True: which of the boxes count.
        K: (4,) the picture's camera.
        size, enlarge, separation: as in ModelConfig (`crop_size`, `crop_enlarge`, `separation`).
        roll: radians, common to all crops of the picture (training, test-time augmentation).

    Raises:
        ValueError: no box is given, or one is empty.
    """
    given = np.asarray(given, dtype=bool)
    if not given.any():
        raise ValueError("no box is given for this picture")
    pair = crop_for_box(union_box(np.asarray(boxes)[given]), K, size, enlarge, mirrored=False, roll=roll)
    if separation == "heads":
        return HandCrops((pair if given[0] else None, pair if given[1] else None), pair)
    right, left = (
        crop_for_box(boxes[side], K, size, enlarge, mirrored=side == 1, roll=roll) if given[side] else None
        for side in (0, 1)
    )
    return HandCrops((right, left), pair)


def cut_crops(image: np.ndarray, crops: HandCrops, separation: str) -> np.ndarray:
    """(N, S, S, 3) uint8: N = 2 crops (right, left; black where there is none) or, with heads, the one of both."""
    if separation == "heads":
        return crops.pair.cut(image)[None]
    size = crops.pair.size
    black = np.zeros((size, size, 3), np.uint8)
    return np.stack([black if crop is None else crop.cut(image) for crop in crops.hands])


def crop_geometry(crops: HandCrops, separation: str) -> np.ndarray:
    """(2, 5) float32 where each hand's crop lies relative to the other's: what lets the network place the two.

    Per slot: the other crop's axis in this crop's normalised coordinates (x, y, limited to +-4), log of the ratio of
    the two angles of view (other / own), 1; all zero unless both crops are given; last, this crop's tan_half.
    All zero with heads, where one crop shows both.
    """
    out = np.zeros((2, 5), np.float32)
    if separation == "heads":
        return out
    for side, own in enumerate(crops.hands):
        if own is None:
            continue
        out[side, 4] = own.tan_half
        other = crops.hands[1 - side]
        if other is not None:
            x, y, z = own.to_crop(other.R_camera_crop[:, 2])
            axis = np.array([x, y]) / max(z, 0.1) / own.tan_half
            out[side, :2] = np.clip(axis, -4, 4)
            out[side, 2] = np.log(other.tan_half / own.tan_half)
            out[side, 3] = 1
    return out
