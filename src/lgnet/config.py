"""Every choice there is, as frozen dataclasses; presets.py has those with names. No torch: the command line is to be quick.

A preset is a plain value; `dataclasses.replace` makes variants; the command line's options are made from the fields.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar


@dataclass(frozen=True)
class ModelConfig:
    """The network. Flags named after the paper's ablations are True in the paper's form."""

    backbone: str = "resnet50"
    """"resnet50", "mobile" (ours), or "hf:NAME" for one of transformers, in the hub or a folder (`pip install transformers`)."""
    mobile_depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    """Blocks of each of the mobile backbone's stages. Further ones begin as their shortcuts, so that --init of a shallower
    network's weights changes nothing."""
    separation: Literal["heads", "crops"] = "heads"
    """"heads": one crop of both hands, two 1x1 heads (the paper). "crops": one crop a hand, the left one mirrored."""
    crop_size: int = 256
    """Pixels."""
    crop_enlarge: float = 1.25
    """How much wider than the hand's box a crop is."""
    channels: int = 512
    """c, the width of F_R and F_L; the paper's full model has C / 4 = 512, Light has C / 8 = 256."""
    grid: int = 8
    """h = w of F_R and F_L."""
    heatmap_size: int = 8
    """Side of the joint heat maps; `grid` times a power of two, reached by transposed convolutions."""
    heatmap_depth: int = 8
    """Cells of the heat maps in depth."""
    depth_range: float = 0.15
    """Metres: the heat map's z runs over +- this, relative to the wrist; centres of its cells, and so what it can say, over
    +- (1 - 1 / heatmap_depth) of it: 0.131 m, so fingertips farther before or behind the wrist are out of its reach."""
    joint_channels: int = 512
    """Width of a joint token."""
    lgfa_depth: int = 1
    """Blocks of each LGFA, the attention between the two hands' cells."""
    lgfa_heads: int = 1
    """Attention heads of each."""
    graph: Literal["gin", "cheb"] = "gin"
    """The local unit's graph convolution: GIN, or Chebyshev's."""
    sjt_depth: int = 4
    """Layers of the self-joint transformer, the mesh stage's."""
    sjt_heads: int = 4
    """Attention heads of each."""
    refine_channels: int = 64
    """Width of the refine stage's nodes."""
    hand_model: Literal["lgnet", "mano"] = "lgnet"
    """Whose pose, shape and mesh are predicted; "mano" takes MANO's own files (MANO_DIR)."""
    joint_stage: bool = True
    """False: joints by fully-connected layers from the pooled features."""
    mesh_stage: bool = True
    """False: hand-model parameters by fully-connected layers from the pooled features, no transformer."""
    refine_stage: bool = True
    """False: the rough mesh is the final one."""
    separate: bool = True
    """False: hands not separated; both hands' features are the same map."""
    lgblock: bool = True
    """False: F*_R = F_R (widened by a 1x1 convolution)."""
    local_unit: bool = True
    """False: the LGBlock without its local unit."""
    global_unit: bool = True
    """False: the LGBlock without its global unit."""
    block: Literal["lgnet", "eanet"] = "lgnet"
    """"eanet": EANet's block in the LGBlock's place, to compare; it has four blocks of four heads (lgfa_depth, lgfa_heads)."""
    dense_head: bool = False
    """Part segmentation from the backbone, for pre-training; not used in prediction."""
    surface_head: bool = False
    """The dense head also says where on the hand each cell lies, as coordinates of the hand at rest."""


MEANING = ("separation", "crop_enlarge", "depth_range", "hand_model")
"""Of a `ModelConfig`: what a network's inputs and answers mean, whatever its weights' shapes."""
HEADS = ("lgfa_heads", "sjt_heads")
"""Of a `ModelConfig`: how weights are read, whatever their shapes."""


@dataclass(frozen=True)
class DetectorConfig:
    """The hand detector."""

    size: int = 224
    """Side of the letterboxed picture it looks at, pixels; a multiple of 32."""
    widths: tuple[int, int, int, int, int] = (16, 32, 48, 96, 128)
    """Channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the picture."""


@dataclass(frozen=True)
class SideConfig:
    """The network that tells right hands from left ones."""

    crop_size: int = 128
    """Pixels."""
    crop_enlarge: float = 1.4
    """How much wider than the hand's box it looks."""
    grid: int = 4
    """Side of the backbone's last map; crop_size over 8, 16 or 32."""
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    """Blocks of each of the backbone's stages; see `ModelConfig.mobile_depths`."""


