"""What the refine stage is told of J, and what it makes of it: a mesh drawn to the joints seen in the picture."""

from dataclasses import replace

import torch

from lgnet.config import ModelConfig
from lgnet.hand_model import load_hand_model, pose_hand
from lgnet.model.network import build_network
from lgnet.model.records import JointOutput, MeshOutput
from lgnet.model.refine_stage import joints_seen

HAND = load_hand_model("lgnet")
TAN_HALF, DEPTH, MIDDLE = 0.25, 0.6, torch.tensor([0.1, -0.2])


def mesh_of(turns: torch.Tensor) -> MeshOutput:
    """A hand in both slots whose weak camera is what it looks like from DEPTH metres."""
    posed = pose_hand(HAND, turns, torch.zeros(1, 2, 10))
    camera = torch.tensor([1 / (DEPTH * TAN_HALF), *MIDDLE]).expand(1, 2, 3)
    flat = torch.zeros(1, 3)
    return MeshOutput(turns, torch.zeros(1, 2, 10), camera, flat, posed.vertices, posed.joints)


def seen_of(joints: torch.Tensor) -> JointOutput:
    """J of these joints (1, 2, 21, 3), metres from the wrist, seen in perspective from DEPTH metres."""
    xy = joints[..., :2] / (DEPTH + joints[..., 2:]) / TAN_HALF
    wrist = MIDDLE * DEPTH / (DEPTH + joints[..., 2:])  # off the axis by as much as the weak camera says
    j = torch.cat([xy + wrist, joints[..., 2:]], -1)
    maps = torch.zeros(1, 2, 1, 1, 1)
    return JointOutput(j, torch.zeros_like(j), maps, maps, torch.zeros(1, 2, 21, 1), torch.zeros(1, 2))


def bent(angle: float) -> torch.Tensor:
    """(1, 2, 16, 3, 3) every joint but the wrist bent by this, about x."""
    turns = torch.eye(3).repeat(1, 2, 16, 1, 1)
    c, s = torch.cos(torch.tensor(angle)), torch.sin(torch.tensor(angle))
    turns[:, :, 1:, 1:, 1:] = torch.stack([torch.stack([c, -s]), torch.stack([s, c])])
    return turns


def test_joints_are_seen_in_metres_where_the_mesh_has_them():
    mesh = mesh_of(bent(0.4))
    seen = joints_seen(seen_of(mesh.joints), mesh, torch.full((1, 2), TAN_HALF))
    torch.testing.assert_close(seen, mesh.joints, atol=1e-6, rtol=0)


def test_a_share_of_one_draws_the_mesh_to_the_joints_seen():
    """The last layer's shares set to 1 by hand: what is learnt is only how much to believe."""
    config = replace(
        ModelConfig(),
        backbone="mobile",
        separation="crops",
        crop_size=64,
        grid=8,
        heatmap_size=8,
        channels=16,
        joint_channels=16,
        refine_channels=8,
    )
    stage = build_network(config).eval().refine_stage
    with torch.no_grad():
        for net in stage.net.hands:
            net.out.bias[3:] = 1.0
    mesh, true = mesh_of(bent(0.3)), mesh_of(bent(0.45))
    joint = replace(seen_of(true.joints), features=torch.zeros(1, 2, 16, 8, 8), interaction=torch.zeros(1, 2, 20, 8, 8))
    maps = [torch.zeros(1, 2, c, 16, 16) for c in (32, 64, 128)]
    with torch.no_grad():
        refined = stage(maps, joint, mesh, torch.full((1, 2), TAN_HALF))

    def off(joints):
        return (joints - true.joints).norm(dim=-1).mean()

    assert off(mesh.joints) > 0.008
    assert off(refined.joints) < 0.25 * off(mesh.joints)
    error = (refined.vertices - true.vertices).norm(dim=-1).mean()
    assert error < 0.4 * (mesh.vertices - true.vertices).norm(dim=-1).mean()
