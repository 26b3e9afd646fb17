"""Mean of two weights of one network: `python scripts/average_weights.py FROM TO SHARE OUT` gives (1 - SHARE) FROM + SHARE TO.

Points of one run lie in one valley, and what lies between them may do better than either where neither was trained: on
photographs (Wortsman et al., *Robust fine-tuning of zero-shot models*, CVPR 2022). The result is promoted as any file is.
"""

import sys

from promote import read

from lgnet.checkpoint import save_weights


def main(start: str, end: str, share: float, out: str) -> None:
    """Write the mean, with what the later file says of itself but its figures."""
    (first, config, before, kind), (last, other, meta, what) = read(start), read(end)
    if config != other or kind != what:
        raise ValueError(f"{start} and {end} are weights of different networks")
    values = {name: first[name].lerp(v, share) if v.is_floating_point() else v for name, v in last.items()}
    meta = {key: said for key, said in meta.items() if key != "figures"}  # they are of the later weights alone
    note = f"{1 - share:g} of weights of {before['samples']} samples, {share:g} of these"
    save_weights(out, values, config, {**meta, "averaged": note}, kind=kind)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4])
