"""The progress bar of long work: on standard error, and on a terminal only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn


@contextmanager
def progress_bar(*columns: ProgressColumn, shown: bool = True) -> Iterator[Progress]:
    """A bar with these columns beside the usual ones; nothing is seen of it where it is not `shown` or nobody looks."""
    console = Console(stderr=True)
    shown = shown and console.is_terminal
    progress = Progress(*Progress.get_default_columns(), *columns, console=console, transient=True, disable=not shown)
    if not shown:
        yield progress  # never started: older versions of rich end a bar by an empty line even in a pipe
        return
    with progress:
        yield progress
