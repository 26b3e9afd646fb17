import dataclasses
import math

import pytest
import torch

from lgnet.config import LossConfig
from lgnet.losses import (
    edge_loss,
    joints25d_loss,
    l1,
    laplacian_loss,
    masked_mean,
    normal_loss,
    parts_loss,
    pose_loss,
    presence_loss,
    surface_truth,
    total_loss,
)
from lgnet.model.mesh_stage import project_weak
from lgnet.model.network import build_network
from lgnet.model.records import Inputs, JointOutput, MeshOutput, Output, RefineOutput, Targets
from lgnet.presets import MODELS

YES, NO = torch.tensor([True]), torch.tensor([False])
TINY = dataclasses.replace(
    MODELS["lgnet-mobile"],
    channels=16,
    joint_channels=16,
    sjt_depth=1,
    refine_channels=8,
    dense_head=True,
    surface_head=True,
)


def test_masked_mean():
    values = torch.tensor([[1.0, 3.0], [100.0, float("nan")]])
    assert masked_mean(values, torch.tensor([True, False])) == 2
    assert masked_mean(values, torch.tensor([False, False])) == 0
    assert masked_mean(values, torch.tensor([[True, False], [True, False]])) == 50.5


def test_l1_by_hand():
    prediction = torch.tensor([[1.0, 2.0], [5.0, 5.0]], requires_grad=True)
    truth = torch.tensor([[0.0, 4.0], [float("nan"), 0.0]])
    loss = l1(prediction, truth, torch.tensor([True, False]))
    assert loss.item() == 1.5
    loss.backward()
    assert prediction.grad.tolist() == [[0.5, -0.5], [0, 0]]


def test_joints25d_by_hand():
    prediction, flat, deep = torch.zeros(1, 21, 3), torch.zeros(1, 21, 2), torch.zeros(1, 21, 3)
    flat[0, 0] = torch.tensor([0.4, -0.2])  # |x| + |y| over 2 coordinates of 2 scored joints
    deep[0, 3] = torch.tensor([9.0, 9.0, 0.06])  # 0.06 m = 0.4 units, over 4 scored joints
    seen = torch.zeros(1, 21, dtype=torch.bool)
    seen[0, :2] = True
    known = torch.zeros(1, 21, dtype=torch.bool)
    known[0, :4] = True
    loss = joints25d_loss(prediction, flat, seen, deep, known)
    assert loss.item() == pytest.approx(0.6 / 4 + 0.5 * 0.4 / 4)


def test_pose_by_hand():
    truth = torch.eye(3).expand(1, 16, 3, 3)
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    prediction = truth.clone()
    prediction[0, 4] = quarter  # four entries differ by 1, of 16 x 9
    assert pose_loss(prediction, truth, YES).item() == pytest.approx(4 / 144)


SQUARE = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]])
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])
EDGES = torch.tensor([[0, 1], [0, 2], [0, 3], [1, 2], [2, 3]])


def test_normal_by_hand():
    assert normal_loss(SQUARE * 3 + 1, SQUARE, FACES, YES).item() == 0  # parallel surfaces
    raised = SQUARE.clone()
    raised[0, 2, 2] = 1  # edges 1-2, 2-3 rise at 45 degrees, 0-2 (twice, once a face) by 1 over sqrt 3
    expected = (2 / math.sqrt(2) + 2 / math.sqrt(3)) / 6
    assert normal_loss(raised, SQUARE, FACES, YES).item() == pytest.approx(expected)
    assert normal_loss(raised, SQUARE, FACES, NO).item() == 0


def test_edge_by_hand():
    stretched = SQUARE * torch.tensor([2.0, 1, 1])  # 0-1 and 2-3 grow by 1, 0-2 from sqrt 2 to sqrt 5
    expected = (2 + math.sqrt(5) - math.sqrt(2)) / 5
    assert edge_loss(stretched, SQUARE, EDGES, YES).item() == pytest.approx(expected)
    assert edge_loss(SQUARE + 7, SQUARE, EDGES, YES).item() == pytest.approx(0, abs=1e-6)
    assert edge_loss(stretched, SQUARE, EDGES, NO).item() == 0


