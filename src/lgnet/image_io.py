"""Pictures from files, standard input and folders: any kind that Pillow reads becomes 8-bit RGB, upright.

Alpha is composited on white, as most viewers show it. 16-bit grey is scaled by its full range. CMYK is converted
without a colour profile. Of an animation the first picture is taken. What cannot be read raises `ImageError`, whose
text is one sentence that names the file, what is wrong and what to do.
"""

from __future__ import annotations

import io
import os
import re
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from .aside import real
from .hands import Camera

MAX_PIXELS = 250_000_000
"""Larger pictures are refused; Pillow's own limit, a third of this, is lifted while a file is opened."""
BRIGHTEST = 4.0
"""A picture of floats up to this is one of 0..1 with highlights above 1; no picture of 0..255 is so dark."""
FILM_WIDTH, PHONE_WIDTH = 36.0, 34.6
"""Millimetres: the longer side of a 35 mm film picture, 3:2, and of a 4:3 picture of the same diagonal."""
IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm")
    + (".pnm", ".jp2", ".tga", ".avif", ".heic", ".heif")
)
VIDEO_SUFFIXES = frozenset(
    (
        ".mp4",
        ".m4v",
        ".mov",
        ".avi",
        ".mkv",
        ".webm",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".mts",
        ".m2ts",
        ".ts",
        ".3gp",
        ".flv",
        ".ogv",
        ".vob",
    )
)
STREAMS = ("rtsp://", "rtsps://", "rtmp://", "http://", "https://")

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture of this EXIF orientation upright."""
_opening = threading.Lock()


class ImageError(ValueError):
    """A picture or video that cannot be read; the text is one sentence for the user."""


@dataclass(frozen=True)
class Picture:
    """A picture as it was read."""

    pixels: np.ndarray  # (H, W, 3) uint8 RGB, upright
    file: str  # as it was named; "-" for bytes
    exif_focal_35mm: float | None = None  # millimetres, the focal length a 35 mm film camera would have


def read_image(source: str | Path | bytes, most: int = MAX_PIXELS) -> Picture:
    """Read a picture.

    Args:
        source: a path, or the content of a file.
        most: pixels that it may have.

    Raises:
        ImageError: it is missing, empty, damaged, no picture, or larger than `most`.
    """
    if isinstance(source, bytes):
        name, content = "standard input", source
    else:
        name, content = str(source), _content(Path(source))
    if not content:
        raise ImageError(f"{name} is empty; give the picture itself")
    try:
        image = _open(content)
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is not a picture of a kind lgnet can read; give it as JPEG or PNG (a video with a usual ending, as .mp4)"
        ) from error
    except Exception as error:  # Pillow's readers raise anything at all on damaged files
        raise ImageError(f"{name} is damaged ({_brief(error)}); give an intact copy") from error
    with image:
        picture = decode(image, name, most)
    return replace(picture, file="-") if isinstance(source, bytes) else picture


def decode(image: Image.Image, name: str = "the picture", most: int = MAX_PIXELS) -> Picture:
    """A picture that Pillow has opened, as `read_image` gives it: upright, 8-bit RGB, with its EXIF focal length.

    Raises:
        ImageError: it is damaged, or larger than `most` pixels; `name` is what the sentence calls it.
    """
    if image.format == "EPS":  # Pillow would run Ghostscript on it
        raise ImageError(f"{name} is PostScript, a program, which lgnet does not run; give it as JPEG or PNG")
    width, height = image.size
    if width * height > most:
        raise ImageError(
            f"{name} has {width} x {height} pixels, more than the {most // 10**6} million that lgnet reads; "
            f"give a smaller copy"
        )
    try:
        image.load()
        focal = _focal_35mm(image)
        orientation = _orientation(image)  # after loading, as some readers turn the picture themselves
        pixels = _to_rgb(image if orientation not in _TURNS else image.transpose(_TURNS[orientation]))
    except Exception as error:
        raise ImageError(
            f"{name} is cut short or damaged ({_brief(error)}); give an intact copy, as JPEG or PNG"
        ) from error
    return Picture(pixels, name, focal)


def camera_from_exif(picture: Picture) -> Camera | None:
    """The camera by the picture's EXIF focal length in 35 mm film, or None where it has none.

    Makers mean the focal length by which film of the same diagonal sees as much (CIPA DCG-001). So the longer side, which a
    picture turned upright keeps, is 36 mm of film if the sides are as 3 to 2, else 34.6 mm, as of phones' 4:3 and of what
    these cut out of it in full width, as 16:9. The optical axis is taken to go through the middle. Pictures that were cut
    smaller get too short a focal length.
    """
    if picture.exif_focal_35mm is None:
        return None
    height, width = picture.pixels.shape[:2]
    longer, shorter = max(width, height), min(width, height)
    film = FILM_WIDTH if 1.45 < longer / shorter < 1.55 else PHONE_WIDTH
    focal = picture.exif_focal_35mm / film * longer
    return Camera(focal, focal, (width - 1) / 2, (height - 1) / 2)


@dataclass(frozen=True)
class Item:
    """One input, and where its results go."""

    path: str  # as it was named, or found; "-" is standard input, "camera:N" a camera, "rtsp://..." a stream
    stem: str  # of the results, relative to the folder of results, with "/" between folders
    kind: Literal["image", "video", "camera", "frames"]  # "frames": a folder whose pictures are one video
    whole: bool = False  # the stem is the whole file name, as another file differs in its suffix alone

    @property
    def shown(self) -> str:
        """What results and sentences call it: the path, of a stream without its user's name and password."""
        if not self.path.startswith(STREAMS):
            return self.path
        return f"{self.path.partition('://')[0]}://{_address(self.path)}"

    @property
    def key(self) -> str:
        """What files about the inputs may call it: its path below the folder that was named."""
        return self.stem if self.whole else self.stem + Path(self.path).suffix

    @property
    def moving(self) -> bool:
        """Does it give one result a frame?"""
        return self.kind != "image"


