import torch
from test_model import disturb
from torch.nn import functional as F

from lgnet.model.layers import cell_centres, sample_map, soft_argmax_3d
from lgnet.model.lgblock import LGFA, ChebConv, GINConv, grid_adjacency


def test_soft_argmax_of_peaks_is_exact():
    d, h, w = 8, 16, 12
    for k, i, j in ((0, 0, 0), (3, 5, 7), (7, 15, 11), (4, 0, 6)):
        logits = torch.full((d, h, w), -1e4)
        logits[k, i, j] = 0
        expected = torch.tensor([(j + 0.5) / w, (i + 0.5) / h, (k + 0.5) / d]) * 2 - 1
        mean, spread = soft_argmax_3d(logits)
        torch.testing.assert_close(mean, expected)
        torch.testing.assert_close(spread, torch.zeros(3), atol=1e-3, rtol=0)
    flat, spread = soft_argmax_3d(torch.zeros(2, d, h, w))
    torch.testing.assert_close(flat, torch.zeros(2, 3), atol=1e-6, rtol=0)
    # n cells in a row, 2 / n apart: variance (n^2 - 1) / 12 * (2 / n)^2
    wide = torch.tensor([((n * n - 1) / 12) ** 0.5 * 2 / n for n in (w, h, d)])
    torch.testing.assert_close(spread, wide.expand(2, 3))


def test_soft_argmax_between_cells_is_unbiased():
    n = 8
    # two equal neighbours: the place between their centres; a wide Gaussian: its mean
    logits = torch.full((n, n, n), -1e4)
    logits[2, 3, 5] = logits[2, 3, 6] = 0
    torch.testing.assert_close(soft_argmax_3d(logits)[0], torch.tensor([0.5, -0.125, -0.375]))
    centres = cell_centres(n)
    mean = torch.tensor([0.13, -0.21, 0.08])  # x, y, z
    z, y, x = torch.meshgrid(centres, centres, centres, indexing="ij")
    gauss = -((x - mean[0]) ** 2 + (y - mean[1]) ** 2 + (z - mean[2]) ** 2) / (2 * 0.2**2)
    torch.testing.assert_close(soft_argmax_3d(gauss)[0], mean, atol=1e-4, rtol=0)
    torch.testing.assert_close(soft_argmax_3d(gauss)[1], torch.full((3,), 0.2), atol=3e-3, rtol=0)


def test_sampling_knows_half_pixels():
    n = 8
    ramp = cell_centres(n).expand(1, 1, n, n)  # a map that says its own x
    points = torch.tensor([[[0.0, 0.0], [0.3, -0.9], [-0.7, 0.2], [1.0, 0.0], [3.0, 0.0]]])
    x = sample_map(torch.cat([ramp, ramp.transpose(-1, -2)], 1), points)[0]
    torch.testing.assert_close(x[:3], torch.tensor([[0.0, 0.0], [0.3, -0.875], [-0.7, 0.2]]))
    torch.testing.assert_close(x[3:, 0], torch.tensor([0.875, 0.875]))  # clamped to the last centre


def test_sampling_clamps_as_the_border_of_grid_sample_does():
    """In values and gradients, in every direction, of a map that is no square."""
    torch.manual_seed(0)
    features = torch.randn(2, 3, 4, 6, requires_grad=True)
    points = (torch.rand(2, 50, 2) * 5 - 2.5).requires_grad_()
    border = F.grid_sample(features, points[:, None], padding_mode="border", align_corners=False)[:, :, 0].transpose(
        1, 2
    )
    own = sample_map(features, points)
    torch.testing.assert_close(own, border, atol=1e-5, rtol=0)
    pull = torch.randn_like(own)
    for a, b in zip(
        torch.autograd.grad((own * pull).sum(), (features, points)),
        torch.autograd.grad((border * pull).sum(), (features, points)),
    ):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


