"""A picture -> two hands in its camera's frame: find, crop, run the network, place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from . import __version__
from .checkpoint import load_network, load_state, load_weights
from .config import DetectorConfig, ModelConfig, SideConfig
from .crop import HandCrops, crop_geometry, cut_crops, hand_crops
from .data.sample import project
from .detect import Detection, Detector, Place, Tiles, build_detector, find_places, hidden_places
from .hand_model import HandModel, hand_length, load_hand_model
from .hands import SIDES, Camera, Hand, TwoHands
from .model.network import LGNet
from .model.records import Inputs, Output
from .people import MOST, group, nearest_pair
from .place import place_hands
from .side import SideNet, build_side_net, look_at_places

ASSUMED_FIELD_OF_VIEW = 60.0
"""Degrees along the picture's longer side, where nothing is known of the camera."""
LEAST_PRESENCE = 0.2
"""A found hand is dropped where the hand network's own presence of that side is below this."""
PERSON_SCORE = 0.3
"""Where all people are asked for, those are left out none of whose hands scores so much, but for the surest."""
BUNDLED = "lgnet-mobile"


@dataclass(frozen=True)
class View:
    """One picture as it is shown to the network."""

    image: np.ndarray  # (H, W, 3) uint8
    camera: Camera
    boxes: np.ndarray  # (2, 4)
    given: np.ndarray  # (2,) bool
    scores: np.ndarray  # (2,) how sure the finder was; 1 for given boxes


@dataclass(frozen=True)
class Finder:
    """What finds hands in a picture where no boxes are given."""

    detector: Detector
    side_net: SideNet