def only_ones(items: Sequence[Item]) -> set[str]:
    """The paths of those inputs that no other one shares its file name with: what is said of the name is said of them."""
    names = Counter(Path(item.path).name for item in items)
    return {item.path for item in items if names[Path(item.path).name] == 1}


def expand_inputs(inputs: Sequence[str], out: str | Path | None = None, sequence: bool = False) -> list[Item]:
    """Files, folders (with all their sub-folders, sorted), `-`, `camera:N` and `rtsp://...` as single inputs.

    A file that is missing is an item all the same, so that it fails by itself and the others are done. The same file
    named twice is one item.

    Args:
        inputs: what the user named.
        out: the folder of results; inside a folder of inputs it is passed over.
        sequence: each folder is one input, the pictures right in it being the frames of a video.

    Raises:
        ValueError: an input has no name, two would give results of the same name, or a camera's number is none.
    """
    items: list[Item] = []
    for name in inputs:
        if not name:
            raise ValueError("an input has no name (an empty variable of the shell?); name a picture, video or folder")
        if name == "-":
            items.append(Item(name, "stdin", "image"))
        elif name.startswith("camera:"):
            number = name.removeprefix("camera:")
            if not number.isdecimal() or int(number) > 999:
                raise ValueError(f"{name} is no camera; name one by its number, as camera:0")
            items.append(Item(name, f"camera{int(number)}", "camera"))
        elif name.startswith(STREAMS):
            items.append(Item(name, re.sub(r"[^A-Za-z0-9.-]+", "_", _address(name)).strip("_.") or "stream", "camera"))
        elif sequence and is_folder(name):
            items.append(Item(name, real(name).name or "frames", "frames"))
        elif is_folder(name):
            items.extend(_walk(Path(name), out))
        else:
            path = Path(name)
            items.append(Item(name, path.stem or "input", _kind(path)))
    taken: dict[tuple[str, bool], Item] = {}
    for item in _told_apart(items):
        first = taken.setdefault((item.stem, item.moving), item)
        if not _same(first.path, item.path):
            raise ValueError(
                f"{first.shown} and {item.shown} would both be written to {item.stem}.*; rename one, or give their "
                f"folders' common parent, or run lgnet once for each"
            )
    return list(taken.values())


