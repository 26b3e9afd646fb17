"""Paired comparison of two evaluations, and the tables of one."""

import json
from dataclasses import replace

import numpy as np
import pytest
from test_evaluate import DATA, Knowing, make

from lgnet import cli
from lgnet.data.registry import DataSet, spread
from lgnet.evaluate import evaluate
from lgnet.hands import TwoHands
from lgnet.scoring.columns import Scores, read_scores, to_npz
from lgnet.scoring.compare import _better, _pair, compare_runs, sentence, sentences
from lgnet.scoring.summary import totals
from lgnet.scoring.tables import to_latex, to_markdown

pytestmark = pytest.mark.usefixtures("no_plots")
OFF = 16 / 21 * 3**0.5 * 10
"""Millimetres: MPJPE of protocol C where 16 of 21 joints are off by 10 mm in x, y and z."""


class Partly(Knowing):
    """Off by nothing, but it has no right hand in picture 0."""

    def predict(self, image, camera, boxes, given):
        hands = super().predict(image, camera, boxes, given)
        lame = int(image[0, 0, 0]) == 0
        return TwoHands(None if lame else hands.right, hands.left, 160, 120, hands.camera, None, hands.model)


def test_difference_by_hand(tmp_path, monkeypatch):
    monkeypatch.setattr("lgnet.scoring.compare.FEWEST", 4)
    evaluate(Knowing(), DATA, tmp_path / "a", quiet=True)
    evaluate(Knowing(shift=0.01), DATA, tmp_path / "b", quiet=True)
    result = compare_runs(tmp_path / "a", tmp_path / "b")
    assert (result["pictures"], result["only_first"], result["only_second"]) == (6, 0, 0)
    own = result["figures"]["protocols.C.mpjpe"]
    assert own["first"] == pytest.approx(0, abs=1e-3)
    assert own["difference"] == pytest.approx(OFF, abs=1e-3)
    assert own["interval"] == pytest.approx([OFF, OFF], abs=1e-3)  # every hand is off by the same
    assert own["better"] == "first"
    assert own["pictures"] == 4  # with 3D truth and hands
    assert result["figures"]["auc_0_50"]["better"] == "first"  # although larger is better there
    assert result["figures"]["presence_accuracy"]["better"] is None
    back = compare_runs(tmp_path / "b", tmp_path / "a")["figures"]["protocols.C.mpjpe"]
    assert back["difference"] == pytest.approx(-OFF, abs=1e-3)
    assert back["better"] == "second"
    assert sentence("MPJPE", back).endswith("the second run is better.")
    assert "no difference can be told" in sentence("presence", result["figures"]["presence_accuracy"])


LARGER = {"presence_accuracy", "handedness_accuracy", "hands_found", "auc_0_50", "auc_20_50", "pck2d", "f_5", "f_15",
          "mask_iou", "contact_accuracy"}  # fmt: skip
SMALLER = {"mpjpe", "mpvpe", "mpvpe_rough", "pa_mpjpe", "pa_mpvpe", "mrrpe", "absolute_mpjpe", "error2d_px",
           "acceleration_error", "depth", "volume"}  # fmt: skip


def test_of_every_figure_it_is_known_who_is_better(tmp_path):
    evaluate(Knowing(), DATA, tmp_path / "a", quiet=True)
    paths = list(totals(read_scores(tmp_path / "a" / "scores.npz")))
    assert len(paths) > 20
    for path in paths:
        if path[-1] in ("contact", "true_contact"):
            assert _better(path, 0.1, 0.2) is None
            continue
        larger = bool(LARGER & set(path))
        assert larger != (path[-1] in SMALLER), path
        assert _better(path, 0.1, 0.2) == ("second" if larger else "first")
        assert _better(path, -0.2, -0.1) == ("first" if larger else "second")
        assert _better(path, -0.1, 0.1) is None


