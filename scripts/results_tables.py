"""Put the figures of four evaluations into the two tables of the bundled weights in docs/results.md.

    lgnet evaluate --data synth-bench --boxes truth --out eval-truth                      # and the other three, as there
    python scripts/results_tables.py eval-truth eval-own eval-real-truth eval-real-own --key-points own.md truth.md \
        --tta eval-truth-3 eval-own-3 eval-real-truth-3 eval-real-own-3

with the same four of `--tta 3` beside them in a table of their own, and what `benchmarks/evidence.py` printed of the
photographs (own boxes, then true ones) into the two tables of key points. Prints what README's table says as well. The words
around the tables are the writer's to change.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "docs" / "results.md"
KINDS = ("", "by.interacting.", "by.separate.", "by.single.")
PRESENCE = ("presence of each side", "presence_accuracy", "{:.3f}")
SIDE = ("side right, of hands found by place", "handedness_accuracy", "{:.3f}")
FOUND = ("hands found, with their side", "hands_found", "{:.3f}")
TOLD = (PRESENCE[0], SIDE[0], FOUND[0])
"""With true boxes these are given, not found."""
BENCH = (
    *(PRESENCE, SIDE, FOUND),
    ("MPJPE, C", "protocols.C.mpjpe", "{:.1f}"),
    ("MPVPE of M_f, C", "protocols.C.mpvpe", "{:.1f}"),
    ("MPVPE of M_r, C", "protocols.C.mpvpe_rough", "{:.1f}"),
    ("MPJPE, A", "protocols.A.mpjpe", "{:.1f}"),
    ("MPJPE, B", "protocols.B.mpjpe", "{:.1f}"),
    ("PA-MPJPE", "pa_mpjpe", "{:.1f}"),
    ("MRRPE", "mrrpe", "{:.1f}"),
    ("2D PCK@0.2", "pck2d.0.2", "{:.2f}"),
    ("AUC 0-50 mm, B", "auc_0_50", "{:.2f}"),
)
PHOTOGRAPHS = (
    *((name, key, "{:.2f}") for name, key, _ in (PRESENCE, SIDE, FOUND)),
    ("2D PCK@0.2", "pck2d.0.2", "{:.2f}"),
    ("2D PCK@0.1", "pck2d.0.1", "{:.2f}"),
    ("MPJPE, C", "protocols.C.mpjpe", "{:.1f}"),
    ("PA-MPJPE", "pa_mpjpe", "{:.1f}"),
)


def value(metrics: dict[str, Any], path: str) -> float | None:
    """A figure by its path; None where there is none. Keys may hold dots (`pck2d.0.2`)."""
    if path in metrics:
        return metrics[path]
    for key, below in metrics.items():
        if path.startswith(key + ".") and isinstance(below, dict):
            return value(below, path[len(key) + 1 :])
    return None


def table(rows: tuple[tuple[str, str, str], ...], truth: dict[str, Any], own: dict[str, Any]) -> str:
    """The Markdown of one table."""
    heads = [f"boxes {boxes}: all | interacting | separate | single" for boxes in ("truth", "own")]
    lines = ["| | " + " | ".join(heads) + " |", "|---" * 9 + "|"]
    for name, key, form in rows:
        cells = []
        for metrics, given in ((truth, True), (own, False)):
            if given and name in TOLD:
                cells += ["told", "", "", ""]
                continue
            found = [value(metrics, kind + key) for kind in KINDS]
            cells += ["" if figure is None else form.format(figure) for figure in found]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


AUGMENTED = (
    ("synth-bench: MPJPE, C", False, "protocols.C.mpjpe", "{:.1f}"),
    ("interacting", False, "by.interacting.protocols.C.mpjpe", "{:.1f}"),
    ("separate", False, "by.separate.protocols.C.mpjpe", "{:.1f}"),
    ("single", False, "by.single.protocols.C.mpjpe", "{:.1f}"),
    ("PA-MPJPE", False, "pa_mpjpe", "{:.1f}"),
    ("MRRPE", False, "mrrpe", "{:.1f}"),
    ("2D PCK@0.2", False, "pck2d.0.2", "{:.3f}"),
    ("AUC 0-50 mm, B", False, "auc_0_50", "{:.3f}"),
    ("photographs: 2D PCK@0.2", True, "pck2d.0.2", "{:.3f}"),
    ("2D PCK@0.1", True, "pck2d.0.1", "{:.3f}"),
    ("MPJPE, C", True, "protocols.C.mpjpe", "{:.1f}"),
    ("PA-MPJPE", True, "pa_mpjpe", "{:.1f}"),
    ("handgraphcnn: 2D PCK@0.2", True, "groups.handgraphcnn_realworld.pck2d.0.2", "{:.3f}"),
    ("2D PCK@0.1", True, "groups.handgraphcnn_realworld.pck2d.0.1", "{:.3f}"),
    ("PA-MPJPE", True, "groups.handgraphcnn_realworld.pa_mpjpe", "{:.1f}"),
    ("two hands: 2D PCK@0.2", True, "groups.two hands.pck2d.0.2", "{:.3f}"),
)
"""Rows of the table of test-time augmentation: name, whether of the photographs, key and form."""


def augmented(bench: list[dict[str, Any]], photographs: list[dict[str, Any]]) -> str:
    """The Markdown of that table, each of four evaluations: boxes truth with one crop, with three, boxes own alike."""
    lines = ["| | boxes truth: 1 crop | 3 crops | boxes own: 1 crop | 3 crops |", "|---" * 5 + "|"]
    for name, real, key, form in AUGMENTED:
        found = [value(metrics, key) for metrics in (photographs if real else bench)]
        lines.append(f"| {name} | " + " | ".join("" if v is None else form.format(v) for v in found) + " |")
    return "\n".join(lines) + "\n"


GROUPS = {
    "all": "all",
    "interacting": "interacting",
    "separate": "separate",
    "single": "single",
    "handgraphcnn": "handgraphcnn_realworld",
    "FreiHAND": "mmpose_freihand",
    "RHD": "mmpose_rhd",
    "Panoptic": "mmpose_panoptic",
    "InterHand2.6M": "mmpose_interhand26m",
    "Ego3DHands": "ego3dhands_sample",
    "COCO-WholeBody": "mmpose_coco_wholebody",
}
"""What the table of key points calls a group of pictures (its first word), and its name."""
ANSWERS = {"lgnet": "network", "MediaPipe": "alone", "both": "together"}


def with_key_points(lines: list[str], printed: str) -> list[str]:
    """The rows of a table of key points with their figures exchanged for those that `benchmarks/evidence.py` printed."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines() if line.startswith("| ")
    ]
    figures = {(group, answer): values for group, answer, *values in cells}
    out, group = [], ""
    for line in lines:
        first, answer = (cell.strip() for cell in line.split("|")[1:3])
        if first:
            group = first.rsplit(" (", 1)[0] if first.startswith("by eye") else GROUPS[first.split(" ")[0]]
        values = [value.split(" (")[0] for value in figures[group, ANSWERS[answer]]]
        out.append(f"| {first} | {answer} | " + " | ".join(values) + " |")
    return out


