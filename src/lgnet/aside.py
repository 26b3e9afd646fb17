"""Files are written aside, then renamed: whoever looks finds the old file or the new one, never half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def aside(path: Path, mark: str = "") -> Path:
    """Where a file is written until it is complete; `mark` tells apart processes that may write the same one at once."""
    return path.with_name(f"{path.name}{mark}.part")


def real(path: str | Path) -> Path:
    """The file or folder that a path stands for, links followed; of a ring of links (where `Path.resolve` raises) the path."""
    return Path(os.path.realpath(path))


def can_be_made(path: str | Path) -> bool:
    """Whether a file or folder of this name, and folders above it that are not there yet, can be made as far as that is seen."""
    there = next(folder for folder in Path(path).absolute().parents if os.path.lexists(folder))
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def aside_moving(path: Path) -> Path:
    """The same for a video's files and folders, which keep their suffix, as writers go by it."""
    return path.with_name(f"{path.stem}.part{path.suffix}")


@contextmanager
def written(path: Path, mark: str = "") -> Iterator[Path]:
    """Where to write the file: what stands there at the end takes its place, or is gone if anything went wrong."""
    beside = aside(path, mark)
    try:
        yield beside
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_together(contents: Mapping[Path, bytes | None]) -> list[Path]:
    """Write files that belong together: all beside their places, then renamed. Of None an earlier run's file goes.

    Returns:
        What was written.

    Raises:
        OSError: one cannot be written: nothing has changed then; or one cannot take its place.
    """
    begun: list[Path] = []
    try:
        for path, content in contents.items():
            if content is not None:
                begun.append(path)
                with _naming(path):
                    aside(path).write_bytes(content)
        for path, content in contents.items():
            with _naming(path):
                if content is None:
                    path.unlink(missing_ok=True)
                else:
                    aside(path).replace(path)
    except BaseException:
        for path in begun:
            aside(path).unlink(missing_ok=True)
        raise
    return begun


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """What fails is told by the name of the file that was asked for."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_aside(path: Path, content: bytes, mark: str = "") -> None:
    """Write beside the file, then rename.

    Args:
        path: of the file.
        content: of it.
        mark: as for `aside`.

    Raises:
        OSError: it cannot be written; nothing is left beside it then.
    """
    with _naming(path), written(path, mark) as beside:
        beside.write_bytes(content)
