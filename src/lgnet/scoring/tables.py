"""The figures as tables: on the terminal, and in Markdown and LaTeX beside what others published, protocol by protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from ..metrics import PROTOCOLS

PUBLISHED_DATA = ("interhand26m-test-published", "interhand26m-test-two")
"""The published figures are of these: test split of InterHand2.6M, interacting hands; since IntagHand in its selection."""


@dataclass(frozen=True)
class Published:
    """A method's figures as its own authors give them, millimetres; None where they give none."""

    method: str
    protocol: str
    mpjpe: float | None
    mpvpe: float | None
    mrrpe: float | None


PUBLISHED = (
    Published("InterShape v2", "A", 8.64, 9.59, None),
    Published("IntagHand", "A", 8.80, 9.03, None),
    Published("EANet", "A", 5.88, 5.45, 28.54),
    Published("DIR", "B", 10.23, 10.00, 29.26),
    Published("InterNet", "C", 13.72, None, 29.27),
    Published("Keypoint Transformer", "C", 14.16, None, 29.50),
)
"""From the projects' own read-mes; ACR's and A2P's are known at second hand only and left out."""
PUBLISHED_AUC = (
    ("InterNet", 0.7408),
    ("InterShape", 0.7635),
    ("IntagHand", 0.7641),
    ("Keypoint Transformer", 0.7701),
    ("DIR", 0.8012),
    ("LGNet", 0.8257),
)
"""Area under PCK, 0 to 50 mm, all as drawn in LGNet's one plot, whose text says protocol B."""
PUBLISHED_BINS = ("LGNet", "B", (8.5, 7.5, 8.5, 6.8, 8.9, 9.5))
"""MPJPE mm in the six bins of `summary.POSE_BINS`."""

_PROTOCOL_WORDS = {
    "A": "root middle finger's MCP, scaled by bone 0-9",
    "B": "root wrist, scaled by bone 0-9",
    "C": "root wrist, no scale",
}
_ROWS = (
    ("pictures", ("count",), "d"),
    ("presence", ("presence_accuracy",), ".3f"),
    ("handedness", ("handedness_accuracy",), ".3f"),
    ("hands found", ("hands_found",), ".3f"),
    ("2D PCK@0.1", ("pck2d", "0.1"), ".3f"),
    ("2D PCK@0.2", ("pck2d", "0.2"), ".3f"),
    ("2D error px", ("error2d_px",), ".1f"),
    ("mask IoU", ("mask_iou",), ".3f"),
    ("acceleration error mm/frame2", ("acceleration_error",), ".2f"),
    *(
        (f"{label} mm, protocol {protocol}", ("protocols", protocol, key), ".2f")
        for protocol in PROTOCOLS
        for label, key in (("MPJPE", "mpjpe"), ("MPVPE", "mpvpe"))
    ),
    ("MPVPE of M_r mm, protocol C", ("protocols", "C", "mpvpe_rough"), ".2f"),
    ("PA-MPJPE mm", ("pa_mpjpe",), ".2f"),
    ("PA-MPVPE mm", ("pa_mpvpe",), ".2f"),
    ("F@5, aligned", ("f_5",), ".3f"),
    ("F@15, aligned", ("f_15",), ".3f"),
    ("MRRPE mm", ("mrrpe",), ".2f"),
    ("AUC 0-50 mm, protocol B", ("auc_0_50",), ".3f"),
    ("AUC 20-50 mm, protocol B", ("auc_20_50",), ".3f"),
    ("penetration depth mm", ("penetration", "depth"), ".2f"),
    ("penetration volume mm3", ("penetration", "volume"), ".0f"),
    ("pairs in contact", ("penetration", "contact"), ".3f"),
    ("pairs truly in contact", ("penetration", "true_contact"), ".3f"),
    ("contact told rightly", ("penetration", "contact_accuracy"), ".3f"),
)
_TOLD = ("presence", "handedness", "hands found")
"""Figures that measure nothing where boxes and sides are given."""
_OF_GROUPS = ("pictures", "presence", "handedness", "hands found", "2D PCK@0.1", "2D PCK@0.2", "PA-MPJPE mm")
_BREAKDOWNS = (
    ("by_hand", "hand"),
    ("by_finger", "finger"),
    ("by_closeness", "nearest joints of the two hands"),
    ("by_pose_difference", "pose difference of the two hands"),
    ("by_visible", "share of the hand seen"),
)