@dataclass(frozen=True)
class Model:
    """Networks ready to run; call it with a picture."""

    network: LGNet
    config: ModelConfig
    finder: Finder | None
    hand_models: tuple[HandModel, HandModel]  # right, left
    name: str
    hand_length: float | None = None
    """Metres, see `hand_model.hand_length`: both hands are made so long; None: as the network thinks they are."""
    everyone: bool = False
    """Results of pictures hold all people's hands (`TwoHands.people`), not only those of the nearest."""
    tiles: Tiles = "auto"
    """See `detect.find_places`."""

    def __call__(self, image: Any) -> TwoHands:
        """The hands of one picture: an array (H, W, 3) uint8 RGB, a PIL image, or a path.

        Raises:
            ValueError: the picture cannot be read, or is not such an array.
        """
        pixels, camera, file = _open(image)
        return self.predict(pixels, camera, file=file)

    def batch(self, images: Sequence[Any]) -> list[TwoHands]:
        """The same for many pictures at once, which is faster on a GPU."""
        opened = [_open(image) for image in images]
        views = [self.find(pixels, camera or assumed_camera(*_size(pixels))) for pixels, camera, _ in opened]
        results = self._look_twice(views)
        return [_named(result, file) for result, (_, _, file) in zip(results, opened)]

    def predict(
        self,
        image: np.ndarray,
        camera: Camera | None = None,
        boxes: np.ndarray | None = None,
        given: np.ndarray | None = None,
        file: str | None = None,
        doubtful: bool = False,
    ) -> TwoHands:
        """The hands of one picture.

        Args:
            image: (H, W, 3) uint8 RGB.
            camera: the picture's; None: a field of view is assumed, and the result says so.
            boxes: (2, 4) x, y, w, h of the right and left hand, pixels; None: lgnet finds the hands itself.
            given: (2,) bool, which of the boxes count; None with boxes: both.
            file: the name that the result carries.
            doubtful: the boxes are guesses: a hand that the network does not see in its box is left out, and its score
                is how sure the network is.

        Raises:
            ValueError: the picture is no such array, or a box is empty.
        """
        _check(image)
        camera = camera or assumed_camera(*_size(image))
        if boxes is None and self.everyone:
            result = self._everyone(image, camera)
        elif boxes is None:
            result = self._look_twice([self.find(image, camera)])[0]
        else:
            there = np.ones(2, bool) if given is None else np.asarray(given, bool)
            view = View(image, camera, np.asarray(boxes, np.float64), there, np.ones(2))
            result = self._run([view], drop=doubtful)[0]
        return _named(result, file)

    def find(self, image: np.ndarray, camera: Camera) -> View:
        """Where the hands are and which side each is."""
        if self.finder is None:
            raise ValueError("there are no weights to find hands with, so boxes must be given")
        return _as_view(image, camera, nearest_pair(*find_sides(self.finder, image, camera.K, tiles=self.tiles)))

    def _everyone(self, image: np.ndarray, camera: Camera) -> TwoHands:
        """The nearest pair, with all people's in `people`."""
        if self.finder is None:
            raise ValueError("there are no weights to find hands with, so boxes must be given")
        tiles: Tiles = "all" if self.tiles == "auto" else self.tiles
        found = group(*find_sides(self.finder, image, camera.K, MOST, tiles))
        views = [_as_view(image, camera, [hand for hand in person if hand is not None]) for person in found]
        people = [hands for hands in self._look_twice(views) if hands.hands]
        sure = [max(hand.score for hand in hands.hands) for hands in people]
        people = [hands for hands, score in zip(people, sure) if score >= min(PERSON_SCORE, max(sure))]
        people.sort(key=lambda hands: min(float(hand.translation[2]) for hand in hands.hands))
        nothing = TwoHands(None, None, *_size(image), camera, model=self._says())
        return replace(people[0] if people else nothing, people=tuple(people))

    def _look_twice(self, views: list[View]) -> list[TwoHands]:
        """Crop by the found boxes, then once more halfway to the boxes of the meshes that were seen.

        Only halfway, because an unsure network draws hands too small, and a crop that followed it would lose them.
        """
        first = self._run(views, drop=True)
        again = [
            _as_view(
                view.image,
                view.camera,
                [
                    Detection(side, float(view.scores[side]), (view.boxes[side] + _mesh_box(hand, view.camera)) / 2)
                    for side, hand in enumerate((hands.right, hands.left))
                    if hand is not None
                ],
            )
            for view, hands in zip(views, first)
        ]
        return self._run(again, drop=True)

    def _run(self, views: list[View], drop: bool) -> list[TwoHands]:
        """The network over those views that have a box; with `drop`, hands it does not see are left out."""
        out = [TwoHands(None, None, *_size(v.image), v.camera, model=self._says()) for v in views]
        busy = [index for index, view in enumerate(views) if view.given.any()]
        if not busy:
            return out
        output, crops = self._network([views[index] for index in busy])
        for row, (index, crop) in enumerate(zip(busy, crops)):
            out[index] = self._hands(output, row, views[index], crop, drop)
        return out

    def _network(self, views: Sequence[View]) -> tuple[Output, list[HandCrops]]:
        """The network's output for views that each have a box, and the crops it was shown."""
        c = self.config
        crops = [hand_crops(v.boxes, v.given, v.camera.K, c.crop_size, c.crop_enlarge, c.separation) for v in views]
        images = np.stack([cut_crops(v.image, crop, c.separation) for v, crop in zip(views, crops)])
        device = next(self.network.parameters()).device
        inputs = Inputs(
            images=torch.from_numpy(images).to(device).permute(0, 1, 4, 2, 3).float() / 255,
            given=torch.from_numpy(np.stack([v.given for v in views])).to(device),
            geometry=torch.from_numpy(np.stack([crop_geometry(crop, c.separation) for crop in crops])).to(device),
        )
        with torch.inference_mode():
            return self.network(inputs), crops

    def _hands(self, output: Output, row: int, view: View, crops: HandCrops, drop: bool) -> TwoHands:
        """One picture's hands from the network's output, turned from the crops into the camera's frame and placed."""

        def numpy(tensor: torch.Tensor) -> np.ndarray:
            return tensor[row].double().cpu().numpy()

        presence = 1 / (1 + np.exp(-numpy(output.joint.presence_logit)))
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
        )
        final, rough = numpy(output.refine.vertices), numpy(output.mesh.vertices)
        hands: list[Hand | None] = [None, None]
        for side, (crop, wrist) in enumerate(zip(crops.hands, wrists)):
            if crop is None or wrist is None:
                continue
            turned = rotations[side].copy()
            turned[0] = crop.rotation_to_camera(turned[0])
            if crop.mirrored:
                sign = np.array([-1.0, 1.0, 1.0])
                turned[1:] = turned[1:] * sign[:, None] * sign
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
            )
        return TwoHands(hands[0], hands[1], *_size(view.image), view.camera, model=self._says())

    def _scales(self, betas: np.ndarray) -> np.ndarray:
        """(2,) what makes hands of these shapes (2, 10) as long as the user said; 1 where nothing was said.

        The one unknown of a picture is its size: the placing then finds the distance at which hands so large look as
        they do, and what lies between the two wrists grows by the mean of both.
        """
        if self.hand_length is None:
            return np.ones(2)
        shapes = torch.from_numpy(betas).float()
        return np.array([self.hand_length / float(hand_length(m, b)) for m, b in zip(self.hand_models, shapes)])

    def _says(self) -> dict[str, str]:
        return {"weights": self.name, "hand_model": self.config.hand_model, "version": __version__}


