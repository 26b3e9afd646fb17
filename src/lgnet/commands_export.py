"""`lgnet export`: what it is told and what it says. As commands.py, it imports when it runs."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import arg

from .commands import Weights
from .config import BUNDLED


def export(out: Annotated[str, arg(metavar="FILE.onnx")], weights: Weights = BUNDLED) -> int:
    """Write a network as ONNX, for other programs and runtimes, and check that it says the same.

    docs/export.md says what goes in and what comes out.

    Args:
        out: the file to write.
        weights: the bundled lgnet-mobile, detector, pair or sides, or a hand network's checkpoint by path.
    """
    from . import export as work

    done = work.export(weights, out)
    print(f"{done.path}: {done.megabytes:.1f} MB; greatest difference from PyTorch on batches of {work.CHECKED}:")
    for name, difference in done.differences.items():
        print(f"  {name}: {difference:.1e}")
    return 0
