"""Files are written aside, then renamed: whoever looks finds the old file or the new one, never half of one."""

from __future__ import annotations

from pathlib import Path


def write_aside(path: Path, content: bytes, mark: str = "") -> None:
    """Write beside the file, then rename.

    Args:
        path: of the file.
        content: of it.
        mark: tells apart processes that may write the same file at once.

    Raises:
        OSError: it cannot be written; nothing is left beside it then.
    """
    aside = path.with_name(f"{path.name}{mark}.part")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