def _label(name: str, metrics: dict[str, Any]) -> str:
    return f"{name} (told)" if metrics["boxes"] == "truth" and name in _TOLD else name


def look_up(figures: dict[str, Any], path: tuple[str, ...]) -> Any:
    """The figure at a path; None where there is none."""
    for key in path:
        figures = figures.get(key) if figures is not None else None  # type: ignore[assignment]
    return figures


def table(metrics: dict[str, Any]) -> Table:
    """The figures, a column for all pictures and one for each kind that occurs; rows that nothing is known of left out."""
    columns = {"all": metrics, **{kind: own for kind, own in metrics["by"].items() if own["count"]}}
    result = Table("", *columns, title=_title(metrics))
    for name, path, form in _ROWS:
        cells = [look_up(column, path) for column in columns.values()]
        if all(cell is None for cell in cells) and path[0] in ("mask_iou", "acceleration_error", "penetration"):
            continue
        result.add_row(_label(name, metrics), *("-" if cell is None else format(cell, form) for cell in cells))
    return result


def group_table(metrics: dict[str, Any]) -> Table:
    """A row for each group of pictures: those with two hands, and each folder."""
    chosen = [row for row in _ROWS if row[0] in _OF_GROUPS]
    result = Table("", *(name for name, _, _ in chosen), title=f"{metrics['data']}: boxes {metrics['boxes']}")
    for group, figures in metrics["groups"].items():
        cells = [(look_up(figures, path), form) for _, path, form in chosen]
        result.add_row(group, *("-" if cell is None else format(cell, form) for cell, form in cells))
    return result


def _title(metrics: dict[str, Any]) -> str:
    return f"{metrics['data']}: boxes {metrics['boxes']}, given {', '.join(metrics['given']) or 'nothing'}"