def _told_apart(items: Sequence[Item]) -> list[Item]:
    """Files of one folder that differ in their suffixes alone (`a.jpg`, `a.png`) give results by their whole names."""
    whole: dict[tuple[str, bool], set[str]] = {}
    for item in items:
        if item.kind in ("image", "video") and item.path != "-":
            whole.setdefault((item.stem, item.moving), set()).add(item.path)
    alike = {key for key, paths in whole.items() if len(paths) > 1 and len({Path(p).parent for p in paths}) == 1}
    alike = {key for key in alike if len({Path(p).suffix.lower() for p in whole[key]}) == len(whole[key])}
    return [replace(item, stem=item.key, whole=True) if (item.stem, item.moving) in alike else item for item in items]


def _address(stream: str) -> str:
    """Without scheme, user's name and password."""
    return stream.partition("://")[2].rpartition("@")[2]


def _walk(folder: Path, out: str | Path | None) -> list[Item]:
    """The pictures and videos under a folder, by their suffixes; hidden files and the folder of results left out. Links to
    folders are followed, to each folder once.
    """
    been = {real(folder), *([real(out)] if out is not None else [])}
    found: list[Item] = []

    def unread(error: OSError) -> None:  # it fails when read, by a sentence
        below = Path(error.filename)
        if below != folder:
            found.append(Item(str(below), below.relative_to(folder).as_posix(), "image"))

    def new(below: Path) -> bool:
        where = real(below)
        if below.name.startswith(".") or where in been:
            return False
        been.add(where)
        return True

    for base, folders, files in os.walk(folder, onerror=unread, followlinks=True):
        folders[:] = [name for name in sorted(folders) if new(Path(base) / name)]
        for file in sorted(files):
            path = Path(base) / file
            if not file.startswith(".") and path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
                stem = path.relative_to(folder).with_name(path.stem).as_posix()
                found.append(Item(str(path), stem, _kind(path)))
    return found or [Item(str(folder), real(folder).name or "input", "image")]  # fails when read, by a sentence


def _kind(path: Path) -> Literal["image", "video"]:
    return "video" if path.suffix.lower() in VIDEO_SUFFIXES else "image"


def _same(a: str, b: str) -> bool:
    try:
        return a == b or (Path(a).exists() and Path(b).exists() and Path(a).samefile(b))
    except OSError:
        return False


def is_folder(name: str | Path) -> bool:
    """False too where the name is too long or may not be looked at: reading or writing it says so."""
    try:
        return Path(name).is_dir()
    except OSError:
        return False


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist; check the name") from error
    except IsADirectoryError as error:
        raise ImageError(f"{path} is a folder without any picture; give one with pictures in it") from error
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({_brief(error)}); check its permissions and its disk") from error


def _open(content: bytes) -> Image.Image:
    """Opened, not yet decoded; Pillow's own limit of size is held off meanwhile."""
    with _opening:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(content))
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _focal_35mm(image: Image.Image) -> float | None:
    """Millimetres; None where it is not known, or the EXIF block is damaged."""
    try:
        value = float(image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.FocalLengthIn35mmFilm, 0))
    except Exception:  # as above; the picture is still a picture
        return None
    return value if 8 <= value <= 5000 else None  # 0 stands for "not known"; below 8 there is no such lens


def _orientation(image: Image.Image) -> int:
    """1 to 8; 1, upright, where it is not known."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def _to_rgb(image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8."""
    if image.mode == "F" or image.mode.startswith("I"):
        grey = _grey8(np.asarray(image), image.mode)
        return np.repeat(grey[..., None], 3, 2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        white.alpha_composite(image)
        image = white
    return np.array(image.convert("RGB"))


def _grey8(values: np.ndarray, mode: str) -> np.ndarray:
    """16- and 32-bit grey (H, W) as uint8: whole numbers by the range of 16 bits, floats by 0..1 if nothing is above
    `BRIGHTEST`.
    """
    values = values.astype(np.float32)
    top = float(values[np.isfinite(values)].max(initial=0))
    if mode == "F" and top <= BRIGHTEST:
        full = 1.0
    else:
        full = next((full for full in ((255.0, 65535.0) if mode == "F" else (65535.0,)) if top <= full), top)
    values = np.nan_to_num(values, nan=0.0, posinf=full, neginf=0.0)
    return np.clip(np.round(values * (255 / full)), 0, 255).astype(np.uint8)


def _brief(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()).rstrip(".")[:120] or type(error).__name__