@dataclass(frozen=True)
class PairConfig:
    """The network that looks at both hands together."""

    crop_size: int = 160
    """Pixels."""
    crop_enlarge: float = 1.5
    """How much wider than what was found it looks."""
    grid: int = 10
    """Side of the backbone's last map; crop_size over 8, 16 or 32."""
    depths: tuple[int, int, int, int] = (2, 4, 10, 3)
    """Blocks of each of the backbone's stages; see `ModelConfig.mobile_depths`."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss's terms; 0 switches one off (L_normal, L_edge, L_lap are the paper's ablations).

    Every term is a mean of metres unless said otherwise, so a weight of 10 makes an error of 1 cm cost 0.1.
    """

    joints25d: float = 4.0
    """Half crops in x and y, 0.15 m in z. With 1, joints are learnt later and the mesh no sooner (docs/results.md)."""
    pose: float = 2.0
    """Entries of rotation matrices."""
    shape: float = 0.5
    """Standard deviations. Much less, and an unsure network shrinks its hands: that lowers every error of place."""
    joints3d: float = 10.0
    """Of the rough and the final mesh."""
    projected: float = 1.0
    """Half crops."""
    relative: float = 10.0
    """Left wrist minus right wrist."""
    vertices_rough: float = 10.0
    """Of the mesh stage."""
    vertices: float = 10.0
    """Of the refine stage."""
    normal: float = 0.02
    """|cosine|."""
    edge: float = 2.0
    """With 100 here, 0.1 above and 100 below any offset costs more than it can gain: the refine stage then learns none at all
    (docs/trials.md)."""
    laplacian: float = 5.0
    """A vertex from its neighbours' mean."""
    presence: float = 0.3
    """Nats."""
    parts: float = 0.2
    """Nats."""
    surface: float = 1.0
    """Decimetres on the hand at rest."""


@dataclass(frozen=True)
class SynthConfig:
    """What synthetic pictures are drawn from."""

    size: int = 256
    """Pixels."""
    kinds: tuple[float, float, float, float] = (0.5, 0.2, 0.25, 0.05)
    """Shares of interacting, separate, single, none."""
    everyday: float = 0.6
    """Share of poses from the library of what people do before a camera; the rest is the broad prior."""
    signs: float = 0.0
    """Share of hands whose fingers are straight, bent or curled each for itself, shown as people show signs."""
    gestures: float = 0.0
    """Of the hands that show no sign, share with one of the further key poses of synth/gestures.py."""
    wrist_bend: float = 22.0
    """Degrees, standard deviation of the wrist's flexion; its deviation is a little less than half of it."""
    bank: float = 0.0
    """Share of interacting pairs from the bank of two-hand poses (synth/pairs.py); the rest are put together at random."""
    people: float = 0.0
    """Share of pictures with the person whose hands they are, where the arms allow one; half as often bystanders."""
    held: float = 0.0
    """Share of hands, interacting ones left out, that hold something where their pose allows it."""
    places: float = 0.0
    """Share of pictures, dark studios left out, before a room, desk, screen, page, foliage or street made by code."""
    backgrounds: str | None = None
    """Folder of photographs to use as backgrounds (parts of them, in 4 of 5 pictures); None: code alone."""
    difficulty: float = 0.5
    """0 clean, 1 hard: blur, noise, odd colours, occluders."""
    toned: float = 0.0
    """Share of pictures with the contrast and sharpness that cameras give to photographs."""
    lens: float = 0.0
    """Share of pictures whose lens bends straight lines, labels with them; strongly only with `full_frame` (docs/data.md)."""
    looks: float = 0.0
    """Share of pictures with detailed skin, things worn, and more kinds of light and cameras (docs/data.md, "Looks")."""
    fill: tuple[float, float] = (0.42, 0.75)
    """Least and greatest share of the picture's side that the hands' common box takes."""
    full_frame: bool = False
    """True: hands anywhere and of any size in the picture, as a camera sees them (for the detector)."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    task: Literal["hands", "detector", "sides", "pair"] = "hands"
    """Which network; leave it to the preset."""
    model: ModelConfig = field(default_factory=ModelConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    side: SideConfig = field(default_factory=SideConfig)
    pair: PairConfig = field(default_factory=PairConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    synth: SynthConfig = field(default_factory=SynthConfig)
    out: str = "runs/lgnet"
    """Folder of the run."""
    init: str | None = None
    """Weights to start from (what fits by name and shape is taken, the rest is reported)."""
    only: tuple[str, ...] = ()
    """Parts of the network that are trained, as refine_stage; the others stay as --init has them, their BatchNorm too. None
    named: all are."""
    data: tuple[str, ...] = ()
    """Real data to mix in, each NAME:ROOT=SHARE of all pictures, as interhand26m-train:ROOT=0.5; the rest is synthetic."""
    teacher: tuple[str, ...] = ()
    """Weights to learn from besides the truth: one file, or two whose agreement says how much they count."""
    teacher_weight: float = 1.0
    """Of what they say, beside the loss of the truth."""
    teacher_ema: float = 0.0
    """0: teachers stay as they are. Above: they are averages of the network with this decay, in turns (self-training)."""
    fit_within: float = 10.0
    """Millimetres: hands of `data` that lack pose and shape of the network's hand model are fitted to their 3D joints, once,
    before training; fits further off than this on average are not used. 0: nothing is fitted."""
    jitter: float = 1.0
    """How far crops that hand networks train on are off, times what a detector is off; 0: as exact as in evaluation."""
    samples: int = 1_000_000
    """How many to train on, over all processes."""
    batch_size: int = 32
    """Samples of a process that go through the network at once."""
    accumulate: int = 1
    """Batches whose gradients are added up to one step."""
    optimiser: Literal["adamw", "muon"] = "adamw"
    """"muon": orthogonal momentum for the matrices of hidden layers (muon.py), AdamW for the rest."""
    learning_rate: float = 1e-3
    """After the warm-up."""
    weight_decay: float = 1e-4
    """Of matrices only."""
    warmup: int = 10_000
    """Samples over which the rate rises."""
    decay: int = 0
    """Samples at the end over which the rate falls to zero; 0: constant to the end, so the run can go on."""
    ema: float = 0.999
    """Decay a step of the averaged weights, which are what is evaluated and kept."""
    clip: float = 1.0
    """Largest norm of a step's gradient."""
    renderers: int = 1
    """Processes that render pictures ahead."""
    ring: int = 2048
    """Pictures kept ready in shared memory, for each process."""
    reuse: int = 4
    """How often a picture is used, each time cropped and coloured anew, before it is replaced. Training waits for the
    renderers where they do not keep up: more renderers, or a higher number here."""
    readers: int = 2
    """Threads that read real pictures."""
    real_data: str | None = None
    """Root of real annotated pictures to watch (never to train on)."""
    evaluate_every: int = 50_000
    """Samples."""
    checkpoint_every: int = 10_000
    """Samples."""
    seed: int = 0
    """Of pictures, their order, augmentation and fresh weights."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """auto: bf16 where the machine has units for it."""
    devices: int = 1
    """Processes, each with its own GPU where there are GPUs; under torchrun, torchrun's number counts."""
    threads: int = 0
    """Threads of torch per process; 0: torch decides."""
    compile: bool = False
    """Compile the network (torch.compile; wants a C++ compiler): minutes at the start, a fifth or more faster after."""


