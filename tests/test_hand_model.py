import dataclasses
from importlib import resources

import numpy as np
import pytest
import torch

from lgnet.geometry import mirror_rotation, rotvec_to_matrix
from lgnet.hand_model import (
    HandModel,
    hand_length,
    load_hand_model,
    mesh_edges,
    mesh_pyramid,
    mirrored,
    pose_hand,
    vertex_normals,
)
from lgnet.hands import JOINT_NAMES, JOINT_PARENTS, ROTATION_PARENTS

torch.set_num_threads(1)
FLIP = torch.tensor([-1.0, 1.0, 1.0])
REST = torch.eye(3).expand(16, 3, 3)
SIDES = ["right", "left"]


@pytest.fixture(scope="module", params=SIDES)
def hand(request) -> HandModel:
    return load_hand_model("lgnet", request.param)


def random_pose(seed: int, *batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    turns = torch.from_numpy(rng.normal(0, 0.5, (*batch, 16, 3))).float()
    return rotvec_to_matrix(turns), torch.from_numpy(rng.normal(0, 1, (*batch, 10))).float()


def double(hand: HandModel, vertices: slice = slice(None)) -> HandModel:
    values = {f.name: getattr(hand, f.name) for f in dataclasses.fields(hand)}
    for name in ("template", "shape_basis", "weights"):
        values[name] = values[name][vertices]
    doubles = {k: v.double() for k, v in values.items() if isinstance(v, torch.Tensor) and v.is_floating_point()}
    return dataclasses.replace(hand, **{**values, **doubles})


def slow_pose(hand: HandModel, rotations: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and joints one at a time: every bone's motion about its own centre, applied from the tip to the wrist."""

    def number(values: torch.Tensor) -> np.ndarray:
        return values.double().numpy()

    def carried(point: np.ndarray, joint: int) -> np.ndarray:
        while joint >= 0:
            point = centres[joint] + rotations[joint] @ (point - centres[joint])
            joint = ROTATION_PARENTS[joint]
        return point

    centres = number(hand.centres) + number(hand.centres_basis) @ betas
    shaped = number(hand.template) + number(hand.shape_basis) @ betas
    points = number(hand.points) + number(hand.points_basis) @ betas
    weights = number(hand.weights)
    vertices = np.array(
        [sum(w * carried(v, int(j)) for j, w in enumerate(row) if w > 0) for v, row in zip(shaped, weights)]
    )
    joints = np.array([carried(p, int(j)) for p, j in zip(points, hand.point_joint)])
    return vertices - joints[0], joints - joints[0]


def test_skinning_against_a_slow_one(hand):
    rotations, betas = random_pose(3, 2, 2)
    posed = pose_hand(hand, rotations, betas)
    assert posed.vertices.shape == (2, 2, *hand.template.shape)
    assert posed.joints.shape == (2, 2, 21, 3)
    assert posed.centres.shape == (2, 2, 16, 3)
    for i, j in ((0, 1), (1, 0)):
        vertices, joints = slow_pose(hand, rotations[i, j].double().numpy(), betas[i, j].double().numpy())
        np.testing.assert_allclose(posed.vertices[i, j], vertices, atol=2e-6)
        np.testing.assert_allclose(posed.joints[i, j], joints, atol=2e-6)


def test_rest_pose_is_the_template(hand):
    posed = pose_hand(hand, REST, torch.zeros(10))
    torch.testing.assert_close(posed.vertices, hand.template - hand.points[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(posed.joints, hand.points - hand.points[0], atol=1e-6, rtol=0)


def test_wrist_is_the_origin_and_the_first_rotation_turns_all(hand):
    rotations, betas = random_pose(4, 3)
    posed = pose_hand(hand, rotations, betas)
    assert posed.joints[:, 0].abs().max() == 0
    still = rotations.clone()
    still[:, 0] = torch.eye(3)
    unturned = pose_hand(hand, still, betas)
    for turned, before in ((posed.vertices, unturned.vertices), (posed.joints, unturned.joints)):
        torch.testing.assert_close(turned, before @ rotations[:, 0].transpose(1, 2), atol=1e-6, rtol=0)


def test_gradients():
    hand = double(load_hand_model(), slice(0, 1610, 400))
    betas = random_pose(5)[1]

    def posed(turns: torch.Tensor, betas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = pose_hand(hand, rotvec_to_matrix(turns), betas)
        return out.vertices, out.joints[4::4]

    turns = torch.from_numpy(np.random.default_rng(6).normal(0, 0.4, (16, 3))).requires_grad_()
    assert torch.autograd.gradcheck(posed, (turns, betas.double().requires_grad_()))
    zero = torch.zeros(16, 3, dtype=torch.float64, requires_grad=True)  # the flat hand has a gradient too
    assert torch.autograd.gradcheck(posed, (zero, betas.double()))


def test_left_is_the_exact_mirror():
    rotations, betas = random_pose(7, 4)
    right = pose_hand(load_hand_model("lgnet", "right"), rotations, betas)
    left = pose_hand(load_hand_model("lgnet", "left"), mirror_rotation(rotations), betas)
    torch.testing.assert_close(left.vertices, right.vertices * FLIP, atol=1e-7, rtol=0)
    torch.testing.assert_close(left.joints, right.joints * FLIP, atol=1e-7, rtol=0)


def test_mirroring_twice_and_pose_correctives():
    right = load_hand_model()
    rng = np.random.default_rng(8)
    correctives = torch.from_numpy(rng.normal(0, 1e-3, (len(right.template), 3, 135))).float()
    right = dataclasses.replace(right, pose_basis=correctives)
    left = mirrored(right)
    back = mirrored(left)
    for field in dataclasses.fields(right):
        value = getattr(right, field.name)
        if isinstance(value, torch.Tensor):
            assert torch.equal(getattr(back, field.name), value), field.name
    rotations, betas = random_pose(9)
    a, b = pose_hand(right, rotations, betas), pose_hand(left, mirror_rotation(rotations), betas)
    torch.testing.assert_close(b.vertices, a.vertices * FLIP, atol=1e-6, rtol=0)


# Millimetres. Joints as annotators mark them lie up to a centimetre short of the bones' own ends, so the bounds are those
# of adult bone lengths widened by that. Bones: Buryanov and Kotiuk, "Proportions of hand segments", Int. J. Morphol. 2010:
# proximal phalanges of index, middle, ring, little 39.8, 44.6, 41.4, 32.7; middle 22.4, 26.3, 25.7, 18.1; distal (bone)
# 15.8, 17.4, 17.3, 16.0 and 4-6 of soft tissue; thumb proximal 31.6, distal 21.7; metacarpals 46 (thumb), 68, 65, 58, 54.
BOUNDS = {
    "thumb_cmc": (20, 50),
    "thumb_mcp": (30, 52),
    "thumb_ip": (25, 40),
    "thumb_tip": (20, 36),
    "index_mcp": (75, 100),
    "index_pip": (31, 46),
    "index_dip": (18, 30),
    "index_tip": (18, 30),
    "middle_mcp": (75, 100),
    "middle_pip": (35, 52),
    "middle_dip": (20, 33),
    "middle_tip": (18, 30),
    "ring_mcp": (70, 97),
    "ring_pip": (32, 48),
    "ring_dip": (19, 32),
    "ring_tip": (18, 30),
    "little_mcp": (65, 92),
    "little_pip": (24, 39),
    "little_dip": (13, 25),
    "little_tip": (16, 27),
}


def test_bone_lengths_are_a_hands(hand):
    joints = pose_hand(hand, REST, torch.zeros(10)).joints * 1000
    for joint in range(1, 21):
        length = (joints[joint] - joints[JOINT_PARENTS[joint]]).norm().item()
        low, high = BOUNDS[JOINT_NAMES[joint]]
        assert low < length < high, JOINT_NAMES[joint]
    # length of the hand, wrist crease to middle fingertip: 161 to 209 mm from the 5th woman to the 95th man (Tilley)
    assert 161 < joints[12].norm() < 209
    # and the middle finger reaches farthest, the little finger least of the four
    reach = joints[[8, 12, 16, 20], 1]
    assert reach[1] == reach.max()
    assert reach[3] == reach.min()


def test_mcps_stay_when_fingers_bend(hand):
    rotations, betas = random_pose(10, 5)
    rotations[:, 0] = torch.eye(3)
    bent = pose_hand(hand, rotations, betas).joints
    flat = pose_hand(hand, REST.expand(5, 16, 3, 3), betas).joints
    fixed = [0, 1, 5, 9, 13, 17]
    torch.testing.assert_close(bent[:, fixed], flat[:, fixed], atol=1e-6, rtol=0)
    assert (bent[:, 4::4] - flat[:, 4::4]).norm(dim=-1).median() > 0.005


def test_first_beta_is_size(hand):
    sizes = []
    for value in (-2.0, 0.0, 2.0):
        betas = torch.zeros(10)
        betas[0] = value
        posed = pose_hand(hand, REST, betas)
        sizes.append((posed.joints[12].norm(), volume(posed.vertices, hand.faces)))
    assert sizes[0][0] < sizes[1][0] < sizes[2][0]
    assert sizes[0][1] < sizes[1][1] < sizes[2][1]


def volume(vertices: torch.Tensor, faces: torch.Tensor) -> float:
    a, b, c = vertices.double()[faces].unbind(1)
    return (torch.linalg.cross(a, b) * c).sum().item() / 6


def test_mesh_is_closed_and_outward(hand):
    faces = hand.faces
    directed = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(torch.unique(directed, dim=0)) == len(directed)  # each sense once
    edges = mesh_edges(faces)
    assert 2 * len(edges) == len(directed)  # so each edge lies in two faces, once each way
    assert torch.equal(torch.unique(directed.flip(1), dim=0), torch.unique(directed, dim=0))
    assert len(hand.template) - len(edges) + len(faces) == 2  # a sphere
    # a hand displaces some 0.3 to 0.45 litres
    assert 2e-4 < volume(hand.template, faces) < 5e-4
    assert torch.unique(faces).tolist() == list(range(len(hand.template)))


def test_normals(hand):
    rotations, betas = random_pose(11, 2)
    vertices = pose_hand(hand, rotations, betas).vertices
    normals = vertex_normals(vertices, hand.faces)
    torch.testing.assert_close(normals.norm(dim=-1), torch.ones(2, len(hand.template)))
    # a small step along the normals swells the hand
    assert volume(vertices[0] + 1e-4 * normals[0], hand.faces) > volume(vertices[0], hand.faces)
    # a known body: a tetrahedron's corner looks away from its middle
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    sides = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    torch.testing.assert_close(vertex_normals(corners, sides)[0], torch.full((3,), -(3**-0.5)))


def test_fields(hand):
    count = len(hand.template)
    assert hand.weights.min() >= 0
    torch.testing.assert_close(hand.weights.sum(1), torch.ones(count))
    torch.testing.assert_close(hand.vertex_influence.sum(1), torch.ones(21))
    assert hand.uv_faces.max() < len(hand.uvs)
    assert len(hand.uv_faces) == len(hand.faces) - len(hand.wrist_loop)
    for name in ("nail", "palm"):
        values = getattr(hand, name)
        assert values.shape == (count,)
        assert values.min() >= 0
        assert values.max() <= 1
    assert set(hand.part[hand.nail > 0].tolist()) == {3, 6, 9, 12, 15}
    torch.testing.assert_close(hand.thumb_dorsal.norm(), torch.tensor(1.0))
    loop = hand.wrist_loop
    edges = {tuple(edge) for edge in mesh_edges(hand.faces).tolist()}
    assert all((min(a, b), max(a, b)) in edges for a, b in zip(loop.tolist(), loop.roll(-1).tolist()))


def test_nails_are_on_the_back_and_palms_in_front(hand):
    fingers = hand.part >= 4
    height = hand.template[:, 2]
    assert height[(hand.nail > 0) & fingers].max() < height[(hand.palm > 0.9) & fingers].median()
    thumb = hand.part == 3
    along = hand.template @ hand.thumb_dorsal
    assert along[(hand.nail > 0) & thumb].mean() > along[thumb].mean()


def test_file_is_small():
    assert resources.files("lgnet").joinpath("weights/hand.npz").stat().st_size < 1_500_000  # type: ignore[attr-defined]


def test_names_and_cache():
    assert load_hand_model("lgnet", "right") is load_hand_model("lgnet", "right")
    assert load_hand_model("lgnet", "left").side == "left"
    with pytest.raises(ValueError, match="no hand model 'other'"):
        load_hand_model("other")
    with pytest.raises(ValueError, match="'right' or 'left'"):
        load_hand_model("lgnet", "both")


def test_pyramid(hand):
    levels = mesh_pyramid(hand, (400, 100))
    finer = torch.arange(len(hand.template))
    for level, size in zip(levels, (400, 100)):
        assert len(level.vertices) == len(set(level.vertices.tolist())) == size
        assert set(level.vertices.tolist()) <= set(finer.tolist())
        assert level.nearest.shape == level.blend.shape == (len(finer), 3)
        assert level.nearest.max() < size
        assert level.blend.min() >= 0
        torch.testing.assert_close(level.blend.sum(1), torch.ones(len(finer)))
        # a node of this level takes after itself
        place = {v: i for i, v in enumerate(finer.tolist())}
        own = level.nearest[[place[v] for v in level.vertices.tolist()], 0]
        assert torch.equal(own, torch.arange(size))
        assert (level.edges[:, 0] < level.edges[:, 1]).all()
        assert set(level.edges.flatten().tolist()) == set(range(size))  # no node is left alone
        finer = level.vertices
    for again, level in zip(mesh_pyramid(hand, (400, 100)), levels):
        for field in dataclasses.fields(level):
            assert torch.equal(getattr(again, field.name), getattr(level, field.name))


def test_pyramid_is_one_piece_and_keeps_fingers_apart():
    hand = load_hand_model()
    finger = (hand.part + 2) // 3
    for level in mesh_pyramid(hand, (400, 100)):
        group = torch.arange(len(level.vertices))
        for _ in range(len(group)):
            low = torch.minimum(group[level.edges[:, 0]], group[level.edges[:, 1]])
            new = group.scatter_reduce(0, level.edges[:, 0], low, "amin")
            new = new.scatter_reduce(0, level.edges[:, 1], low, "amin")
            if torch.equal(new, group):
                break
            group = new
        assert group.max() == 0
        ends = finger[level.vertices][level.edges]
        strangers = (ends[:, 0] != ends[:, 1]) & (ends.min(1).values > 0)  # from finger to finger, not by the palm
        assert strangers.float().mean() < 0.05


def test_hand_length_is_the_straight_hands():
    """The mean hand's middle finger, bone by bone; then as a shape moves its joints, in both hand's mirror images."""
    model = load_hand_model("lgnet")
    points, basis = model.points.double().numpy(), model.points_basis.double().numpy()
    chain = [0, 9, 10, 11, 12]
    for betas in (np.zeros(10), np.linspace(-1.5, 1.5, 10)):
        joints = points + basis @ betas
        expected = np.linalg.norm(np.diff(joints[chain], axis=0), axis=1).sum()
        for side in ("right", "left"):
            found = hand_length(load_hand_model("lgnet", side), torch.from_numpy(betas).float())
            assert float(found) == pytest.approx(expected, abs=1e-6)
    # and so is the flat hand as it is posed
    flat = pose_hand(model, REST, torch.zeros(10)).joints.double().numpy()[chain]
    bones = np.linalg.norm(np.diff(flat, axis=0), axis=1).sum()
    assert float(hand_length(model, torch.zeros(10))) == pytest.approx(bones, abs=1e-6)
    assert 0.16 < bones < 0.21  # metres, as adults have it
