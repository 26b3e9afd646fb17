"""Whether a configuration makes sense: told in one sentence before anything is written. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .config import MOST_SEED, LossConfig, ModelConfig, SynthConfig, TrainConfig

SHARES = ("everyday", "signs", "gestures", "bank", "people", "held", "places", "difficulty", "toned", "lens", "looks")
"""Fields of a `SynthConfig` that are from 0 to 1."""
FOR_TESTS = ("synth-bench", "synth-bench-cycles", "realdata")
"""Data sets that figures are made of, and nothing is trained on; nor on what others name their test or evaluation split."""
LARGEST = 8192
"""Pixels a side of synthetic pictures."""


def data_weights(data: Sequence[str]) -> dict[str, float]:
    """The option `data`, NAME:ROOT=SHARE each, as shares by NAME:ROOT.

    Raises:
        ValueError: not of this form, twice the same, or shares that cannot be.
    """
    weights: dict[str, float] = {}
    for text in data:
        name, _, number = text.rpartition("=")
        try:
            share = float(number)
        except ValueError:
            share = -1.0
        if not name or not 0 < share <= 1:
            raise ValueError(f"--data wants NAME:ROOT=SHARE with a share above 0 and at most 1, not {text!r}")
        kind = name.partition(":")[0]
        if kind in FOR_TESTS or {"test", "evaluation", "eval"} & set(kind.split("-")):
            raise ValueError(f"{name} is for evaluation: what is trained on it can no longer be judged by it")
        if name in weights:
            raise ValueError(f"--data names {name} twice")
        weights[name] = share
    if sum(weights.values()) > 1 + 1e-9:
        raise ValueError(f"the shares of --data add up to {sum(weights.values()):g}, more than 1")
    return weights


def check_train(config: TrainConfig) -> None:
    """Refuse a configuration that cannot be trained.

    Raises:
        ValueError: what is wrong with it, in one sentence.
    """
    at_least: dict[str, float] = dict.fromkeys(
        ("samples", "batch_size", "accumulate", "renderers", "reuse", "readers", "devices"), 1
    )
    at_least |= dict.fromkeys(("evaluate_every", "checkpoint_every"), 1)
    at_least |= dict.fromkeys(("warmup", "decay", "weight_decay", "threads", "seed", "fit_within", "jitter"), 0)
    for name, least in at_least.items():
        if not least <= getattr(config, name) < float("inf"):
            raise ValueError(f"{_option(name)} is at least {least} and finite, not {getattr(config, name)}")
    for name in ("learning_rate", "clip"):
        if not 0 < getattr(config, name) < float("inf"):
            raise ValueError(f"{_option(name)} is above 0, not {getattr(config, name)}")
    if not 0 <= config.ema < 1:
        raise ValueError(f"--ema is from 0 to below 1, not {config.ema}")
    if config.seed > MOST_SEED:
        raise ValueError(f"--seed is at most {MOST_SEED}, not {config.seed}")
    if config.ring < config.reuse + 1:
        raise ValueError(f"--ring is at least --reuse + 1, here {config.reuse + 1}, not {config.ring}")
    if not 0 <= config.teacher_ema < 1:
        raise ValueError(f"--teacher-ema is from 0 to below 1, not {config.teacher_ema}")
    if not 0 <= config.teacher_weight < float("inf"):
        raise ValueError(f"--teacher-weight is at least 0, not {config.teacher_weight}")
    if not config.teacher and (config.teacher_ema or config.teacher_weight != TrainConfig.teacher_weight):
        raise ValueError("--teacher-ema and --teacher-weight are of --teacher, which names nobody")
    if config.teacher and config.task != "hands":
        raise ValueError("--teacher is for hand networks")
    if not config.teacher and any(name.startswith("unlabelled:") for name in config.data):
        raise ValueError("unlabelled pictures teach nothing by themselves: name weights to learn from by --teacher")
    check_synth(config.synth, "--synth.")
    data = data_weights(config.data)
    if data and config.task != "hands":
        raise ValueError(
            f"--data is for hand networks; {config.task} is trained on pictures in which every hand is marked"
        )
    for name, own in (("side", config.side), ("pair", config.pair)):
        for key in ("crop_size", "grid"):
            if getattr(own, key) < 1:
                raise ValueError(f"{_option(key, f'--{name}.')} is at least 1, not {getattr(own, key)}")
        if min(own.depths) < 1:
            raise ValueError(f"--{name}.depths are at least 1, not {own.depths}")
        if not 0 < own.crop_enlarge < float("inf"):
            raise ValueError(f"--{name}.crop-enlarge is above 0, not {own.crop_enlarge}")
    if min(config.detector.widths) < 1:
        raise ValueError(f"--detector.widths are at least 1, not {config.detector.widths}")
    if config.task == "hands":
        check_model(config.model)
        check_loss(config.loss, config.model, config.only)
        drawn = all(name.startswith("synth:") for name in data)
        if config.model.hand_model == "mano" and (not data or (drawn and not config.fit_within)):
            raise ValueError(
                "synthetic pictures tell no pose and shape of MANO: mix in a data set by --data, or pictures of lgnet synth that "
                "are fitted first (--fit-within above 0), --data synth:FOLDER=1"
            )


def check_model(config: ModelConfig) -> None:
    """Refuse a hand network that cannot be.

    Raises:
        ValueError: what is wrong with it, in one sentence.
    """
    counts = ("crop_size", "channels", "grid", "heatmap_size", "heatmap_depth", "joint_channels", "refine_channels")
    for name in (*counts, "lgfa_depth", "lgfa_heads", "sjt_depth", "sjt_heads"):
        if getattr(config, name) < 1:
            raise ValueError(f"{_option(name, '--model.')} is at least 1, not {getattr(config, name)}")
    if min(config.mobile_depths) < 1:
        raise ValueError(f"--model.mobile-depths are at least 1, not {config.mobile_depths}")
    for name in ("crop_enlarge", "depth_range"):
        if not 0 < getattr(config, name) < float("inf"):
            raise ValueError(f"{_option(name, '--model.')} is above 0, not {getattr(config, name)}")


_OF_MAPS = {"parts", "surface"}
_OF_MESHES = set(vars(LossConfig())) - _OF_MAPS - {"joints25d", "presence"}
REACHING = {
    "dense_head": _OF_MAPS,
    "joint_stage": set(vars(LossConfig())) - _OF_MAPS,
    "mesh_stage": _OF_MESHES,
    "refine_stage": {"joints3d", "vertices", "normal", "edge", "laplacian"},
}
"""The losses that teach a part of the network; the backbone all do."""


def check_loss(config: LossConfig, model: ModelConfig, only: Sequence[str] = ()) -> None:
    """Refuse weights that make no loss for a network, or none for `only` these of its parts.

    Raises:
        ValueError: one is negative or not finite, or none is left that this network can be trained by.
    """
    for name, weight in vars(config).items():
        if not 0 <= weight < float("inf"):
            raise ValueError(f"{_option(name, '--loss.')} is at least 0, not {weight}")
    lacking = {"parts": not model.dense_head, "surface": not model.surface_head}
    lacking |= dict.fromkeys(("vertices", "laplacian"), not model.refine_stage)
    used = {name for name, weight in vars(config).items() if weight and not lacking.get(name)}
    if not used:
        raise ValueError("every --loss weight that this network has a use for is 0: there is nothing to train by")
    if only and not any(used & REACHING.get(part, used) for part in only):
        raise ValueError(f"no --loss weight above 0 reaches {' or '.join(only)}, which --only trains")


def check_synth(config: SynthConfig, prefix: str = "--") -> None:
    """Refuse what no pictures can be drawn from.

    Args:
        config: as it was asked for.
        prefix: of the options it was asked for by.

    Raises:
        ValueError: what is wrong with it, in one sentence.
    """
    if not 32 <= config.size <= LARGEST:
        raise ValueError(f"{prefix}size is from 32 to {LARGEST} pixels, not {config.size}")
    if not (abs(sum(config.kinds) - 1) <= 1e-8 and min(config.kinds) >= 0):
        raise ValueError(f"{prefix}kinds are four shares that add up to 1, not {config.kinds}")
    for name in SHARES:
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{_option(name, prefix)} is from 0 to 1, not {getattr(config, name)}")
    if not 0 <= config.wrist_bend <= 90:
        raise ValueError(f"{prefix}wrist-bend is from 0 to 90 degrees, not {config.wrist_bend}")
    low, high = config.fill
    if not 0 < low <= high < float("inf"):
        raise ValueError(f"{prefix}fill is the least and the greatest share, above 0, not {config.fill}")
    if config.backgrounds is not None and not Path(config.backgrounds).is_dir():
        raise ValueError(f"{prefix}backgrounds names no folder: {config.backgrounds}")


def _option(field_name: str, prefix: str = "--") -> str:
    return prefix + field_name.replace("_", "-")
