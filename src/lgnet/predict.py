"""A picture -> two hands in its camera's frame: find, crop, run the network, place."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from . import __version__
from .checkpoint import load_network
from .confidence import Calibration, features, from_meta
from .config import BUNDLED, ModelConfig
from .crop import HandCrops, crop_geometry, cut_crops, hand_crops
from .data.sample import project
from .detect import Detection
from .finder import Finder, FindsHands, load_finder, weights_file
from .geometry import box_of, meets_picture
from .hand_model import HandModel, length_of, load_hand_model
from .hands import SIDES, WRIST, Camera, Hand, TwoHands, assumed_camera, camera_of
from .model.mesh_stage import project_weak
from .model.network import LGNet
from .model.records import Inputs, Output, as_input
from .opinion import Opinion, closer
from .place import place_hands
from .tta import mean_of_rolls, rolls

LEAST_PRESENCE = 0.05
"""A found hand is dropped where the hand network's own presence of that side is below this: small, because side and hand have
been decided with its word already, and where its side is in doubt a hand is still one (docs/trials.md)."""
PERSON_SCORE = 0.3
"""Where all people are asked for, those are left out none of whose hands scores so much, but for the surest."""


@dataclass(frozen=True)
class View:
    """One picture as it is shown to the network."""

    image: np.ndarray  # (H, W, 3) uint8
    camera: Camera
    boxes: np.ndarray  # (2, 4)
    given: np.ndarray  # (2,) bool
    scores: np.ndarray  # (2,) how sure the finder was; 1 for given boxes


@dataclass(frozen=True)
class Model:
    """Networks ready to run; call it with a picture."""

    network: LGNet
    config: ModelConfig
    finder: FindsHands | None
    hand_models: tuple[HandModel, HandModel]  # right, left
    name: str
    hand_length: float | None = None
    """Metres, see `hand_model.hand_length`: both hands are made so long; None: as the network thinks they are."""
    calibration: Calibration | None = None
    """What makes expected errors of the network's output; None: nobody fitted any to these weights."""
    tta: int = 1
    """Test-time augmentation: the crops of each hand of a picture, see `lgnet.tta`; hands that are followed get one."""
    everyone: bool = False
    """Results of pictures hold all people's hands (`TwoHands.people`), not only those of the nearest."""

    def __call__(self, image: Any) -> TwoHands:
        """The hands of one picture: an array (H, W, 3) uint8 RGB, a PIL image, or a path.

        Raises:
            ValueError: the picture cannot be read, or is none of these.
        """
        pixels, camera, file = _open(image)
        return self.predict(pixels, camera, file=file)

    def batch(self, images: Sequence[Any]) -> list[TwoHands]:
        """The same for many pictures at once, which is faster on a GPU."""
        if self.everyone:
            return [self(image) for image in images]
        opened = [_open(image) for image in images]
        views = [self.find(pixels, camera or assumed_camera(*_size(pixels))) for pixels, camera, _ in opened]
        results = self._run(views, True, self.tta)
        return [_named(result, file) for result, (_, _, file) in zip(results, opened)]

    def predict(
        self,
        image: np.ndarray,
        camera: Camera | None = None,
        boxes: np.ndarray | None = None,
        given: np.ndarray | None = None,
        file: str | None = None,
    ) -> TwoHands:
        """The hands of one picture.

        Args:
            image: (H, W, 3) uint8 RGB.
            camera: the picture's; None: a field of view is assumed, and the result says so.
            boxes: (2, 4) x, y, w, h of the right and left hand, pixels; None: lgnet finds the hands itself.
            given: (2,) bool, which of the boxes count; None with boxes: both.
            file: the name that the result carries.

        Raises:
            ValueError: the picture is no such array, the boxes are none, or a box is empty or outside the picture.
        """
        _check(image)
        camera = camera or assumed_camera(*_size(image))
        if boxes is None and self.everyone:
            return _named(self._everyone(image, camera), file)
        if boxes is None:
            return self.look(self.find(image, camera), file)
        there = np.ones(2, bool) if given is None else np.asarray(given, bool)
        boxes = np.asarray(boxes, np.float64)
        if boxes.shape != (2, 4) or there.shape != (2,):
            raise ValueError(
                f"boxes are (2, 4) and given is (2,), of right and left, not {boxes.shape} and {there.shape}"
            )
        _check_inside(boxes, there, image)
        view = View(image, camera, boxes, there, np.ones(2))
        return _named(self._run([view], False, self.tta)[0], file)

    def predict_same(
        self,
        images: Sequence[np.ndarray],
        camera: Camera | None,
        boxes: np.ndarray,
        given: np.ndarray,
        file: str | None = None,
    ) -> list[TwoHands]:
        """The hands of several frames of one film in the same boxes (2, 4), all at once. The boxes are guesses: a hand that the
        network does not see in its box is left out, and its score is how sure the network is.
        """
        camera = camera or assumed_camera(*_size(images[0]))
        views = [View(image, camera, boxes, given, np.ones(2)) for image in images]
        return [_named(hands, file) for hands in self._run(views, drop=True)]

    def look(self, view: View, file: str | None = None) -> TwoHands:
        """The hands of a picture in which `find` found them."""
        return _named(self._run([view], True, self.tta)[0], file)

    def find(self, image: np.ndarray, camera: Camera) -> View:
        """Where the hands are and which side each is."""
        if self.finder is None:
            raise ValueError("there are no weights to find hands with, so boxes must be given")
        found = self.finder.detections(image, camera.K)
        if found and not (isinstance(self.finder, Finder) and self.finder.seen):  # which has asked the network already
            seen = self.either_side(image, [hand.box for hand in found], camera.K).boxes
            found = [replace(hand, box=closer(hand.box, boxes[hand.side])) for hand, boxes in zip(found, seen)]
        return _as_view(image, camera, found)

    def _everyone(self, image: np.ndarray, camera: Camera) -> TwoHands:
        """The nearest pair, with all people's in `people`."""
        if not isinstance(self.finder, Finder):
            raise ValueError("all people's hands are found by lgnet's own finder only")
        views = [_as_view(image, camera, person) for person in self.finder.everyone(image, camera.K)]
        people = [hands for hands in self._run(views, True, self.tta) if hands.hands]
        sure = [max(hand.score for hand in hands.hands) for hands in people]
        people = [hands for hands, score in zip(people, sure) if score >= min(PERSON_SCORE, max(sure))]
        people.sort(key=lambda hands: min(float(hand.translation[2]) for hand in hands.hands))
        nothing = TwoHands(None, None, *_size(image), camera, model=self._says())
        return replace(people[0] if people else nothing, people=tuple(people))

    def _run(self, views: list[View], drop: bool, tta: int = 1) -> list[TwoHands]:
        """The network over those views that have a box; with `drop`, hands it does not see are left out."""
        out = [TwoHands(None, None, *_size(v.image), v.camera, model=self._says()) for v in views]
        busy = [index for index, view in enumerate(views) if view.given.any()]
        if not busy:
            return out
        angles = rolls(tta)
        inputs, crops = self._inputs([views[index] for index in busy], angles.tolist())
        output = self._forward(inputs)
        errors = self._errors(inputs, output)
        if tta > 1:
            output = mean_of_rolls(output, angles, self.config.separation == "crops")
            errors = None if errors is None else errors.reshape(-1, tta, *errors.shape[1:]).mean(1)
        for row, (index, crop) in enumerate(zip(busy, crops)):
            expected = None if errors is None else errors[row]
            out[index] = self._hands(output, row, views[index], crop, drop, expected)
        return out

    def show(self, views: Sequence[View], keep_attention: bool = False) -> tuple[Output, list[HandCrops]]:
        """The network's output for views that each have a box, looked at once, and the crops it was shown."""
        inputs, crops = self._inputs(views, [0.0])
        return self._forward(inputs, keep_attention), crops

    def either_side(self, image: np.ndarray, boxes: Sequence[np.ndarray], K: np.ndarray) -> Opinion:
        """What the network makes of boxes as right and as left hands, see `opinion.Seen`."""
        views = [View(image, camera_of(K), np.stack([box, box]), np.ones(2, bool), np.ones(2)) for box in boxes]
        inputs, crops = self._inputs(views, [0.0])
        output = self._forward(inputs)
        errors = self._errors(inputs, output)
        presence = output.joint.presence_logit.cpu().double().numpy()
        outlines = project_weak(output.refine.vertices, output.mesh.camera).cpu().double().numpy()
        seen = [
            [box_of(hand.crop_to_image(points)) for hand, points in zip(crop.hands, uv) if hand is not None]
            for crop, uv in zip(crops, outlines)
        ]
        return Opinion(presence, None if errors is None else errors[:, :, 1:, 1].mean(2), np.array(seen))

    def _inputs(self, views: Sequence[View], angles: Sequence[float]) -> tuple[Inputs, list[HandCrops]]:
        """What the network is shown of views that each have a box, rolled by each angle; and their crops, not rolled."""

        def crops(view: View, roll: float) -> HandCrops:
            c = self.config
            return hand_crops(view.boxes, view.given, view.camera.K, c.crop_size, c.crop_enlarge, c.separation, roll)

        way = self.config.separation
        shown = [(view, crops(view, angle)) for view in views for angle in angles]
        images = np.stack([cut_crops(view.image, crop, way) for view, crop in shown])
        device = next(self.network.parameters()).device
        inputs = Inputs(
            images=as_input(images, device),
            given=torch.from_numpy(np.stack([view.given for view, _ in shown])).to(device),
            geometry=torch.from_numpy(np.stack([crop_geometry(crop, way) for _, crop in shown])).to(device),
        )
        return inputs, [crops(view, 0.0) for view in views]

    def _forward(self, inputs: Inputs, keep_attention: bool = False) -> Output:
        with torch.inference_mode():
            return self.network(inputs, keep_attention)

    def _errors(self, inputs: Inputs, output: Output) -> np.ndarray | None:
        """(B, 2, 21, 2) what to expect: metres relative to the wrist, and half crops; None of weights not calibrated."""
        if self.calibration is None:
            return None
        with torch.inference_mode():
            return self.calibration(features(inputs, output)).cpu().double().numpy()

    def _hands(
        self, output: Output, row: int, view: View, crops: HandCrops, drop: bool, errors: np.ndarray | None
    ) -> TwoHands:
        """One picture's hands from the network's output, turned from the crops into the camera's frame and placed."""

        def numpy(tensor: torch.Tensor) -> np.ndarray:
            return tensor[row].cpu().double().numpy()

        presence = numpy(output.joint.presence_logit.sigmoid())
        there = view.given & ((presence > LEAST_PRESENCE) if drop else True)
        joints2d, joints3d = numpy(output.joint.joints25d)[..., :2], numpy(output.refine.joints)
        relative = numpy(output.mesh.relative) if there.all() else None
        rotations, betas = numpy(output.mesh.rotations), numpy(output.mesh.betas)
        scales = self._scales(betas)
        joints3d = joints3d * scales[:, None, None]
        relative = None if relative is None else relative * scales.mean()
        wrists = place_hands(
            [joints2d[s] if there[s] else None for s in (0, 1)],
            [joints3d[s] if there[s] else None for s in (0, 1)],
            crops,
            relative,
            None if errors is None else errors[..., 1],
        )
        final, rough = numpy(output.refine.vertices), numpy(output.mesh.vertices)
        hands: list[Hand | None] = [None, None]
        for side, (crop, wrist) in enumerate(zip(crops.hands, wrists)):
            if crop is None or wrist is None:
                continue
            turned = crop.pose_to_camera(rotations[side])
            joints = crop.to_camera(joints3d[side]) + wrist
            hands[side] = Hand(
                side=SIDES[side],
                score=float(view.scores[side] * (presence[side] if drop else 1.0)),
                box=view.boxes[side],
                joints2d=project(joints, view.camera.K),
                joints3d=joints,
                vertices=crop.to_camera(final[side] * scales[side]) + wrist,
                vertices_rough=crop.to_camera(rough[side] * scales[side]) + wrist,
                faces=self.hand_models[side].faces.numpy(),
                pose=np.stack([cv2.Rodrigues(r)[0][:, 0] for r in turned]),
                shape=betas[side],
                translation=wrist,
                scale=float(scales[side]),
                joint_errors=None if errors is None else errors[side, :, 0] * scales[side] * (np.arange(21) != WRIST),
            )
        return TwoHands(hands[0], hands[1], *_size(view.image), view.camera, model=self._says())

    def _scales(self, betas: np.ndarray) -> np.ndarray:
        """(2,) what makes hands of these shapes (2, 10) as long as the user said; 1 where nothing was said.

        The one unknown of a picture is its size: the placing then finds the distance at which hands so large look as
        they do, and what lies between the two wrists grows by the mean of both.
        """
        if self.hand_length is None:
            return np.ones(2)
        return np.array([self.hand_length / length_of(m, b) for m, b in zip(self.hand_models, betas)])

    def _says(self) -> dict[str, str]:
        return {"weights": self.name, "hand_model": self.config.hand_model, "version": __version__}