@dataclass(frozen=True)
class Sheet:
    """One table of text."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def sheets(metrics: dict[str, Any]) -> tuple[str, list[Sheet]]:
    """A note on what may be compared, and the tables of table.md and table.tex."""
    if metrics["data"] in PUBLISHED_DATA:
        note = (
            "Published figures are as the methods' own read-mes give them; each stands under its own protocol only, under A "
            "and B only where all hands have true meshes (MANO_DIR), and nowhere beside a part of the pictures. Their MRRPE is "
            "of MANO's wrists (DIR) or of root depths given by RootNet (InterNet, Keypoint Transformer), which also set the "
            "scale across the view under C; ours is of the annotated wrists, their depths "
            f"{metrics['root_depth']['source']}."
        )
    else:
        note = f"No published figures stand here: those known are of {' or '.join(PUBLISHED_DATA)}, not of {metrics['data']}."
    own = f"lgnet, {metrics['weights'] or 'weights unknown'}"
    out = []
    for name in PROTOCOLS:
        cells = [
            _told(metrics, path) for path in (("protocols", name, "mpjpe"), ("protocols", name, "mpvpe"), ("mrrpe",))
        ]
        rows = [(own, name, *cells)]
        if beside_published(metrics, name):
            rows += [
                (p.method, name, *(("-" if x is None else f"{x:.2f}") for x in (p.mpjpe, p.mpvpe, p.mrrpe)))
                for p in PUBLISHED
                if p.protocol == name
            ]
        header = ("method", "protocol", "MPJPE mm", "MPVPE mm", "MRRPE mm")
        out.append(Sheet(f"Protocol {name}: {_PROTOCOL_WORDS[name]}", header, rows))
    rows = [(own, "B", _told(metrics, ("auc_0_50",), ".3f"), _told(metrics, ("auc_20_50",), ".3f"))]
    if beside_published(metrics, "B"):
        rows += [(f"{method}, LGNet's plot", "B", f"{auc:.3f}", "-") for method, auc in PUBLISHED_AUC]
    out.append(Sheet("Area under PCK of 3D joints", ("method", "protocol", "AUC 0-50 mm", "AUC 20-50 mm"), rows))
    skip = {"count", "protocols", "auc_0_50", "auc_20_50"}
    rows = [
        (_label(name, metrics), _told(metrics, path, form))
        for name, path, form in _ROWS
        if path[0] not in skip and look_up(metrics, path) is not None
    ]
    out.append(Sheet("Free of protocols", ("figure", own), rows))
    for key, what in _BREAKDOWNS:
        if metrics[key]:
            beside = key == "by_pose_difference" and beside_published(metrics, PUBLISHED_BINS[1])
            out.append(_breakdown(metrics[key], what, beside))
    return note, out


def beside_published(metrics: dict[str, Any], protocol: str) -> bool:
    """Whether published figures of this protocol stand beside ours: those that scale are of the joints of true meshes."""
    comparable = metrics["data"] in PUBLISHED_DATA and metrics["whole"]
    return comparable and not (
        PROTOCOLS[protocol].scaled and (metrics["hands_of_joints"] or not metrics["hands_of_mesh"])
    )


def _breakdown(parts: dict[str, Any], what: str, published: bool) -> Sheet:
    header = [what, "hands", *(f"MPJPE mm, {name}" for name in PROTOCOLS), "AUC 0-50 mm, B", "2D PCK@0.2"]
    rows = []
    for label, own in parts.items():
        paths = [*(("protocols", name, "mpjpe") for name in PROTOCOLS)]
        cells = [_plain(look_up(own, path), ".2f") for path in paths]
        cells += [_plain(own["auc_0_50"], ".3f"), _plain(own["pck2d"]["0.2"], ".3f")]
        rows.append([label, str(own.get("hands", "all")), *cells])
    if published:
        method, protocol, errors = PUBLISHED_BINS
        header.append(f"{method}, as published, {protocol}")
        from .summary import POSE_BINS

        ends = {f"-{end:g} degrees": error for end, error in zip(POSE_BINS, errors)}
        for row in rows:
            row.append(next((f"{error:.1f}" for end, error in ends.items() if row[0].endswith(end)), "-"))
    return Sheet(f"By {what}", header, rows)


def _plain(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _told(metrics: dict[str, Any], path: tuple[str, ...], form: str = ".2f") -> str:
    """A figure with its interval."""
    value = look_up(metrics, path)
    if value is None:
        return "-"
    ends = look_up(metrics["confidence"]["figures"], path)
    return format(value, form) + ("" if ends is None else f" ({ends[0]:{form}} to {ends[1]:{form}})")


def _heading(metrics: dict[str, Any]) -> str:
    kept, source = metrics["confidence"], metrics.get("root_depth", {}).get("source", "predicted")
    told = "" if source == "predicted" else f", the wrists' distances by {source}"
    of = f"{metrics['count']} pictures of {_title(metrics)}{told}"
    count = "" if kept["over"] == "pictures" else f"{kept['count']} "
    return f"{of}; in brackets {100 * kept['level']:g} % intervals over {count}{kept['over']}."


def to_markdown(metrics: dict[str, Any]) -> str:
    """The content of table.md."""
    note, tables = sheets(metrics)
    lines = [f"# {metrics['data']}", "", _heading(metrics), "", note]
    for sheet in tables:
        lines += ["", f"## {sheet.title}", "", _row(sheet.header), "|---" * len(sheet.header) + "|"]
        lines += [_row(row) for row in sheet.rows]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def to_latex(metrics: dict[str, Any]) -> str:
    r"""The content of table.tex: one tabular a table, no package needed; \input it, or copy what is wanted."""
    note, tables = sheets(metrics)
    lines = [f"% {_heading(metrics)}", f"% {note}"]
    for sheet in tables:
        lines += ["", r"\begin{table}", rf"\caption{{{_escaped(sheet.title)}; {_escaped(metrics['data'])}}}"]
        lines += [rf"\begin{{tabular}}{{l{'r' * (len(sheet.header) - 1)}}}", r"\hline"]
        lines += [" & ".join(map(_escaped, sheet.header)) + r" \\", r"\hline"]
        lines += [" & ".join(map(_escaped, row)) + r" \\" for row in sheet.rows]
        lines += [r"\hline", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


_LATEX = {character: "\\" + character for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
}


def _escaped(text: str) -> str:
    return text.translate({ord(character): command for character, command in _LATEX.items()})
