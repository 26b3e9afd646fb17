"""Make a run's weights the bundled ones: `python scripts/promote.py runs/lgnet-mobile/best.safetensors lgnet-mobile`.

Stores them as float16 under src/lgnet/weights/NAME.safetensors with their name and licence, calibrates those of a hand
network (scripts/calibrate.py, some minutes), and prints what the run says of them. Whether they are better is for
`lgnet evaluate --weights FILE` to say first.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from lgnet.checkpoint import load_weights, save_weights
from lgnet.config import DetectorConfig, ModelConfig, PairConfig, SideConfig, from_dict

WEIGHTS = Path(__file__).parents[1] / "src" / "lgnet" / "weights"
CONFIGS = {"hands": ModelConfig, "detector": DetectorConfig, "sides": SideConfig, "pair": PairConfig}


def read(source: str) -> tuple[dict[str, Tensor], Any, dict[str, Any], Any]:
    """A file's weights, configuration, what it says of itself, and what it is for."""
    with safe_open(source, framework="pt") as file:
        kind = file.metadata()["kind"]
    values, state, meta = load_weights(source, kind=kind)
    return state, from_dict(CONFIGS[kind], values), meta, kind


def main(source: str, name: str) -> None:
    """Copy `source` to the bundled weights of this name."""
    state, config, meta, kind = read(source)
    target = WEIGHTS / f"{name}.safetensors"
    save_weights(target, state, config, {**meta, "name": name, "licence": "Apache-2.0"}, half=True, kind=kind)
    target.chmod(0o644)
    if kind == "hands":  # how wrong the new weights are is another question than how wrong the old ones were
        subprocess.run([sys.executable, str(Path(__file__).with_name("calibrate.py")), str(target)], check=True)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
    print(json.dumps(meta, indent=1))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
