"""Mean of two weights of one network: `python scripts/average_weights.py FROM TO SHARE OUT` gives (1 - SHARE) FROM + SHARE TO.

Points of one run lie in one valley, and what lies between them may do better than either where neither was trained: on
photographs (Wortsman et al., *Robust fine-tuning of zero-shot models*, CVPR 2022). Where FROM is of a network without parts
that TO's has, as LGBlock and refine stage, it is given TO's, and an LGBlock that is not listened to, as `--init` does. The
result is promoted as any file is.
"""

import sys

from promote import read

from lgnet.checkpoint import init_from, load_state, save_weights
from lgnet.config import HEADS
from lgnet.model.network import build_network


def main(start: str, end: str, share: float, out: str) -> None:
    """Write the mean, with what the later file says of itself but its figures."""
    (first, config, before, kind), (last, other, meta, what) = read(start), read(end)
    if kind == what == "hands":  # --init would resize what belongs to each cell, and scale what the others stand for
        for name in ("grid", "crop_enlarge", "depth_range", "separation", "hand_model", *HEADS):
            if getattr(config, name) != getattr(other, name):
                raise ValueError(f"{start} and {end} are weights of different networks: {name} is not the same")
    if config != other and kind == what == "hands":
        network = build_network(other)
        load_state(network, last, end)
        unfit = init_from(network, start).unfit
        if unfit:
            raise ValueError(f"{start} and {end} are weights of different networks: {unfit[0]} has not the same shape")
        first = network.state_dict()
    elif config != other or kind != what:
        raise ValueError(f"{start} and {end} are weights of different networks")
    values = {name: first[name].lerp(v, share) if v.is_floating_point() else v for name, v in last.items()}
    meta = {
        key: said for key, said in meta.items() if key not in ("figures", "confidence")
    }  # of the later weights alone
    note = f"{1 - share:g} of weights of {before['samples']} samples, {share:g} of these"
    save_weights(out, values, other, {**meta, "averaged": note}, kind=kind)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4])
