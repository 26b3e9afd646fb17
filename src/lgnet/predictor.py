"""What reconstructs hands, as all that uses it sees it: `lgnet.load(...)` or anything like it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .hands import Camera, TwoHands

if TYPE_CHECKING:
    from .predict import View


class Predicts(Protocol):
    """Of single pictures: what is evaluated."""

    def predict(
        self,
        image: np.ndarray,
        camera: Camera | None = None,
        boxes: np.ndarray | None = None,
        given: np.ndarray | None = None,
    ) -> TwoHands:
        """The hands of one picture (H, W, 3) uint8 RGB; boxes (2, 4) and given (2,) of right and left, or None: it finds them."""
        ...


class Predictor(Predicts, Protocol):
    """Of pictures and films: see `predict.Model`."""

    def predict(
        self,
        image: np.ndarray,
        camera: Camera | None = None,
        boxes: np.ndarray | None = None,
        given: np.ndarray | None = None,
        file: str | None = None,
    ) -> TwoHands:
        """The hands of one picture (H, W, 3) uint8 RGB; boxes (2, 4) and given (2,) of right and left, or None: it finds them."""
        ...

    def predict_same(
        self,
        images: Sequence[np.ndarray],
        camera: Camera | None,
        boxes: np.ndarray,
        given: np.ndarray,
        file: str | None = None,
    ) -> list[TwoHands]:
        """The hands of several frames in the same boxes."""
        ...

    def find(self, image: np.ndarray, camera: Camera) -> View:
        """Where the hands are and which side each is."""
        ...

    def look(self, view: View, file: str | None = None) -> TwoHands:
        """The hands where `find` found them."""
        ...
