"""Make one detector of two that were trained apart: `python scripts/join_detectors.py PLAIN.safetensors DEEP.safetensors OUT`.

It says the mean of what they say (`lgnet.detector`): of the first file the plain column is taken, of the second the one with
the hand network's backbone.
"""

import sys
from dataclasses import replace

from promote import read

from lgnet.checkpoint import save_weights


def main(plain: str, deep: str, out: str) -> None:
    """Write the joined detector, with what is known of both.

    Raises:
        ValueError: a file lacks the column it is asked for, or they look at pictures of different sizes.
    """
    (first, config, before, _), (second, other, meta, _) = read(plain), read(deep)
    if not config.widths or not other.depths:
        raise ValueError(f"{plain} has no plain column" if not config.widths else f"{deep} has no deep column")
    if config.size != other.size:
        raise ValueError(f"{plain} and {deep} look at pictures of different sizes")
    state = {name: value for name, value in first.items() if name.startswith("plain.")}
    state |= {name: value for name, value in second.items() if name.startswith("deep.")}
    meta = {key: said for key, said in meta.items() if key != "figures"}  # they are of the second alone
    joined = {**meta, "joined": f"plain column of {before['samples']} samples, deep one of {meta['samples']}"}
    save_weights(out, state, replace(config, depths=other.depths), joined, kind="detector")


if __name__ == "__main__":
    main(*sys.argv[1:4])
