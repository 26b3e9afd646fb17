"""Labels of pixels, joints and vertices: each is checked against the mesh, or on a scene whose answer is plain."""

import numpy as np
import pytest
import torch

from lgnet.config import SynthConfig
from lgnet.data.labels import MAPS, decode, encode
from lgnet.hand_model import load_hand_model, pose_hand
from lgnet.hands import SIDES

pytest.importorskip("numba")

from lgnet.synth.generate import Drawn, draw, make_drawn, training_rng
from lgnet.synth.labels import CONTACT, REACH, first_surface, joint_skin, make_labels
from lgnet.synth.scene import PlacedHand, Scene, shifted

FULL = SynthConfig(size=160, full_frame=True, fill=(0.5, 0.8), bank=1.0)
PLAIN = SynthConfig(size=160, difficulty=0.0)


@pytest.fixture(scope="module")
def drawn() -> list[tuple]:
    """Pictures of every kind with their labels, as they come back from the files."""
    kinds = ("interacting", "interacting", "separate", "single", "single", "none")
    pictures = [make_drawn(training_rng(21, 0, i), FULL, kind) for i, kind in enumerate(kinds)]
    return [(picture, make_labels(picture)) for picture in pictures]


def flat_hand(side: int, wrist: tuple[float, float, float]) -> PlacedHand:
    """The flat hand, palm to the camera, fingers up, its wrist at this place."""
    model = load_hand_model("lgnet", SIDES[side])
    turn = np.diag([1.0, -1.0, -1.0])
    rotations = torch.eye(3).repeat(16, 1, 1)
    rotations[0] = torch.from_numpy(turn).float()
    posed = pose_hand(model, rotations, torch.zeros(10))
    hand = PlacedHand(
        rotations.numpy(), np.zeros(10), posed.vertices.numpy(), posed.joints.numpy(), np.array([0, 1.0, 0])
    )
    return shifted(hand, np.array(wrist))


def scene_of(right: PlacedHand | None, left: PlacedHand | None) -> Drawn:
    K = np.array([200.0, 200.0, 79.5, 79.5])
    kind = "separate" if right is not None and left is not None else "single"
    scene = Scene(kind, (right, left), K, 160)
    picture = draw(np.random.default_rng(0), scene, PLAIN, "made", force=True)
    assert picture is not None
    return picture


def pixels(points: np.ndarray, K: np.ndarray) -> np.ndarray:
    return points[:, :2] / points[:, 2:] * K[:2] + K[2:]


def surface_point(uv: np.ndarray, side: int, vertices: np.ndarray) -> np.ndarray:
    """(P, C, 3) every point of the skin with these texture coordinates, by a search over all faces; NaN where outside."""
    model = load_hand_model("lgnet", SIDES[side])
    corners = model.uvs.numpy()[model.uv_faces.numpy()].astype(np.float64)
    a, e1, e2 = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    offset = uv[:, None].astype(np.float64) - a
    area = e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]
    b = (offset[..., 0] * e2[:, 1] - offset[..., 1] * e2[:, 0]) / area
    c = (e1[:, 0] * offset[..., 1] - e1[:, 1] * offset[..., 0]) / area
    face = np.minimum(np.minimum(b, c), 1 - b - c).argmax(1)
    rows = np.arange(len(uv))
    b, c = b[rows, face], c[rows, face]
    assert min(b.min(), c.min(), (1 - b - c).min()) > -0.05  # all lie on the texture
    corner = vertices[model.faces.numpy()[face]]
    return corner[:, 0] * (1 - b - c)[:, None] + corner[:, 1] * b[:, None] + corner[:, 2] * c[:, None]


