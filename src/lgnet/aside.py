"""Files are written aside, then renamed: whoever looks finds the old file or the new one, never half of one."""

from __future__ import annotations

from pathlib import Path


def aside(path: Path, mark: str = "") -> Path:
    """Where a file is written until it is complete; `mark` tells apart processes that may write the same one at once."""
    return path.with_name(f"{path.name}{mark}.part")


def aside_moving(path: Path) -> Path:
    """The same for a video's files and folders, which keep their suffix, as writers go by it."""
    return path.with_name(f"{path.stem}.part{path.suffix}")


def write_aside(path: Path, content: bytes, mark: str = "") -> None:
    """Write beside the file, then rename.

    Args:
        path: of the file.
        content: of it.
        mark: as for `aside`.

    Raises:
        OSError: it cannot be written; nothing is left beside it then.
    """
    beside = aside(path, mark)
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error  # the file that was asked for
