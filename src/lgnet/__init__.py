"""lgnet: two 3D hand meshes from one ordinary picture.

>>> import lgnet
>>> model = lgnet.load()
>>> hands = model("photo.jpg")
>>> hands.right.joints3d  # (21, 3) metres, camera frame

Importing this imports no torch; `lgnet.load` does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .hands import Camera as Camera
    from .hands import Hand as Hand
    from .hands import TwoHands as TwoHands
    from .image_io import ImageError as ImageError
    from .predict import Model as Model
    from .predict import load as load

__version__ = "0.1.0"

_HOMES = {
    "Camera": "hands",
    "Hand": "hands",
    "ImageError": "image_io",
    "Model": "predict",
    "TwoHands": "hands",
    "load": "predict",
}
__all__ = ["Camera", "Hand", "ImageError", "Model", "TwoHands", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """The public names, imported when they are first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lgnet' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All there is, asked for or not."""
    return sorted({*globals(), *__all__})