def test_uv_leads_back_to_the_pixel(drawn):
    """Texture coordinates as stored -> place on the mesh -> picture: the pixel that they were read at."""
    sides = set()
    for picture, labels in drawn:
        stored = decode(encode(labels))
        for side in (0, 1):
            rows, columns = np.nonzero(stored.skin == side + 1)
            if not len(rows):
                continue
            sides.add(side)
            pick = np.random.default_rng(0).permutation(len(rows))[:200]
            points = surface_point(stored.uv[rows[pick], columns[pick]], side, stored.vertices[side])
            error = np.linalg.norm(pixels(points, picture.sample.K) - np.stack([columns, rows], 1)[pick], axis=1)
            assert np.quantile(error, 0.99) < 0.5
            assert np.median(error) < 0.05
            depth = np.abs(points[:, 2] - stored.depth[rows[pick], columns[pick]])
            assert np.quantile(depth, 0.95) < 0.001  # steep surfaces move by more between two texture steps
    assert sides == {0, 1}


def test_skin_is_where_the_parts_are(drawn):
    for picture, labels in drawn:
        of_part = np.where(picture.sample.parts == 0, 0, 1 + (picture.sample.parts > 16))
        assert (labels.skin == of_part).mean() > 0.999  # the wrist's cap has a part and no texture
        assert (labels.skin <= of_part).all()