def find_sides(
    finder: Finder, image: np.ndarray, K: np.ndarray, most: int = 4, tiles: Tiles = "auto"
) -> tuple[list[Place], np.ndarray]:
    """P places that may hold a hand, and (P, 3) how likely each is a right hand, a left hand, none; `most`, `tiles`: see
    `detect.find_places`.
    """
    places = find_places(finder.detector, image, most, tiles)
    if not places:
        return [], np.zeros((0, 3))
    sides, others = look_at_places(finder.side_net, image, [place.box for place in places], K)
    hidden = hidden_places(places, others)
    if hidden:
        more, _ = look_at_places(finder.side_net, image, [place.box for place in hidden], K)
        places, sides = [*places, *hidden], np.concatenate([sides, more])
    return places, sides


def load(weights: str = BUNDLED, device: str = "auto") -> Model:
    """Networks ready to run.

    Args:
        weights: a bundled name, or the path of a checkpoint of the hand network. What finds the hands is bundled.
        device: "auto" (CUDA, else Apple's MPS, else the CPU), "cpu", "cuda" or "mps".

    Raises:
        ValueError: there are no such weights, they are damaged or of another architecture, or no such device.
    """
    place = _device(device)
    path = weights if weights.endswith(".safetensors") or "/" in weights else bundled(weights)
    network, config, meta = load_network(path, place)
    models = tuple(load_hand_model(config.hand_model, side) for side in ("right", "left"))
    return Model(network, config, load_finder(place), models, str(meta.get("name", Path(path).stem)))  # type: ignore[arg-type]


def load_finder(
    device: torch.device, detector: str | Path | None = None, sides: str | Path | None = None
) -> Finder | None:
    """Detector and side network of these files, else the bundled ones, in eval mode; None where the package has none.

    Raises:
        ValueError: a file is damaged or of another architecture.
    """
    detector_path, side_path = Path(detector or _bundled_file("detector")), Path(sides or _bundled_file("sides"))
    if not (detector_path.is_file() and side_path.is_file()):
        return None
    values, state, _ = load_weights(detector_path, kind="detector")
    detector_net = build_detector(DetectorConfig(**{**values, "widths": tuple(values["widths"])}))
    load_state(detector_net, state, detector_path)
    values, state, _ = load_weights(side_path, kind="sides")
    side_net = build_side_net(SideConfig(**values))
    load_state(side_net, state, side_path)
    return Finder(detector_net.to(device).eval(), side_net.to(device).eval())


def bundled(name: str) -> str:
    """The path of weights that come with the package.

    Raises:
        ValueError: there are none of this name.
    """
    file = _bundled_file(name)
    if not file.is_file():
        names = sorted(f.stem for f in file.parent.glob("*.safetensors") if f.stem not in ("detector", "sides"))
        raise ValueError(f"there are no weights {name!r}; give a path, or one of: {', '.join(names) or 'none bundled'}")
    return str(file)


def _bundled_file(name: str) -> Path:
    return Path(str(resources.files("lgnet"))) / "weights" / f"{name}.safetensors"


def assumed_camera(width: int, height: int) -> Camera:
    """The camera of a picture nothing is known of: 60 degrees along the longer side, looking at the middle."""
    focal = max(width, height) / 2 / np.tan(np.deg2rad(ASSUMED_FIELD_OF_VIEW / 2))
    return Camera(focal, focal, (width - 1) / 2, (height - 1) / 2, assumed=True)


def _as_view(image: np.ndarray, camera: Camera, found: Sequence[Detection]) -> View:
    boxes, given, scores = np.zeros((2, 4)), np.zeros(2, bool), np.zeros(2)
    for detection in found:
        boxes[detection.side], given[detection.side] = detection.box, True
        scores[detection.side] = detection.score
    return View(image, camera, boxes, given, scores)


def _mesh_box(hand: Hand, camera: Camera) -> np.ndarray:
    """(4,) x, y, w, h of the mesh in the picture."""
    uv = project(hand.vertices, camera.K)
    low, high = uv.min(0), uv.max(0)
    return np.concatenate([low, high - low])


def _open(image: Any) -> tuple[np.ndarray, Camera | None, str | None]:
    if isinstance(image, np.ndarray):
        _check(image)
        return image, None, None
    from .image_io import camera_from_exif, read_image

    if isinstance(image, (str, Path)):
        picture = read_image(image)
        return picture.pixels, camera_from_exif(picture), str(image)
    return np.asarray(image.convert("RGB")), None, None


def _check(image: np.ndarray) -> None:
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
    return torch.device(name)