MOST_SEED = 65535
"""Of pictures that anybody draws; those of synth-bench and of `scripts/calibrate.py` are above."""

BUNDLED = "lgnet-mobile"
"""The weights that come with the package, and the preset of their network."""


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain values, as it stands in a checkpoint."""
    return dataclasses.asdict(config)


Kind = TypeVar("Kind")


def from_dict(kind: type[Kind], values: dict[str, Any]) -> Kind:
    """A configuration of this kind from plain values: the inverse of `to_dict`, but for configurations within one. What an older
    version did not know yet has its default.

    Raises:
        ValueError: a name there is no field for, which means that another version of lgnet wrote it.
    """
    unknown = sorted(set(values) - {f.name for f in dataclasses.fields(kind)})  # type: ignore[arg-type]
    if unknown:
        raise ValueError(f"the {kind.__name__} has fields this version of lgnet does not know: {', '.join(unknown)}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def train_config(values: dict[str, Any]) -> TrainConfig:
    """The inverse of `to_dict` for a TrainConfig; what an older version did not know yet has its default.

    Raises:
        ValueError: a name there is no field for, or not a configuration at all.
    """
    kinds = {
        "model": ModelConfig,
        "detector": DetectorConfig,
        "side": SideConfig,
        "pair": PairConfig,
        "loss": LossConfig,
        "synth": SynthConfig,
    }
    try:
        parts = {key: from_dict(kind, values.get(key, {})) for key, kind in kinds.items()}
        return from_dict(TrainConfig, {**values, **parts})
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"this is no training configuration of this version of lgnet: {error}") from error


def read_run(folder: str | Path) -> TrainConfig:
    """The configuration of a run's folder, whose `out` is this folder wherever it was made.

    Raises:
        ValueError: there is no run.
    """
    try:
        values = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        return replace(train_config(values), out=str(folder))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} holds no run to go on with: {error}") from error


RESUMABLE = (
    *("samples", "decay", "learning_rate", "renderers", "readers", "threads", "devices"),
    *("compile", "real_data", "evaluate_every", "checkpoint_every"),
)
"""What may be changed when a run goes on; all else is the run's own."""