def test_visible_vertices_lie_at_the_depth_of_their_pixel(drawn):
    """Among the nine pixels about it, a seen vertex is no nearer than the nearest and no farther than the farthest."""
    checked = 0
    for picture, labels in drawn:
        size = labels.depth.shape[0]
        for side in np.flatnonzero(picture.sample.present):
            points = labels.vertices[side]
            uv = pixels(points, picture.sample.K)
            columns, rows = uv.round().astype(int).T
            inside = (columns > 0) & (rows > 0) & (columns < size - 1) & (rows < size - 1)
            seen = np.flatnonzero(labels.vertices_visible[side] & inside)
            about = np.stack([labels.depth[rows[seen] + i, columns[seen] + j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
            drawn_near = np.where(about > 0, about, np.inf).min(0)
            assert (points[seen, 2] > drawn_near - 0.003).mean() > 0.99
            far = np.where((about > 0).all(0), about.max(0), np.inf)
            assert (points[seen, 2] < far + 0.0015).mean() > 0.98
            hidden = np.flatnonzero(~labels.vertices_visible[side] & inside)
            before = labels.depth[rows[hidden], columns[hidden]]
            assert ((before > 0) & (before < points[hidden, 2])).mean() > 0.9
            checked += len(seen)
    assert checked > 2000


def test_normals_are_those_of_the_depth(drawn):
    """Slopes of the depth map, worked out from neighbouring pixels, agree with the stored normals where it is smooth."""
    for picture, labels in drawn[:4]:
        stored = decode(encode(labels))
        fx, fy, cx, cy = picture.sample.K.astype(np.float64)
        v, u = np.indices(labels.depth.shape)
        z = labels.depth.astype(np.float64)
        place = np.stack([(u - cx) / fx * z, (v - cy) / fy * z, z], -1)
        across, down = place[1:-1, 2:] - place[1:-1, :-2], place[2:, 1:-1] - place[:-2, 1:-1]
        normal = np.cross(down, across)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-12
        parts = picture.sample.parts
        same = parts[1:-1, 1:-1] > 0
        for shift in (parts[1:-1, 2:], parts[1:-1, :-2], parts[2:, 1:-1], parts[:-2, 1:-1]):
            same &= shift == parts[1:-1, 1:-1]
        jump = np.maximum(np.linalg.norm(across, axis=-1), np.linalg.norm(down, axis=-1))
        same &= jump < 0.01
        cosine = (stored.normal[1:-1, 1:-1] * normal).sum(-1)[same]
        assert np.median(cosine) > 0.97
        towards = (stored.normal * place).sum(-1)[labels.depth > 0]
        assert (towards < 0.01).all()
        assert np.allclose(np.linalg.norm(stored.normal[labels.depth > 0], axis=-1), 1, atol=1e-3)
        assert not stored.normal[labels.depth == 0].any()


def test_a_flat_hand_before_the_camera_is_seen_whole():
    labels = make_labels(scene_of(flat_hand(0, (0.0, 0.08, 0.4)), None))
    assert labels.joints_visible.tolist() == [[True] * 21, [False] * 21]
    assert 0.3 < labels.vertices_visible[0].mean() < 0.7  # one of its two faces
    assert not labels.contact_hand.any()
    assert not labels.contact_object.any()
    assert np.isinf(labels.hand_distance).all()


def test_joints_behind_the_other_hand_are_not_visible():
    """The left hand stands 10 cm before the right one: the right one is drawn a third smaller, quite behind it."""
    right, left = flat_hand(0, (0.0, 0.08, 0.5)), flat_hand(1, (0.0, 0.06, 0.4))
    labels = make_labels(scene_of(right, left))
    assert labels.joints_visible[1].all()
    uv = pixels(right.joints, np.array([200.0, 200, 79.5, 79.5])).round().astype(int)
    covered = labels.skin[uv[:, 1], uv[:, 0]] == 2
    assert covered.sum() >= 8
    assert not labels.joints_visible[0][covered].any()
    free = labels.skin[uv[:, 1], uv[:, 0]] == 1
    assert labels.joints_visible[0][free].all()
    assert not labels.contact_hand.any()


def test_joints_outside_the_picture_are_not_visible():
    hand = flat_hand(0, (0.0, -0.06, 0.4))  # the picture's upper edge is at y = -0.16 m
    labels = make_labels(scene_of(hand, None))
    inside = pixels(hand.joints, np.array([200.0, 200, 79.5, 79.5]))[:, 1] >= -0.5
    assert 0 < inside.sum() < 21
    np.testing.assert_array_equal(labels.joints_visible[0], inside)


def test_contact_is_where_hands_meet():
    """A left hand comes up behind the right one until two vertices are 3 mm apart; and stands 3 cm behind it."""
    right, left = flat_hand(0, (0.0, 0.08, 0.4)), flat_hand(1, (0.0, 0.08, 0.4))
    apart = right.vertices[:, 2].max() - left.vertices[:, 2].min()
    aside = ((right.vertices[:, None] - left.vertices)[..., :2] ** 2).sum(-1)
    back = right.vertices[:, None, 2] - left.vertices[:, 2] + np.sqrt(np.maximum(0.003**2 - aside, 0))
    step = back[aside < 0.003**2].max()
    behind = shifted(left, np.array([0, 0, step]))
    labels = make_labels(scene_of(right, behind))
    distance = np.linalg.norm(right.vertices[:, None] - behind.vertices, axis=-1)
    for side, nearest in ((0, distance.min(1)), (1, distance.min(0))):
        assert labels.contact_hand[side].any()
        assert labels.contact_hand[side][nearest <= CONTACT].all()
        assert not labels.contact_hand[side][nearest > CONTACT + 0.012].any()  # no edge of the mesh is as long
        assert 0.001 < labels.hand_distance[side].min() < 0.00301
    labels = make_labels(scene_of(right, shifted(left, np.array([0, 0, apart + 0.03]))))
    assert not labels.contact_hand.any()
    assert np.isinf(labels.hand_distance).all()


def test_vertices_inside_the_other_hand_touch_it():
    right = flat_hand(0, (0.0, 0.08, 0.4))
    labels = make_labels(scene_of(right, flat_hand(1, (0.005, 0.08, 0.4))))
    assert (labels.hand_distance[0] == 0).sum() > 50
    assert labels.contact_hand[0][labels.hand_distance[0] == 0].all()


def test_contact_with_objects():
    config = SynthConfig(size=64, difficulty=4.0)  # something is in the way of every hand
    found = []
    for index in range(6):
        picture = make_drawn(training_rng(2, 0, index), config, "single")
        labels = make_labels(picture)
        assert len(picture.objects) == 1
        side = int(np.flatnonzero(picture.sample.present)[0])
        thing = picture.meshes[picture.objects[0]].vertices
        nearest = np.linalg.norm(labels.vertices[side][:, None] - thing[None], axis=-1).min(1)
        told = labels.object_distance[side]
        assert (
            told[np.isfinite(told)] <= nearest[np.isfinite(told)] + 1e-6
        ).all()  # a surface is no farther than its corners
        assert np.isfinite(told[nearest < REACH]).all()
        found.append(labels.contact_object[side].any())
    assert any(found)


def test_first_surface_by_hand():
    """Two squares across the view, the nearer one half as wide: rays through both, past it, and past both."""
    square = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    vertices = np.concatenate([square * 0.5 + [0, 0, 2], square * 2 + [0, 0, 3]])
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], np.int32)
    K = np.array([100.0, 100.0, 0.0, 0.0])
    face, depth = first_surface(np.array([[3.0, 1.0], [40.0, 1.0], [500.0, 1.0]]), vertices, faces, K)
    assert face[0] in (0, 1)
    assert face[1] in (2, 3)
    assert face[2] == -1
    np.testing.assert_allclose(depth[:2], [2, 3])
    assert depth[2] == np.inf


def test_every_joint_has_skin_on_both_sides():
    """Within a plausible radius, before and behind the joint, and of few other fingers."""
    model = load_hand_model("lgnet", "right")
    near, radius = joint_skin()
    assert ((radius > 0.008) & (radius < 0.04)).all()
    for joint in range(5, 21):
        z = model.template.numpy()[near[joint], 2] - model.points.numpy()[joint, 2]
        assert z.min() < 0 < z.max()
        if joint % 4 != 1:  # beyond the knuckles a joint's skin is of its own finger
            finger = (model.part.numpy()[near[joint]] + 2) // 3
            assert (finger == (joint + 3) // 4).mean() > 0.7


def test_uv_corners_go_with_the_faces_of_both_hands():
    right, left = load_hand_model("lgnet", "right"), load_hand_model("lgnet", "left")
    count = len(right.uv_faces)

    def pairs(model):
        return {*zip(model.faces[:count].flatten().tolist(), model.uv_faces.flatten().tolist())}

    assert pairs(right) == pairs(left)
    assert len(pairs(right)) < 1.2 * len(right.template)  # a vertex has one place on the texture, two at a seam


def test_files_give_back_what_was_stored(drawn):
    for _, labels in drawn:
        files = encode(labels)
        assert tuple(files) == MAPS
        assert files == encode(labels)
        back = decode(files)
        np.testing.assert_allclose(back.depth, labels.depth, atol=0.51e-4)
        np.testing.assert_allclose(back.uv, labels.uv, atol=1 / 65535)
        assert (np.abs(back.normal - labels.normal) < 0.01).all()
        for name in ("skin", "joints_visible", "vertices", "vertices_visible", "hand_distance", "contact_object"):
            np.testing.assert_array_equal(getattr(back, name), getattr(labels, name))
    with pytest.raises(ValueError, match=r"depth\.png cannot be read"):
        decode({**files, "depth.png": b"no picture"})
    with pytest.raises(ValueError, match=r"npz is damaged"):
        decode({**files, "npz": files["npz"][:50]})


def test_what_a_hand_holds_is_an_object_and_its_owner_is_none():
    config = SynthConfig(size=64, difficulty=0.0, held=1.0, people=1.0)
    pictures = [make_drawn(training_rng(4, 0, index), config, "single") for index in range(14)]
    holding = [picture for picture in pictures if picture.objects]
    assert len(holding) >= 3  # a hand that is open or closed can hold nothing
    assert any(len(picture.meshes) > 10 for picture in holding)  # there are people too, and none of them is an object
    assert all(len(picture.objects) == 1 for picture in holding)
    touching = [make_labels(picture).contact_object.any() for picture in holding]
    assert sum(touching) > len(touching) / 2


def test_the_wrist_is_seen_from_the_arm_s_side():
    """Looking along the forearm, its skin comes before the wrist joint: that counts, an object there does not."""
    hand = flat_hand(0, (0.0, 0.02, 0.4))
    bent = PlacedHand(hand.rotations, hand.betas, hand.vertices, hand.joints, np.array([0.0, 0.45, -0.89]))
    picture = scene_of(bent, None)
    labels = make_labels(picture)
    column, row = pixels(hand.joints[:1], np.array([200.0, 200, 79.5, 79.5])).round().astype(int)[0]
    assert labels.depth[row, column] < hand.joints[0, 2]
    assert labels.joints_visible[0, 0]
