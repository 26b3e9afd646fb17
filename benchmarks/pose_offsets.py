"""How far `joints3d` and the final mesh are from the hand model in the result's pose and shape: the refine stage's offsets.

    python benchmarks/pose_offsets.py --count 60

Of pictures of synth-bench, own boxes, one crop: what those who go by `pose` and `shape` (BVH, CSV, other programs) have of the
hand otherwise than the mesh shows it.
"""

import numpy as np
import torch
import tyro

import lgnet
from lgnet.data.registry import open_data
from lgnet.evaluate import predict_sample
from lgnet.geometry import rotvec_to_matrix
from lgnet.hand_model import load_hand_model, pose_hand
from lgnet.hands import Hand
from lgnet.robot import TIPS


def offsets(hand: Hand) -> tuple[np.ndarray, np.ndarray]:
    """(21,) and (V,) millimetres between what pose and shape say and what is predicted, wrists together."""
    model = load_hand_model("lgnet", hand.side)
    rotations = rotvec_to_matrix(torch.tensor(hand.pose)).float()
    posed = pose_hand(model, rotations, torch.tensor(hand.shape).float())
    joints, vertices = posed.joints.double().numpy(), posed.vertices.double().numpy()
    root = hand.joints3d[0] - joints[0]
    return tuple(
        1000 * np.linalg.norm(a + root - b, axis=1) for a, b in ((joints, hand.joints3d), (vertices, hand.vertices))
    )


def main(count: int = 60, weights: str = "lgnet-mobile") -> None:
    """Measure `count` pictures."""
    torch.set_num_threads(1)
    model = lgnet.load(weights, device="cpu")
    hands = [hand for sample in open_data("synth-bench", count) for hand in predict_sample(model, sample, "own").hands]
    joints, vertices = zip(*map(offsets, hands))
    print(f"{len(hands)} hands of {count} pictures, millimetres")
    for name, values in (
        ("fingertips", np.stack(joints)[:, TIPS]),
        ("all joints", np.stack(joints)),
        ("vertices", np.stack(vertices)),
    ):
        print(
            f"{name}: mean {values.mean():.1f}, median {np.median(values):.1f}, 95th percentile "
            f"{np.percentile(values, 95):.1f}, most {values.max():.1f}"
        )


if __name__ == "__main__":
    tyro.cli(main)