def test_what_one_run_lacks_of_a_picture_is_not_compared(tmp_path):
    evaluate(Knowing(), DATA, tmp_path / "a", quiet=True)
    scores = read_scores(tmp_path / "a" / "scores.npz")
    full, lacking = (dict(scores.pictures) for _ in range(2))
    for number, key in enumerate(("mrrpe", "depth", "volume", "touching")):
        full[key] = np.arange(len(scores), dtype=float)
        lacking[key] = np.where(np.arange(len(scores)) == number, np.nan, 1.0)
    one, other = _pair(Scores(full, dict(scores.hands)), Scores(lacking, dict(scores.hands)))
    for number, key in enumerate(("mrrpe", "depth", "volume", "touching")):
        for own in (one, other):
            assert np.flatnonzero(np.isnan(own.pictures[key])).tolist() == [number]


def test_four_pictures_are_too_few_to_tell_who_is_better(tmp_path):
    evaluate(Knowing(), DATA, tmp_path / "a", quiet=True)
    evaluate(Knowing(shift=0.01), DATA, tmp_path / "b", quiet=True)
    own = compare_runs(tmp_path / "a", tmp_path / "b")["figures"]["protocols.C.mpjpe"]
    assert own["interval"][0] > 0
    assert own["better"] is None
    assert sentence("MPJPE", own).endswith("4 pictures are too few to tell.")


def test_a_hand_that_one_run_missed_counts_in_pck_but_not_in_millimetres(tmp_path):
    evaluate(Partly(), DATA, tmp_path / "a", quiet=True)
    evaluate(Knowing(shift=0.01), DATA, tmp_path / "b", quiet=True)
    figures = compare_runs(tmp_path / "a", tmp_path / "b")["figures"]
    assert figures["protocols.C.mpjpe"]["difference"] == pytest.approx(OFF, abs=1e-3)
    assert figures["pa_mpjpe"]["pictures"] == 4  # picture 0 by its left hand
    assert figures["mrrpe"]["pictures"] == 1  # picture 0 has no pair in the first run
    assert figures["hands_found"]["first"] == pytest.approx(6 / 7)
    assert figures["presence_accuracy"]["difference"] == pytest.approx(1 / 12)


def test_only_common_pictures_are_compared(tmp_path):
    evaluate(Knowing(), DATA, tmp_path / "a", quiet=True)
    evaluate(Knowing(), spread(DATA, 3), tmp_path / "b", boxes="truth", quiet=True)
    result = compare_runs(tmp_path / "a", tmp_path / "b")
    assert (result["pictures"], result["only_first"], result["only_second"]) == (3, 3, 0)
    assert sentences(result)[:2] == [
        "Mind: the first had boxes own, the second truth.",
        "3 pictures are in the first run only and left out.",
    ]


def test_what_cannot_be_compared_is_told(tmp_path, capsys):
    evaluate(Knowing(), DATA, tmp_path / "a", quiet=True)
    with pytest.raises(ValueError, match=r"there is no .*metrics.json"):
        compare_runs(tmp_path / "a", tmp_path)
    evaluate(Knowing(), DataSet("other", 6, make), tmp_path / "b", quiet=True)
    with pytest.raises(ValueError, match="same data"):
        compare_runs(tmp_path / "a", tmp_path / "b")
    for folder, picture in (("c", 0), ("d", 1)):
        evaluate(Knowing(), DataSet("toy", 1, lambda index, p=picture: make(p)), tmp_path / folder, quiet=True)
    with pytest.raises(ValueError, match="no picture in common"):
        compare_runs(tmp_path / "c", tmp_path / "d")
    evaluate(Knowing(), DataSet("toy", 2, lambda index: make(0)), tmp_path / "e", quiet=True)
    with pytest.raises(ValueError, match="two pictures of one name"):
        compare_runs(tmp_path / "a", tmp_path / "e")
    assert cli.main(["compare", str(tmp_path / "a"), str(tmp_path / "c"), "--out", str(tmp_path / "x" / "c.json")]) == 0
    assert json.loads((tmp_path / "x" / "c.json").read_text())["pictures"] == 1
    assert "protocols.C.mpjpe: second minus first is" in capsys.readouterr().out
    (tmp_path / "c" / "metrics.json").write_text("{")
    for name in ("metrics.json", "scores.npz"):
        before = (tmp_path / "a" / name).read_bytes()
        assert cli.main(["compare", str(tmp_path / "c"), str(tmp_path / "a"), "--out", str(tmp_path / "a" / name)]) == 2
        assert "would replace what is read" in capsys.readouterr().err
        assert (tmp_path / "a" / name).read_bytes() == before
    assert cli.main(["compare", str(tmp_path / "a"), str(tmp_path / "c")]) == 2
    assert "metrics.json is damaged" in capsys.readouterr().err