def test_laplacian_by_hand():
    assert laplacian_loss(torch.ones(1, 4, 3), EDGES, YES).item() == pytest.approx(0, abs=1e-6)
    offsets = torch.zeros(1, 4, 3)
    offsets[0, 1, 2] = 1.0  # vertex 1 is apart by 1; its neighbours 0 and 2 have three neighbours each; 3 feels nothing
    assert laplacian_loss(offsets, EDGES, YES).item() == pytest.approx((1 + 2 / 3) / 4, rel=1e-4)
    offsets.requires_grad_()
    laplacian_loss(offsets * 0, EDGES, YES).backward()
    assert bool(offsets.grad.isfinite().all())


def test_presence_by_hand():
    logit = torch.tensor([[0.0, math.log(3)]])
    present = torch.tensor([[True, False]])
    known = torch.tensor([[True, True]])
    assert presence_loss(logit, present, known).item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert presence_loss(logit, present, torch.tensor([[True, False]])).item() == pytest.approx(math.log(2))


def test_parts_by_hand():
    logit = torch.zeros(1, 2, 17, 2, 2)
    logit[0, 0, 5, 0, 0] = 100
    parts = torch.full((1, 2, 2, 2), -1)
    parts[0, 0, 0, 0], parts[0, 1, 1, 1] = 5, 3
    assert parts_loss(logit, parts).item() == pytest.approx(math.log(17) / 2)
    assert parts_loss(logit, torch.full((1, 2, 2, 2), -1)).item() == 0


def test_surface_by_hand():
    """Two by two cells, tan 0.5: of two points in a cell the nearer one counts; no hand or no point there: not known."""
    points = torch.tensor([[-0.1, -0.1, 0.5], [-0.1, -0.12, 0.4], [0.1, -0.1, 0.5], [0.1, 0.1, 0.5], [9.0, 9.0, 0.5]])
    wrist = torch.tensor([[0.02, 0.0, 0.3]])
    rest = torch.arange(15.0).reshape(5, 3)
    parts = torch.tensor([[[3, 0], [4, 1]]])
    places, known = surface_truth((points - wrist)[None], wrist, torch.tensor([0.5]), rest, parts)
    assert known.tolist() == [[[True, False], [False, True]]]  # cells are [y][x]
    assert places[0, :, 0, 0].tolist() == [30.0, 40.0, 50.0] and places[0, :, 1, 1].tolist() == [90.0, 100.0, 110.0]


def unknown(rows: int, cells: int) -> Targets:
    """A batch of which nothing is known: what stands there is nonsense that must not be looked at."""
    nan, no = float("nan"), torch.zeros(rows, 2, dtype=torch.bool)
    return Targets(
        present=no,
        present_known=no,
        joints2d=torch.full((rows, 2, 21, 2), nan),
        joints2d_valid=no[..., None].expand(-1, -1, 21),
        joints3d=torch.full((rows, 2, 21, 3), nan),
        joints3d_valid=no[..., None].expand(-1, -1, 21),
        rotations=torch.full((rows, 2, 16, 3, 3), nan),
        betas=torch.full((rows, 2, 10), nan),
        has_params=no,
        relative=torch.full((rows, 3), nan),
        has_relative=no[:, 0],
        parts=torch.full((rows, 2, cells, cells), -1),
        wrist=torch.full((rows, 2, 3), nan),
        tan_half=torch.full((rows, 2), nan),
    )


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_network(TINY)


def some_inputs(rows: int) -> Inputs:
    size = TINY.crop_size
    return Inputs(torch.rand(rows, 2, 3, size, size), torch.ones(rows, 2, dtype=torch.bool), torch.zeros(rows, 2, 5))


