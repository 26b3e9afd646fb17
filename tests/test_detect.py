"""The detector's encoding, decoding and choice; not how well it is trained, which `lgnet evaluate` says."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lgnet import places
from lgnet.config import DetectorConfig
from lgnet.detect import (
    STRIDE,
    Place,
    build_detector,
    choose_sides,
    decode,
    detector_loss,
    encode_targets,
    iou,
    letterbox,
    letterbox_boxes,
    same_place,
)
from lgnet.places import find_places


class _Says(torch.nn.Module):
    """A network that outputs the given map."""

    def __init__(self, out):
        super().__init__()
        self.out = out

    def forward(self, _):
        return self.out


@pytest.mark.parametrize("size", [0, 200, 225])
def test_sizes_that_cannot_be_halved_are_refused(size):
    with pytest.raises(ValueError, match=f"--detector.size is a multiple of 32, not {size}"):
        build_detector(DetectorConfig(size=size))


def test_decode_inverts_encode():
    boxes = torch.tensor([[[30.0, 40, 50, 60], [120.0, 20, 33, 28]], [[5.0, 150, 70, 40], [100.0, 100, 90, 90]]])
    present = torch.tensor([[True, True], [False, True]])
    mirrored = torch.cat([223 - boxes[..., :1] - boxes[..., 2:3], boxes[..., 1:]], -1)  # pixel centres 0..223
    heat, values, _ = (torch.cat(parts) for parts in zip(*(encode_targets(b, present, 28) for b in (boxes, mirrored))))
    out = torch.cat([torch.logit(heat.clamp(1e-4, 1 - 1e-4))[:, None], values], 1)
    for row, candidates in enumerate(decode(_Says(out), torch.zeros(2, 3, 224, 224))):
        strong = sorted((c.box for c in candidates if c.score > 0.9), key=lambda box: box[0])
        expected = sorted((boxes[row, side].numpy() for side in (0, 1) if present[row, side]), key=lambda box: box[0])
        np.testing.assert_allclose(strong, expected, atol=1e-3)


def test_a_cell_between_two_hands_tells_of_the_nearer():
    boxes = torch.tensor([[[40.0, 40, 16, 16], [56.0, 40, 24, 24]]])  # middles in cells 6 and 8 of one row
    _, values, near = encode_targets(boxes, torch.tensor([[True, True]]), 28)
    row = int(48.5 // STRIDE)
    assert near[0, row, 5:10].all()
    widths = (values[0, 2, row].exp() * STRIDE).tolist()
    assert [round(w) for w in widths[5:7]] == [16, 16]
    assert [round(w) for w in widths[8:10]] == [24, 24]


def test_absent_hands_have_no_heat_and_no_regression():
    heat, _, near = encode_targets(torch.full((1, 2, 4), 50.0), torch.tensor([[False, False]]), 28)
    assert heat.max() == 0
    assert not near.any()


def test_one_peak_a_hand_at_its_cell():
    boxes = torch.tensor([[[40.0, 40, 16, 16], [0.0, 0, 1, 1]]])
    heat, _, _ = encode_targets(boxes, torch.tensor([[True, False]]), 28)
    y, x = divmod(int(heat[0].argmax()), 28)
    assert (x, y) == (int(48.5 // STRIDE), int(48.5 // STRIDE))
    assert (heat[0] >= 0.9999).sum() == 1


def test_loss_falls_on_one_picture():
    torch.manual_seed(0)
    detector = build_detector(DetectorConfig(size=64, widths=(4, 8, 8, 8, 8)))
    images = torch.rand(2, 3, 64, 64)
    boxes = torch.tensor([[[10.0, 10, 20, 20], [35.0, 30, 20, 25]]] * 2)
    present = torch.tensor([[True, False], [True, True]])
    optimiser = torch.optim.Adam(detector.parameters(), 1e-2)
    first = None
    for _ in range(30):
        loss, terms = detector_loss(detector, images, boxes, present)
        first = first or float(loss.detach())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert set(terms) == {"focal", "offset", "size"}
    assert float(loss.detach()) < 0.5 * first


def test_letterbox_maps_pixels_exactly():
    image = np.zeros((100, 200, 3), np.uint8)
    box = np.array([[50.0, 20, 40, 30]])
    out, scale, shift = letterbox(image, 100)
    assert out.shape == (100, 100, 3)
    assert scale == 0.5
    # the picture's left edge, at pixel coordinate -0.5, is the input's left edge
    assert -0.5 * scale + shift[0] == -0.5
    # and its top edge is where the grey bar of 25 rows ends
    assert -0.5 * scale + shift[1] == 25 - 0.5
    moved = letterbox_boxes(image, box, 100)[1][0]
    np.testing.assert_allclose(moved, [50 * 0.5 - 0.25, 20 * 0.5 + 25 - 0.25, 20, 15])


def _place(score, x):
    return Place(score, np.array([x, 0.0, 10, 10]))


def test_one_place_is_one_hand_of_the_likelier_side():
    chosen = choose_sides([_place(0.8, 0)], np.array([[0.6, 0.35, 0.05]]))
    assert [c.side for c in chosen] == [0]


def test_sides_are_decided_together():
    # both places look like right hands, the second a little less so: it must be the left one
    chosen = choose_sides([_place(0.8, 0), _place(0.8, 50)], np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0]]))
    assert {(c.side, float(c.box[0])) for c in chosen} == {(0, 0.0), (1, 50.0)}


def test_a_second_place_that_shows_no_hand_invents_none():
    chosen = choose_sides([_place(0.8, 0), _place(0.5, 50)], np.array([[0.9, 0.1, 0.0], [0.1, 0.1, 0.8]]))
    assert [c.side for c in chosen] == [0]


def test_nothing_found_is_an_answer():
    assert choose_sides([], np.zeros((0, 3))) == []
    assert choose_sides([_place(0.2, 0)], np.array([[0.5, 0.4, 0.1]])) == []


def test_iou_by_hand():
    assert iou(np.array([0, 0, 2, 2.0]), np.array([1, 0, 2, 2.0])) == 2 / 6
    assert iou(np.array([0, 0, 1, 1.0]), np.array([5, 5, 1, 1.0])) == 0


class _SeesBright(torch.nn.Module):
    """A detector that finds a hand of 64 input pixels wherever a cell is white."""

    config = DetectorConfig()

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images):
        white = torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True), STRIDE)
        heat = torch.where(white > 0.9, 3.0, -9.0)
        values = torch.tensor([0.5, 0.5, np.log(8), np.log(8)]).view(1, 4, 1, 1).expand(len(images), 4, 28, 28)
        return torch.cat([heat, values], 1)


def test_found_at_first_or_closer_the_place_is_in_the_pictures_pixels():
    image = np.zeros((448, 448, 3), np.uint8)
    image[160:176, 288:304] = 255  # one cell of the first look
    places = find_places(_SeesBright(), image)
    middles = [p.box[:2] + p.box[2:] / 2 + 0.5 for p in places]
    np.testing.assert_allclose(middles[0], [296, 168], atol=1e-3)
    assert all(np.abs(m - [296, 168]).max() < 16 for m in middles)
    assert find_places(_SeesBright(), np.zeros((100, 60, 3), np.uint8)) == []


def test_each_place_found_is_looked_at_closer(monkeypatch):
    found = [
        Place(0.9, np.array([10.0, 20, 40, 40])),
        Place(0.8, np.array([200.0, 20, 40, 40])),
        Place(0.2, np.zeros(4)),
    ]
    within = Place(0.7, np.array([0.0, 0, 15, 15]))
    shapes = []

    def look(_, images):
        shapes.append([i.shape[:2] for i in images])
        return [found if len(shapes) == 1 else [within] if len(images) > 1 else [] for _ in images]

    monkeypatch.setattr(places, "_look", look)
    image = np.zeros((100, 300, 3), np.uint8)
    boxes = [p.box.tolist() for p in find_places(SimpleNamespace(config=SimpleNamespace(size=224)), image)]
    assert [len(s) for s in shapes] == [1, 1, 2]  # the picture, around both strong places, at either
    side = places.AROUND_ONE * 40
    assert all(h <= 100 and abs(w - side) <= 2 for h, w in shapes[2][1:])
    near, far = (box for box in boxes if box[2:] == [15, 15])
    assert near[0] == 0 and far[0] == pytest.approx(220 - side / 2, abs=1)  # in the picture's pixels


def test_two_answers_about_one_hand_are_no_pair_but_those_of_one_look_are():
    box, near = np.array([10.0, 10, 40, 40]), np.array([14.0, 10, 40, 40])
    sides = np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0]])
    for look, other, hands in ((None, None, 1), (None, 0, 1), (0, 1, 1), (0, 0, 2)):
        places = [Place(0.8, box, look), Place(0.7, near, other)]
        assert same_place(*places) == (hands == 1)
        assert len(choose_sides(places, sides)) == hands
    alike = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0]])  # both look like the right hand: one was seen twice
    assert len(choose_sides([Place(0.8, box, 0), Place(0.7, near, 0)], alike)) == 1
    assert len(choose_sides([Place(0.8, box, 0), Place(0.7, box + [30, 0, 0, 0], 0)], alike)) == 2
    assert not same_place(Place(0.8, box), Place(0.8, box + [40, 0, 0, 0]))