def test_other_distances_of_the_wrists_are_warned_of(tmp_path):
    evaluate(Knowing(), DATA, tmp_path / "a", quiet=True)
    evaluate(Knowing(), DATA, tmp_path / "b", quiet=True, root_depth="truth")
    assert not any("Mind" in line for line in sentences(compare_runs(tmp_path / "a", tmp_path / "a")))
    (warned,) = (line for line in sentences(compare_runs(tmp_path / "a", tmp_path / "b")) if "Mind" in line)
    assert "MRRPE" in warned


def test_runs_with_and_without_mano_are_not_compared_by_what_it_decides(tmp_path):
    """Protocols A and B and AUC take the true mesh's joints where there is one."""
    evaluate(Knowing(), DATA, tmp_path / "a", quiet=True)
    evaluate(Knowing(), DATA, tmp_path / "b", quiet=True)
    scores = read_scores(tmp_path / "b" / "scores.npz")
    scores.hands["of_mesh"][0] = True
    (tmp_path / "b" / "scores.npz").write_bytes(to_npz(scores))
    same, other = (compare_runs(tmp_path / "a", tmp_path / name) for name in "ab")
    assert {"protocols.A.mpjpe", "protocols.B.mpjpe", "auc_0_50"} <= set(same["figures"])
    assert not any(name.startswith(("protocols.A", "protocols.B", "auc")) for name in other["figures"])
    assert "protocols.C.mpjpe" in other["figures"]
    (warned,) = (line for line in sentences(other) if "Mind" in line)
    assert "MANO_DIR" in warned and "of 0 hands in the first and of 1 in the second" in warned


def test_films_are_not_taken_for_many_pictures(tmp_path):
    """Two runs that differ by a number for each film: that is as much as two films tell, however many pictures they have."""

    def filmed(index):
        return replace(make(index % 6), name=f"film{index % 2}/{index}", recording=f"film{index % 2}")

    data = replace(DATA, count=24, load=filmed)
    alone = replace(data, load=lambda index: replace(filmed(index), recording=None))
    for name, source, shift in (("a", data, 0.0), ("b", data, 0.01), ("c", alone, 0.0), ("d", alone, 0.01)):
        told = evaluate(Knowing(shift), source, tmp_path / name, quiet=True)["confidence"]
        assert (told["over"], told["count"]) == (("recordings", 2) if name in "ab" else ("pictures", 24))
    films, pictures = (
        compare_runs(tmp_path / a, tmp_path / b)["figures"]["protocols.C.mpjpe"] for a, b in ("ab", "cd")
    )
    assert films["difference"] == pictures["difference"]
    assert (films["recordings"], films["better"]) == (2, None)
    assert pictures["recordings"] == pictures["pictures"] == films["pictures"] and pictures["better"] == "first"
    assert "2 recordings are too few to tell" in "".join(sentences(compare_runs(tmp_path / "a", tmp_path / "b")))
    assert "intervals over 2 recordings." in (tmp_path / "a" / "table.md").read_text()


def test_other_crops_are_warned_of_and_other_rules_refused(tmp_path):
    for name, key, value in (("a", "tta", 1), ("b", "tta", 3), ("c", "tta", None), ("d", "scoring", 1)):
        evaluate(Knowing(), DATA, tmp_path / name, quiet=True)
        metrics = json.loads((tmp_path / name / "metrics.json").read_text())
        (tmp_path / name / "metrics.json").write_text(json.dumps({**metrics, key: value}))
    for name in "ac":
        assert not any("Mind" in line for line in sentences(compare_runs(tmp_path / "a", tmp_path / name)))
    said = sentences(compare_runs(tmp_path / "a", tmp_path / "b"))
    assert any("the mean of 1 crops of each hand, the second of 3." in line for line in said)
    with pytest.raises(ValueError, match="by the rules of another version"):
        compare_runs(tmp_path / "a", tmp_path / "d")