def load(weights: str | Path = BUNDLED, device: str = "auto", tta: int = 1) -> Model:
    """Networks ready to run.

    Args:
        weights: a bundled name, or the path of a checkpoint of the hand network. What finds the hands is bundled.
        device: "auto" (CUDA, else Apple's MPS, else the CPU), "cpu", "cuda" or "mps".
        tta: test-time augmentation, so many crops of each hand of a picture: 3 are better than 1 and take longer (`lgnet.tta`).

    Raises:
        ValueError: there are no such weights, they are damaged or of another architecture, or no such device; or fewer
            crops than one.
    """
    rolls(tta)  # says what is wrong with it before the work
    place = _device(device)
    weights = str(weights)
    path = weights_file(weights)
    network, config, meta = load_network(path, place)
    models = tuple(load_hand_model(config.hand_model, side) for side in ("right", "left"))
    name = str(meta.get("name", Path(path).stem))
    calibration = from_meta(meta, place)
    model = Model(network, config, None, models, name, calibration=calibration, tta=tta)  # type: ignore[arg-type]
    finder = load_finder(place)
    return model if finder is None else replace(model, finder=replace(finder, seen=model.either_side))


def _check_inside(boxes: np.ndarray, there: np.ndarray, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    for side, box in enumerate(boxes):
        if there[side] and not meets_picture(box, height, width):
            raise ValueError(
                f"the {SIDES[side]} hand's box {box.tolist()} lies outside the picture of {width} x {height} pixels; "
                f"boxes are x, y, width, height in pixels of the upright picture"
            )


def _as_view(image: np.ndarray, camera: Camera, found: Sequence[Detection]) -> View:
    boxes, given, scores = np.zeros((2, 4)), np.zeros(2, bool), np.zeros(2)
    for detection in found:
        boxes[detection.side], given[detection.side] = detection.box, True
        scores[detection.side] = detection.score
    return View(image, camera, boxes, given, scores)


def _open(image: Any) -> tuple[np.ndarray, Camera | None, str | None]:
    if isinstance(image, np.ndarray):
        _check(image)
        return image, None, None
    from PIL import Image

    from .image_io import camera_from_exif, decode, read_image

    if isinstance(image, (str, Path)):
        picture = read_image(image)
        return picture.pixels, camera_from_exif(picture), str(image)
    if not isinstance(image, Image.Image):
        raise ValueError(
            f"a picture is a path, an (H, W, 3) uint8 RGB array or a PIL image, not {type(image).__name__}"
        )
    picture = decode(image)
    return picture.pixels, camera_from_exif(picture), None


def _check(image: np.ndarray) -> None:
    if not isinstance(image, np.ndarray):
        raise ValueError(
            f"a picture is an array (H, W, 3) of uint8 RGB, not {type(image).__name__}; model(...) takes paths too"
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or min(image.shape[:2]) < 1:
        raise ValueError(f"a picture is an array (H, W, 3) of uint8 RGB, not {image.shape} of {image.dtype}")


def _size(image: np.ndarray) -> tuple[int, int]:
    return image.shape[1], image.shape[0]


def _named(hands: TwoHands, file: str | None) -> TwoHands:
    return replace(hands, file=file)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name not in ("cpu", "cuda", "mps"):
        raise ValueError(f"there is no device {name!r}; choose auto, cpu, cuda or mps")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("no CUDA device can be used here; choose --device cpu or auto")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ValueError("no Apple MPS device can be used here; choose --device cpu or auto")
    if name == "cuda" and "LOCAL_RANK" in os.environ:  # torchrun: each of a machine's processes its own
        return torch.device(name, int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    return torch.device(name)


def fingerprint(model: Model) -> str:
    """SHA-256 of all weights, and the calibration, that a model's answers depend on, in hexadecimal."""
    finder = model.finder
    finds = [finder.detector, finder.side_net, finder.pair_net] if isinstance(finder, Finder) else []
    networks = [model.network, *finds]
    total = hashlib.sha256()
    told = [*(network.state_dict() for network in networks), vars(model.calibration) if model.calibration else {}]
    for name, value in (item for values in told for item in values.items()):
        total.update(name.encode() + value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
