"""The command line. It parses without importing torch; each command imports what it needs when it runs.

Exit status: 0 success; 1 some inputs failed, each named on standard error, the others done; 2 usage error, or anything
else that kept the command from its work, in one sentence.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

from . import __version__
from .commands import PROGRAM, UsageError, bench, complain, demo, interrupted, reconstruct
from .commands_app import app
from .commands_data import data, fit, synth
from .commands_export import export
from .commands_robot import retarget
from .commands_score import compare, evaluate
from .commands_stream import stream
from .config import BUNDLED, RESUMABLE, TrainConfig, read_run
from .presets import PRESETS

DESCRIPTION = "Two 3D hand meshes from one ordinary picture. `lgnet COMMAND --help` says more of each command."

EXTRAS = {
    **dict.fromkeys(("ijson", "scipy"), "data"),
    **dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), "export"),
    "websockets": "stream",
    "yourdfpy": "robot",
}
"""What to install for a package that is missing; else the extra train."""

Preset = Annotated[str, arg(metavar="{" + ",".join(PRESETS) + "}")]


def train_command(named: str, start: TrainConfig) -> Callable[..., int]:
    """`lgnet train` with the options' defaults those of `start`: this preset, or the run to go on with."""

    def train(
        preset: Positional[Preset] = BUNDLED,
        resume: Annotated[str | None, arg(metavar="DIR")] = None,
        dry_run: bool = False,
        config: Annotated[TrainConfig, arg(name="")] = start,
    ) -> int:
        """Train a network; runs unchanged under torchrun. docs/training.md says more.

        Args:
            preset: what the options below start from. It comes first.
            resume: go on with the run in this folder, with the options it has. Only --samples, --decay,
                --learning-rate, --renderers, --readers, --threads, --devices, --compile, --real-data, --evaluate-every
                and --checkpoint-every may then be given anew.
            dry_run: say what would be trained, what memory and time it would take here, and write nothing.
            config: everything else.
        """
        if preset not in PRESETS:
            raise UsageError(f"there is no preset {preset!r}; there are {', '.join(PRESETS)}")
        if preset != named:
            raise UsageError(f"the preset comes first: lgnet train {preset} ...")
        if resume is not None:
            _check_resumable(start, config, resume)
        if dry_run:
            from .dry_run import main as say

            say(config, resume=resume)
            return 0
        from .train import main as work

        print(work(config, resume=resume))
        return 0

    return train


def _check_resumable(start: TrainConfig, given: TrainConfig, folder: str) -> None:
    """Refuse options that a run which goes on cannot change."""
    for name in (f.name for f in dataclasses.fields(TrainConfig)):
        new, old = getattr(given, name), getattr(start, name)
        if name == "out":
            new, old = Path(new).resolve(), Path(old).resolve()
        if name not in RESUMABLE and new != old:
            raise UsageError(f"--{name.replace('_', '-')} cannot be changed when a run goes on; leave it to {folder}")


def _train_start(arguments: Sequence[str], preset: str) -> TrainConfig:
    """The defaults of `lgnet train`'s options: those of the run that --resume names, else the preset's."""
    for word, following in zip(arguments, [*arguments[1:], ""]):
        folder = following if word == "--resume" else word.partition("=")[2] if word.startswith("--resume=") else ""
        if folder:
            return read_run(folder)
    return PRESETS[preset]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status. Usage errors that the parser finds raise SystemExit(2)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # before cv2 is imported: what is wrong with a video
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # is said in our own sentence
    warnings.filterwarnings("ignore", module="PIL")  # and so it is with a picture's tags
    if arguments == ["--version"]:
        print(f"{PROGRAM} {__version__}")
        return 0
    named = arguments[1] if arguments[:1] == ["train"] and len(arguments) > 1 else BUNDLED
    preset = named if named in PRESETS else BUNDLED
    try:
        start = _train_start(arguments, preset) if arguments[:1] == ["train"] else PRESETS[preset]
    except ValueError as error:
        complain(_sentence(error))
        return 2
    commands: dict[str, Callable[..., int]] = {
        "demo": demo,
        "reconstruct": reconstruct,
        "stream": stream,
        "app": app,
        "retarget": retarget,
        "evaluate": evaluate,
        "compare": compare,
        "train": train_command(preset, start),
        "synth": synth,
        "data": data,
        "fit": fit,
        "export": export,
        "bench": bench,
    }
    try:
        return tyro.extras.subcommand_cli_from_dict(commands, prog=PROGRAM, description=DESCRIPTION, args=arguments)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in ("", "lgnet"):
            raise
        extra = EXTRAS.get(package, "train")
        complain(f'this command needs the package {package}; install it with: pip install "lgnet[{extra}]"')
    except (ValueError, OSError) as error:
        complain(_sentence(error))
    except KeyboardInterrupt:
        return 130
    except SystemError as error:
        if not interrupted(error):
            raise
        return 130
    return 2


def _sentence(error: ValueError | OSError) -> str:
    if isinstance(error, FileExistsError | NotADirectoryError) and error.filename:
        return f"{Path(os.fsdecode(error.filename))}: a file is where a folder has to be; give another name"
    if isinstance(error, OSError) and error.filename:
        return f"{Path(os.fsdecode(error.filename))}: {error.strerror}"
    return " ".join(str(error).split())