def test_recordings_that_changed_are_other_data(tmp_path):
    evaluate(Knowing(), DATA, tmp_path / "a", quiet=True)
    evaluate(
        Knowing(), replace(DATA, load=lambda index: replace(make(index), recording="one")), tmp_path / "b", quiet=True
    )
    with pytest.raises(ValueError, match="of other recordings in the two runs"):
        compare_runs(tmp_path / "a", tmp_path / "b")


# --- tables


def sections(markdown: str) -> dict[str, str]:
    return {part.split("\n", 1)[0]: part for part in markdown.split("\n## ")[1:]}


def test_published_figures_stand_under_their_protocol_and_beside_their_data_only(tmp_path):
    metrics = evaluate(Knowing(shift=0.01), DATA, tmp_path, quiet=True)
    text = (tmp_path / "table.md").read_text()
    assert text == to_markdown(metrics)
    assert "No published figures stand here" in text
    assert "EANet" not in text
    parts = sections(text)
    row = next(line for line in parts["Protocol C: root wrist, no scale"].splitlines() if line.startswith("| lgnet"))
    assert row == f"| lgnet, knowing | C | {OFF:.2f} ({OFF:.2f} to {OFF:.2f}) | - | 0.00 (0.00 to 0.00) |"
    of_joints = sections(to_markdown({**metrics, "data": "interhand26m-test-two"}))
    assert "InterNet" in str(of_joints)  # but those of A, B and the plot are of the joints of true meshes
    assert not any(name in str(of_joints) for name in ("EANet", "IntagHand", "DIR"))
    meshes = {**metrics, "hands_of_mesh": 4, "hands_of_joints": 0, "data": "interhand26m-test-two"}
    for part in ({"hands_of_joints": 1}, {"whole": False}):  # some hands without a mesh, some pictures only
        assert "EANet" not in str(sections(to_markdown({**meshes, **part})))
    parts = sections(to_markdown(meshes))
    by_letter = {title[9]: part for title, part in parts.items() if title.startswith("Protocol ")}
    assert set(by_letter) == set("ABC")
    for method, letter in (("EANet", "A"), ("IntagHand", "A"), ("DIR", "B"), ("InterNet", "C")):
        assert [method in by_letter[name] for name in "ABC"] == [name == letter for name in "ABC"]
    assert "| EANet | A | 5.88 | 5.45 | 28.54 |" in by_letter["A"]
    assert "ACR" not in str(parts) and "A2P" not in str(parts)  # known at second hand only
    assert "EANet" not in to_markdown({**metrics, "data": "interhand26m-test"})  # single hands are in that


def test_latex(tmp_path):
    metrics = evaluate(Knowing(), DATA, tmp_path, quiet=True)
    text = to_latex({**metrics, "weights": "my_net & 5 % a\\b^c~"})
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == len(sections(to_markdown(metrics)))
    assert r"my\_net \& 5 \% a\textbackslash{}b\textasciicircum{}c\textasciitilde{}" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) > 20
    assert (tmp_path / "table.tex").read_text() == to_latex(metrics)


def test_pictures_of_one_name_with_other_true_hands_are_not_compared(tmp_path):
    def moved(index):
        sample = make(index)
        return replace(sample, joints3d=sample.joints3d + np.array([[[0, 0, 0]], [[0.05, 0, 0]]], np.float32))

    evaluate(Knowing(), DATA, tmp_path / "a", quiet=True)
    evaluate(Knowing(), replace(DATA, load=moved), tmp_path / "b", quiet=True)
    with pytest.raises(ValueError, match="not of the same data"):
        compare_runs(tmp_path / "a", tmp_path / "b")