def lgfa_printed(block: LGFA, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The printed algorithm for one picture, token by token, of depth 1 and one head, with our norms and positions."""

    def linear(layer, x):
        return torch.stack([layer.weight @ row + layer.bias for row in x])

    def norm(layer, x):
        rows = [(row - row.mean()) / (row.var(unbiased=False) + layer.eps).sqrt() for row in x]
        return torch.stack([row * layer.weight + layer.bias for row in rows])

    def two_layers(layers, x):
        return linear(layers[2], F.gelu(linear(layers[0], x)))

    def attend(attention, query, context):
        q, k, v = linear(attention.q, query), linear(attention.k, context), linear(attention.v, context)
        out = []
        for row in q:
            weight = torch.stack([row @ key for key in k]) / len(row) ** 0.5
            weight = torch.exp(weight - weight.max())
            out.append(sum(w * value for w, value in zip(weight / weight.sum(), v, strict=True)))
        return torch.stack(out)

    t_f = linear(block.fuse, torch.cat([a, b], -1))
    t = torch.cat([block.class_token, a, b]) + block.position
    sa, cross = block.sa[0], block.cross[0]
    y = norm(sa.norm1, t)
    t = t + attend(sa.attention, y, y)
    t_s = t + two_layers(sa.mlp, norm(sa.norm2, t))
    a_ = attend(cross.attention, norm(cross.norm_q, t_f), norm(cross.norm_kv, t_s)) + t_f
    return a_ + two_layers(cross.mlp, norm(cross.norm, a_))


def test_lgfa_is_the_printed_algorithm():
    torch.manual_seed(0)
    block = LGFA(width=12, tokens=9, depth=1, heads=1)
    disturb(block)
    a, b = torch.randn(3, 9, 12), torch.randn(3, 9, 12)
    out, attention = block(a, b)
    assert attention.shape == (3, 1, 9, 19)
    with torch.no_grad():
        for row in range(3):
            torch.testing.assert_close(out[row], lgfa_printed(block, a[row], b[row]), atol=1e-5, rtol=1e-4)


def test_grid_adjacency():
    a = grid_adjacency(4)
    assert a.sum(1).tolist() == [3, 5, 5, 3, 5, 8, 8, 5, 5, 8, 8, 5, 3, 5, 5, 3]
    assert torch.equal(a, a.T)
    assert a[5].nonzero()[:, 0].tolist() == [0, 1, 2, 4, 6, 8, 9, 10]


def random_graph(n: int) -> torch.Tensor:
    a = (torch.rand(n, n, generator=torch.Generator().manual_seed(2)) < 0.3).float().triu(1)
    ring = torch.eye(n).roll(1, 0)  # no node is alone
    return (a + a.T + ring + ring.T).clamp_max(1)


def test_gin_against_neighbour_lists():
    a = random_graph(11)
    conv = GINConv(a, 5, 7)
    disturb(conv)
    x = torch.randn(2, 11, 5)
    total = torch.stack([sum((x[:, j] for j in range(11) if a[i, j]), torch.zeros(2, 5)) for i in range(11)], 1)
    torch.testing.assert_close(conv(x), conv.mlp((1 + conv.eps) * x + total))


def test_cheb_against_the_eigenbasis():
    a = random_graph(11)
    conv = ChebConv(a, 5, 7, order=4)
    x = torch.randn(2, 11, 5)
    degree = a.sum(1)
    laplacian = torch.eye(11) - a / (degree[:, None] * degree).sqrt()
    values, vectors = torch.linalg.eigh(laplacian)
    angle = torch.arccos((values - 1).clamp(-1, 1))  # of 2 L / 2 - 1; T_k(cos t) = cos(k t)
    terms = [(vectors * torch.cos(k * angle)) @ vectors.T @ x for k in range(4)]
    torch.testing.assert_close(conv(x), conv.linear(torch.cat(terms, -1)), atol=1e-4, rtol=1e-4)
