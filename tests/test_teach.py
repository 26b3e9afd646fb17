"""Learning from teachers: how much they count, how they move, and that a student follows them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from test_model import CROPS, disturb, make_inputs, make_targets

from lgnet.checkpoint import save_weights
from lgnet.config import LossConfig, SynthConfig
from lgnet.config_check import check_train
from lgnet.data.batch import TRAIN_AUGMENT, make_batch
from lgnet.data.registry import open_data
from lgnet.data.unlabelled import OWN
from lgnet.model.network import build_network
from lgnet.outputs import ENDINGS
from lgnet.presets import PRESETS
from lgnet.teach import HALF, Teachers, agreement, lesson_loss, load_teachers, roughen, unlabelled

SMALL = replace(CROPS, crop_size=64)


def small_network(seed, config=SMALL):
    torch.manual_seed(seed)
    network = build_network(config)
    disturb(network)
    return network


def test_agreement_by_hand():
    one = torch.zeros(4, 3)
    other = torch.tensor([[0.0, 0, 0], [HALF, 0, 0], [0, 2 * HALF, 0], [0, 0, 1.0]])
    # 2 (1 - sigmoid(ln 3 * d / HALF)): 1, then 2 (1 - 3/4), then 2 (1 - 9/10)
    torch.testing.assert_close(agreement(one, other), torch.tensor([1.0, 0.5, 0.2, 0.0]), atol=1e-4, rtol=0)


def test_two_teachers_say_their_mean_and_count_where_they_agree():
    first, second = small_network(1), small_network(2)
    inputs = replace(make_inputs(SMALL, 2), given=torch.tensor([[True, True], [True, False]]))
    lesson = Teachers([first, second], [64, 64], 0.0).say(inputs)
    with torch.no_grad():
        a, b = (net.eval()(inputs) for net in (first, second))
    torch.testing.assert_close(lesson.joints, (a.refine.joints + b.refine.joints) / 2)
    far = (a.refine.joints - b.refine.joints).norm(dim=-1)
    torch.testing.assert_close(lesson.weight[0], 2 / (1 + 3 ** (far[0] / HALF)))
    assert not lesson.weight[1, 1].any()  # there is no such hand
    alone = Teachers([first], [64], 0.0).say(inputs)
    assert bool((alone.weight[0] == 1).all())


def test_the_loss_is_nothing_for_the_teacher_itself_and_weighs_joints():
    plain = replace(SMALL, refine_stage=False)  # M_r is M_f: nothing is left between them
    network, inputs = small_network(1, plain).eval(), make_inputs(plain, 2)
    with torch.no_grad():
        output = network(inputs)
        lesson = Teachers([network], [64], 0.0).say(inputs)
        weights = LossConfig(joints25d=3.0, joints3d=10.0)
        assert float(lesson_loss(output, lesson, weights)) < 1e-6
        moved = replace(lesson, joints=lesson.joints + 0.01)
        assert float(lesson_loss(output, moved, weights)) == pytest.approx(10 * 0.01, rel=1e-3)  # 1 cm, which weighs 10
        weight = torch.zeros(2, 2, 21)
        weight[..., :7] = 0.5  # a third of the joints, believed by half
        assert float(lesson_loss(output, replace(moved, weight=weight), weights)) == pytest.approx(
            10 * 0.01 / 6, rel=1e-3
        )
        one = replace(moved, given=torch.tensor([[True, False], [False, False]]))  # the mean is of those that are there
        one = replace(one, weight=one.weight * one.given[..., None])
        assert float(lesson_loss(output, one, weights)) == pytest.approx(10 * 0.01, rel=1e-3)
        moved = replace(lesson, joints25d=lesson.joints25d + 0.015)  # half crops, and 1.5 cm of 15
        assert float(lesson_loss(output, moved, weights)) == pytest.approx(3 * (0.015 + 0.5 * 0.1), rel=1e-3)


def test_teachers_follow_in_turns_and_are_kept(tmp_path):
    student = small_network(3)
    teachers = Teachers([small_network(1), small_network(2)], [64, 64], 0.75)
    name = "joint_stage.fc.weight"
    before = [net.state_dict()[name].clone() for net in teachers.networks]
    new = student.state_dict()[name]
    teachers.update(student, 4)  # an even step: the first
    torch.testing.assert_close(teachers.networks[0].state_dict()[name], 0.75 * before[0] + 0.25 * new)
    assert torch.equal(teachers.networks[1].state_dict()[name], before[1])
    teachers.update(student, 5)
    torch.testing.assert_close(teachers.networks[1].state_dict()[name], 0.75 * before[1] + 0.25 * new)
    other = Teachers([small_network(1), small_network(2)], [64, 64], 0.75)
    other.load(teachers.state())
    for a, b in zip(teachers.networks, other.networks):
        assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())
    dense = replace(SMALL, dense_head=True, surface_head=True)  # these heads teach nothing: either may lack them
    for teaching, learning in ((dense, replace(SMALL, dense_head=False)), (replace(SMALL, dense_head=False), dense)):
        path = str(tmp_path / "other.safetensors")
        save_weights(path, small_network(1, teaching), teaching, {})
        follower = load_teachers((path,), learning, 0.75)
        follower.update(small_network(3, learning), 0)
        torch.testing.assert_close(follower.networks[0].state_dict()[name], 0.75 * before[0] + 0.25 * new)
    still = Teachers([small_network(1)], [64], 0.0)
    still.update(student, 0)
    assert torch.equal(still.networks[0].state_dict()[name], before[0]) and still.state() == {}


def test_processes_that_train_together_have_the_same_teachers(monkeypatch):
    """Parameters are the same by themselves; statistics, each batch's own, are the first process's."""
    teachers = Teachers([small_network(1)], [64], 0.75)
    before = {name: value.clone() for name, value in teachers.networks[0].state_dict().items()}
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "broadcast", lambda tensor, source: tensor.fill_(7 + source))
    teachers.update(small_network(1), 0)
    buffers = dict(teachers.networks[0].named_buffers())
    for name, value in teachers.networks[0].state_dict().items():
        own = name in buffers and value.is_floating_point()
        torch.testing.assert_close(value, torch.full_like(value, 7) if own else before[name])
    assert any("running_var" in name for name in buffers)


def test_wrong_teachers_are_named(tmp_path):
    path = str(tmp_path / "t.safetensors")
    save_weights(path, small_network(1), SMALL, {})
    assert load_teachers((), SMALL, 0.0) is None
    assert load_teachers((path,), replace(SMALL, crop_size=128, channels=32), 0.0) is not None  # of another size
    for paths, config, decay, words in (
        ((path,) * 3, SMALL, 0.0, "one or two files, not 3"),
        ((path,), replace(SMALL, separation="heads"), 0.0, "its separation is 'crops', not 'heads'"),
        ((path,), replace(SMALL, channels=32), 0.9, "cannot follow the student"),
    ):
        with pytest.raises(ValueError, match=words):
            load_teachers(paths, config, decay)
    with pytest.raises(ValueError, match="name weights to learn from by --teacher"):
        check_train(replace(PRESETS["lgnet-mobile"], data=("unlabelled:x=0.5",)))
    with pytest.raises(ValueError, match="--teacher is for hand networks"):
        check_train(replace(PRESETS["sides"], teacher=("x",)))


def test_roughening_spares_labelled_pictures():
    images = torch.rand(2, 2, 3, 64, 64)
    torch.manual_seed(0)
    rough = roughen(images, torch.tensor([False, True]))
    assert torch.equal(rough[0], images[0]) and not torch.equal(rough[1], images[1])
    assert float(rough.min()) >= 0 and float(rough.max()) <= 1
    torch.manual_seed(0)
    assert torch.equal(rough, roughen(images, torch.tensor([False, True])))


@pytest.fixture
def pictures(tmp_path):
    """Three pictures: hands found in the first, none in the second, nothing known of the third."""
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a.png", "sub/b.png", "c.png"):
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), np.uint8)).save(folder / name)
    camera = {"fx": 80.0, "fy": 80.0, "cx": 39.5, "cy": 29.5, "assumed": True}
    result = {"schema": "lgnet/1", "image": {"width": 80, "height": 60}, "camera": camera}
    hands = [{"side": "left", "box": [10, 5, 30, 40], "joints2d": [[1, 2]] * 21}]
    (folder / "a.json").write_text(json.dumps(result | {"hands": hands}))
    (folder / "sub/b.json").write_text(json.dumps(result | {"hands": []}))
    return folder


def test_what_counts_as_lgnets_own_picture_is_what_it_writes():
    assert sorted(OWN) == sorted(end for ends in ENDINGS.values() for end in ends if end.endswith(".png"))


def test_unlabelled_pictures_give_boxes_and_no_truth(pictures):
    data = open_data(f"unlabelled:{pictures}")
    assert len(data) == 1 and sorted(data.skipped.values()) == [1, 1]
    sample = data[0]
    assert sample.present.tolist() == [False, True] and sample.box[1].tolist() == [10, 5, 30, 40]
    for rng in (None, np.random.default_rng(0)):
        inputs, targets = make_batch([sample] * 8, SMALL, rng, TRAIN_AUGMENT)
        assert bool(inputs.given[:, 1].all()) and bool(unlabelled(targets).all())  # found is not known
    Image.new("RGB", (80, 60)).save(pictures / "a_left.png")  # not lgnet's: another of the user's, without a result
    assert open_data(f"unlabelled:{pictures}").skipped["pictures without a result beside them"] == 2
    (pictures / "a_left.png").unlink()
    (pictures / "a.png").rename(pictures / "a_mask.png")  # so called by the user, with a result of its own
    (pictures / "a.json").rename(pictures / "a_mask.json")
    Image.new("RGB", (80, 60)).save(pictures / "a_mask_uv.png")  # lgnet's
    data = open_data(f"unlabelled:{pictures}")
    assert data[0].name == "a_mask.png" and sorted(data.skipped.values()) == [1, 1]
    Image.new("RGB", (40, 30)).save(pictures / "a_mask.png")
    with pytest.raises(ValueError, match=r"a_mask\.json is damaged \(it is of a picture of 80 x 60 pixels"):
        data[0]
    (pictures / "a_mask.json").rename(pictures / "a.json")
    labelled = make_targets(SMALL, 2)
    assert not unlabelled(labelled).any()
    (pictures / "a.json").write_text("{}")
    (pictures / "a_mask.png").rename(pictures / "a.png")
    with pytest.raises(ValueError, match=r"a\.json is no result of lgnet reconstruct"):
        open_data(f"unlabelled:{pictures}")


def test_a_student_comes_to_say_what_its_teacher_does():
    teacher, student = small_network(1), small_network(2).train()
    teachers, inputs = Teachers([teacher], [64], 0.0), make_inputs(SMALL, 2)
    lesson = teachers.say(inputs)
    optimiser = torch.optim.Adam(student.parameters(), 2e-3)
    losses = []
    for _ in range(12):
        loss = lesson_loss(student(inputs), lesson, LossConfig())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert all(p.grad is None for p in teacher.parameters())


def test_nothing_is_taught_of_a_hand_that_is_not_there():
    """Crops are also shown of places where the truth says there is none."""
    teacher, student, inputs = small_network(1), small_network(2), make_inputs(SMALL, 2)
    inputs.given[:] = True
    absent = torch.tensor([[True, False], [False, False]])
    lesson = Teachers([teacher], [64], 0.0).say(inputs, absent)
    assert lesson.given.tolist() == (~absent).tolist() and not lesson.weight[0, 0].any() and lesson.weight[0, 1].all()
    said = student(inputs)
    loss = lesson_loss(said, lesson, LossConfig())
    other = replace(lesson, joints25d=lesson.joints25d.clone())
    other.joints25d[0, 0] += 1
    assert lesson_loss(said, other, LossConfig()) == loss
    other.joints25d[0, 1] += 1
    assert lesson_loss(said, other, LossConfig()) != loss


def test_self_training_runs_and_goes_on_to_the_same_bits(pictures, tmp_path, ring_here, monkeypatch):
    pytest.importorskip("lightning_fabric", reason="training needs the extra lgnet[train]")
    from safetensors.torch import load_file

    from lgnet import train

    for seed in (1, 2):
        save_weights(tmp_path / f"{seed}.safetensors", small_network(seed), SMALL, {})
    monkeypatch.setattr(train, "_evaluate", lambda *given: None)
    monkeypatch.setattr(train, "_held_out", lambda config: {})
    config = replace(
        PRESETS["lgnet-mobile"],
        model=SMALL,
        synth=SynthConfig(size=64),
        init=str(tmp_path / "1.safetensors"),
        teacher=tuple(str(tmp_path / f"{seed}.safetensors") for seed in (1, 2)),
        teacher_ema=0.9,
        data=(f"unlabelled:{pictures}=0.5",),
        samples=16,
        batch_size=4,
        ring=10,
        reuse=2,
        checkpoint_every=8,
        threads=1,
    )
    train.main(replace(config, out=str(tmp_path / "whole")))
    train.main(replace(config, out=str(tmp_path / "broken"), samples=8))
    train.main(config, resume=str(tmp_path / "broken"))
    whole, broken = (load_file(tmp_path / name / "state.safetensors") for name in ("whole", "broken"))
    assert any(key.startswith("teacher.1.") for key in whole)
    assert not [key for key in whole if not torch.equal(whole[key], broken[key])]
