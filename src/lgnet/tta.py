"""Test-time augmentation: crops of one hand, rolled this way and that, and the mean of what the network says of them.

A network's errors differ from one roll of the crop's camera to the next, the hand does not: turned back and averaged, some
of them cancel. Rolled rather than flipped, since a flip would make the other hand of it. It costs a run of the network for
each crop.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from .model.records import Output

WIDEST = 25.0
"""Degrees, of the outermost crops either way (benchmarks/tta.py)."""
MOST = 64
"""Crops of a hand: far more than pay."""
AGREE = 0.04
"""Metres, the mean over joints: a crop whose hand lies farther than this from the middle one's does not count. Between 0.015
and 0.06 it makes no difference (docs/trials.md); the mean of all errs less in MPJPE, but may be no hand."""


def rolls(count: int) -> Float[Tensor, " L"]:
    """Radians by which so many crops are rolled, evenly about 0; one is not rolled.

    Raises:
        ValueError: fewer than one, more than `MOST`, or no whole number.
    """
    if not isinstance(count, int) or not 1 <= count <= MOST:
        raise ValueError(f"tta is the number of crops of each hand, 1 to {MOST}, not {count!r}")
    return torch.deg2rad(torch.linspace(-WIDEST, WIDEST, count)) if count > 1 else torch.zeros(1)


def mean_of_rolls(output: Output, angles: Float[Tensor, " L"], mirrored: bool) -> Output:
    """What L crops of each hand of B pictures say together, in the frame of a crop that is not rolled.

    A hand is as surely there as in the crop that shows it best. Features and tokens, of which there is no mean, are those of
    the first; attention and maps of parts are left out.

    Args:
        output: of B * L rows, a picture's crops side by side.
        angles: by which the crops were rolled, radians (`crop.crop_for_box`).
        mirrored: the left hand has a mirrored crop of its own (separation by crops).
    """
    count = len(angles)
    spin = _turns(angles.to(output.mesh.vertices))  # rolled crop -> crop
    back = spin.transpose(-1, -2)
    slots = torch.stack([spin, back if mirrored else spin], 1)  # a mirrored crop turns the other way round

    def back_turned(x: Float[Tensor, "BL 2 n k"]) -> Float[Tensor, "B L 2 n k"]:
        """Points of each slot's crop, normalised or in metres: z stays."""
        x = x.unflatten(0, (-1, count))
        return torch.cat([torch.einsum("lhij,blhnj->blhni", slots[..., :2, :2], x[..., :2]), x[..., 2:]], -1)

    joint, mesh, refine = output.joint, output.mesh, output.refine
    share = _shares(back_turned(refine.joints))

    def mean(x: Float[Tensor, "BL 2 *rest"]) -> Float[Tensor, "B 2 *rest"]:
        return torch.einsum("blh,blh...->bh...", share, x.unflatten(0, (-1, count)))

    def turned(x: Float[Tensor, "BL 2 n k"]) -> Float[Tensor, "B 2 n k"]:
        return torch.einsum("blh,blhnk->bhnk", share, back_turned(x))

    root = torch.einsum("lhij,blhjk->blhik", slots, mesh.rotations[:, :, 0].unflatten(0, (-1, count)))
    root = torch.einsum("blh,blhik->bhik", share, root)
    rotations = _nearest_rotation(torch.cat([root[:, :, None], mean(mesh.rotations[:, :, 1:])], 2))
    middle = turned(mesh.camera[:, :, None, 1:])[:, :, 0]
    relative = torch.einsum("lij,blj->bli", spin, mesh.relative.unflatten(0, (-1, count)))
    return replace(
        output,
        joint=replace(
            joint,
            joints25d=turned(joint.joints25d),
            spread=mean(joint.spread),
            presence_logit=joint.presence_logit.unflatten(0, (-1, count)).amax(1),
            features=joint.features[::count],
            interaction=joint.interaction[::count],
            tokens=joint.tokens[::count],
            attention={},
        ),
        mesh=replace(
            mesh,
            rotations=rotations,
            betas=mean(mesh.betas),
            camera=torch.cat([mean(mesh.camera[..., :1]), middle], -1),
            relative=torch.einsum("bl,bli->bi", share.mean(2), relative),
            vertices=turned(mesh.vertices),
            joints=turned(mesh.joints),
        ),
        refine=replace(
            refine,
            offsets=turned(refine.offsets),
            vertices=turned(refine.vertices),
            joints=turned(refine.joints),
        ),
        parts_logit=None,
        surface=None,
    )


def _shares(joints: Float[Tensor, "B L 2 21 3"]) -> Float[Tensor, "B L 2"]:
    """What each crop counts, 1 together: those whose joints (metres, turned back) lie near the crop that is nearest to all.

    Where crops disagree on how the hand is turned, their mean would be no hand but a small ball.
    """
    apart = (joints[:, :, None] - joints[:, None]).norm(dim=-1).mean(-1)  # (B, L, L, 2)
    middle = apart.sum(2).argmin(1)  # (B, 2)
    near = apart.gather(1, middle[:, None, None].expand(-1, 1, apart.shape[2], -1))[:, 0] <= AGREE
    return near.to(joints) / near.sum(1, keepdim=True)


def _turns(angles: Float[Tensor, " L"]) -> Float[Tensor, "L 3 3"]:
    """About the optical axis."""
    c, s, zero, one = angles.cos(), angles.sin(), torch.zeros_like(angles), torch.ones_like(angles)
    return torch.stack([c, -s, zero, s, c, zero, zero, zero, one], -1).unflatten(-1, (3, 3))


def _nearest_rotation(matrices: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation nearest to each matrix: of a mean of rotations, their chordal mean (Hartley et al., IJCV 2013)."""
    u, _, vh = torch.linalg.svd(matrices)
    sign = torch.ones_like(matrices[..., 0])
    sign[..., 2] = torch.linalg.det(u @ vh).sign()
    return (u * sign[..., None, :]) @ vh