def fill_key_points(text: str, printed: list[str]) -> str:
    """Both tables of key points, in their order."""
    end = text.index("## Key points from elsewhere\n")
    for table_text in printed:
        begin = text.index("|---", text.index("| pictures | |", end))
        begin = text.index("\n", begin) + 1
        end = text.index("\n\n", begin)
        made = "\n".join(with_key_points(text[begin:end].splitlines(), table_text))
        text, end = text[:begin] + made + text[end:], begin + len(made)
    return text


def read(folder: Path) -> dict[str, Any]:
    """The figures of an evaluation."""
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def main() -> None:
    """Exchange the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs=4, type=Path, metavar="FOLDER")
    parser.add_argument("--key-points", nargs=2, type=Path, metavar="FILE", help="what benchmarks/evidence.py printed")
    parser.add_argument(
        "--tta", nargs=4, type=Path, metavar="FOLDER", help="the same four with three crops of each hand"
    )
    options = parser.parse_args()
    truth, own, real_truth, real_own = (read(folder) for folder in options.folders)
    text = RESULTS.read_text(encoding="utf-8")
    tables = [
        ("## The bundled weights on synth-bench\n", table(BENCH, truth, own)),
        ("## The bundled weights on photographs\n", table(PHOTOGRAPHS, real_truth, real_own)),
    ]
    if options.tta:
        truth3, own3, real_truth3, real_own3 = (read(folder) for folder in options.tta)
        made = augmented([truth, truth3, own, own3], [real_truth, real_truth3, real_own, real_own3])
        tables.append(("### Test-time augmentation\n", made))
    for heading, made in tables:
        begin = text.index("| | boxes truth: ", text.index(heading))
        end = text.index("\n\n", begin) + 1
        text = text[:begin] + made + text[end:]
    if options.key_points:
        text = fill_key_points(text, [path.read_text(encoding="utf-8") for path in options.key_points])
    part = RESULTS.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(RESULTS)
    for name, metrics in (("truth", truth), ("own", own), ("real truth", real_truth), ("real own", real_own)):
        keys = (
            *(
                "protocols.C.mpjpe",
                "by.interacting.protocols.C.mpjpe",
                "mrrpe",
                "hands_found",
                "pck2d.0.2",
                "pck2d.0.1",
            ),
            *("f_5", "f_15", "mask_iou", "penetration.depth", "penetration.contact_accuracy", "auc_0_50"),
        )
        print(name, {key: None if (v := value(metrics, key)) is None else round(v, 4) for key in keys})


if __name__ == "__main__":
    main()