def test_nothing_known_is_exactly_zero(network):
    network.zero_grad()
    loss, terms = total_loss(network(some_inputs(2)), unknown(2, TINY.crop_size // 8), LossConfig(), network)
    assert loss.item() == 0
    assert set(terms) == {f.name for f in dataclasses.fields(LossConfig)}
    assert all(term.item() == 0 for term in terms.values())
    loss.backward()
    assert all(p.grad is None or not bool(p.grad.any()) for p in network.parameters())  # nor NaN: NaN is truthy


def perfect(network, rows: int) -> tuple[Output, Targets]:
    """A prediction that is the truth."""
    out = network.eval()(some_inputs(rows))
    yes = torch.ones(rows, 2, dtype=torch.bool)
    mesh = out.mesh
    flat = project_weak(mesh.joints, mesh.camera)
    joint = dataclasses.replace(
        out.joint, joints25d=torch.cat([flat, mesh.joints[..., 2:]], -1), presence_logit=torch.full((rows, 2), 50.0)
    )
    cells = TINY.crop_size // 8
    parts = torch.randint(0, 17, (rows, 2, cells, cells))
    logit = 100 * torch.nn.functional.one_hot(parts, 17).movedim(-1, 2).float()
    targets = Targets(
        present=yes,
        present_known=yes,
        joints2d=flat,
        joints2d_valid=yes[..., None].expand(-1, -1, 21),
        joints3d=mesh.joints,
        joints3d_valid=yes[..., None].expand(-1, -1, 21),
        rotations=mesh.rotations,
        betas=mesh.betas,
        has_params=yes,
        relative=mesh.relative,
        has_relative=yes[:, 0],
        parts=parts,
        wrist=torch.tensor([0.0, 0.05, 0.5]).expand(rows, 2, 3),
        tan_half=torch.full((rows, 2), 0.25),
    )
    rest = network.mesh_stage.hands[0].model.template
    sides = [(mesh.vertices[:, s], targets.wrist[:, s], targets.tan_half[:, s], rest, parts[:, s]) for s in (0, 1)]
    surface = torch.stack([surface_truth(*side)[0] for side in sides], 1)
    return dataclasses.replace(out, joint=joint, parts_logit=logit, surface=surface), targets


def test_the_truth_costs_nothing(network):
    with torch.no_grad():
        out, targets = perfect(network, 2)
        _, terms = total_loss(out, targets, LossConfig(), network)
    normal = terms.pop("normal").item()
    assert normal < 1e-4
    assert all(abs(term.item()) < 1e-5 for term in terms.values()), terms


def test_each_mistake_costs_its_term_alone(network):
    with torch.no_grad():
        out, targets = perfect(network, 2)
        mistakes = {
            "shape": dataclasses.replace(targets, betas=targets.betas + 0.1),
            "relative": dataclasses.replace(targets, relative=targets.relative + 0.05),
            "presence": dataclasses.replace(targets, present=~targets.present),
            "surface": dataclasses.replace(targets, wrist=targets.wrist + torch.tensor([0.03, 0.0, 0.0])),
            "parts": dataclasses.replace(targets, parts=(targets.parts + 1) % 17),
        }
        for name, wrong in mistakes.items():
            loss, terms = total_loss(out, wrong, LossConfig(), network)
            assert terms[name] > 0.01, name
            others = {"vertices_rough", "vertices", "edge", "normal", "surface"} if name == "shape" else {"normal"}
            assert all(terms[k] < 1e-5 for k in terms if k not in {name, *others}), (name, terms)
        assert terms["parts"].item() == pytest.approx(100)
        only = LossConfig(**{f.name: 0.0 for f in dataclasses.fields(LossConfig)})
        loss, terms = total_loss(out, mistakes["relative"], dataclasses.replace(only, relative=3.0), network)
        assert terms.keys() == {"relative"}  # terms of weight 0 are not even computed
        assert loss.item() == pytest.approx(0.15, rel=1e-4)


def test_left_and_right_are_scored_apart(network):
    """An error of a hand that is not known changes nothing; of the other hand, it does."""
    with torch.no_grad():
        out, targets = perfect(network, 1)
        half = dataclasses.replace(targets, has_params=torch.tensor([[True, False]]))
        for side in (0, 1):
            rotations = targets.rotations.clone()
            rotations[:, side, 3] = rotations[:, side, 3].transpose(-1, -2) @ torch.diag(torch.tensor([1.0, -1, -1]))
            _, terms = total_loss(out, dataclasses.replace(half, rotations=rotations), LossConfig(), network)
            for name in ("pose", "vertices_rough", "vertices"):
                assert (terms[name] > 1e-4) == (side == 0), (side, name)


def test_rough_and_final_meshes_are_both_supervised(network):
    with torch.no_grad():
        out, targets = perfect(network, 1)
        shift = torch.tensor([0.01, 0, 0])
        refine = RefineOutput(out.refine.offsets + shift, out.refine.vertices + shift, out.refine.joints + shift)
        _, terms = total_loss(dataclasses.replace(out, refine=refine), targets, LossConfig(), network)
        assert terms["vertices_rough"] < 1e-6
        assert terms["vertices"].item() == pytest.approx(0.01 / 3, rel=1e-4)
        assert terms["joints3d"].item() == pytest.approx(0.01 / 3, rel=1e-4)
        assert terms["laplacian"].item() == pytest.approx(0, abs=1e-6)
        assert isinstance(out.joint, JointOutput)
        assert isinstance(out.mesh, MeshOutput)
