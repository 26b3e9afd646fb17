"""Which picture comes when: by number alone, whoever renders and wherever a run goes on."""

import itertools
import shutil
from collections import Counter
from dataclasses import replace
from functools import partial
from multiprocessing.shared_memory import SharedMemory
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("numba", reason="training needs the extra lgnet[train]")

from lgnet.config import SynthConfig
from lgnet.data.feed import Feed, open_mix, real_before
from lgnet.data.registry import DataSet
from lgnet.data.ring import Ring, _draw_forever, _Share, _shared_memory, plan_ring, sample_dtype
from lgnet.data.sample import empty_sample
from lgnet.presets import PRESETS
from lgnet.synth.generate import make_sample, training_rng
from lgnet.synth.write import write_dataset

SMALL = SynthConfig(size=64)


@pytest.mark.parametrize(("count", "reuse"), [(2048, 4), (32, 1), (10, 4), (5, 4), (7, 2)])
def test_a_picture_is_used_as_often_as_asked_and_only_while_it_is_there(count, reuse):
    plan = plan_ring(count, reuse, seed=3)
    slots = plan.block * (reuse + 1)
    assert slots <= count
    rounds = [plan.pictures(number) for number in range(3 * reuse)]
    uses = Counter(int(p) for pictures in rounds for p in pictures)
    assert [uses[p] for p in range(reuse * plan.block, 2 * reuse * plan.block)] == [reuse] * (reuse * plan.block)
    for number, pictures in enumerate(rounds):
        blocks = pictures // plan.block
        assert blocks.max() == number  # rendered during the round before
        assert blocks.min() == max(0, number - reuse + 1)
        rendered = (number + 1) * plan.block + np.arange(plan.block)  # meanwhile, into other slots
        assert set(pictures % slots).isdisjoint(rendered % slots)
    late = rounds[-1]
    assert len(set(late.tolist())) == len(late)  # no picture twice in a round


def test_pictures_are_drawn_in_the_order_of_need_and_no_more_than_a_ring_of_old_ones():
    plan = plan_ring(25, 4, seed=0)
    for first in (0, 1, 37, 60, 1234):
        order = list(itertools.islice(plan.needed(first), 200))
        assert len(set(order)) == 200
        wanted = [plan.picture(use) for use in range(first, first + 100)]
        place = {picture: i for i, picture in enumerate(order)}
        firsts = list(dict.fromkeys(wanted))
        assert [place[p] for p in firsts] == list(range(len(firsts)))
        assert sum(p // plan.block <= first // plan.round for p in order) <= plan.block * plan.reuse


def test_ring_goes_on_with_the_same_pictures_whoever_draws():
    plan = plan_ring(10, 2, seed=5)
    made = [make_sample(training_rng(5, 0, plan.picture(use)), SMALL).image for use in range(8, 20)]
    with Ring(SMALL, 10, 2, reuse=2, seed=5, first=8) as ring:
        for sample, image in zip(ring.take(12), made):
            np.testing.assert_array_equal(sample.image, image)
        assert ring.drawn >= 8


def test_a_renderer_ends_when_its_trainer_died_before_it_looked():
    plan = plan_ring(10, 2, 5)
    memory = SharedMemory(create=True, size=9 * sample_dtype(64).itemsize)
    try:
        share = _Share(memory.name, 9, SMALL, plan, 0, 0, 1, 0, 1, parent=2**22 + 1)  # no process has this number
        drawn = [0]
        _draw_forever(share, SimpleNamespace(value=0), drawn)
        assert drawn == [0]
    finally:
        memory.close()
        memory.unlink()


def test_real_pictures_are_spread_evenly():
    for share in (0.0, 0.2, 0.55, 1 / 3, 1.0):
        before = [real_before(place, share) for place in range(301)]
        assert before[0] == 0 and set(np.diff(before)) <= {0, 1}
        assert all(abs(count - place * share) <= 1 for place, count in enumerate(before))


def test_feed_mixes_by_weight_and_goes_on(tmp_path, ring_here):
    for name, seed in (("a", 1), ("b", 2)):
        write_dataset(tmp_path / name, 3, seed, SynthConfig(size=48))
    data = (f"synth:{tmp_path / 'a'}=0.5", f"synth:{tmp_path / 'b'}=0.25")
    config = replace(PRESETS["hands"], data=data, batch_size=8, ring=10, reuse=2, seed=4, synth=SMALL)

    def make(samples, rng):
        return {"names": [s.name for s in samples], "first": [s.image for s in samples], "draw": rng.random()}

    with Feed(config, open_mix(config.data), make) as feed:
        whole = [feed.take() for _ in range(6)]
        assert len(feed.seen) == 32
    for batch in whole:
        assert sorted({len(image) for image in batch["first"]}) == [48, 64]
        assert sum(name.startswith("synth/") for name in batch["names"]) == 6
    with Feed(config, open_mix(config.data), make, first=3) as feed:
        for batch in whole[3:]:
            again = feed.take()
            assert again["names"] == batch["names"] and again["draw"] == batch["draw"]
            for a, b in zip(again["first"], batch["first"]):
                np.testing.assert_array_equal(a, b)
    shown = [image.tobytes() for batch in whole for image in batch["first"] if len(image) == 48]
    of_a = {make_one.image.tobytes() for make_one in open_mix(data).sets[0]}
    assert 14 <= sum(image in of_a for image in shown) <= 34  # 24 of 36 on average


def test_pictures_without_joints_teach_by_a_teacher_only(monkeypatch):
    boxes = empty_sample("box", "single", np.zeros((8, 8, 3), np.uint8), None)
    boxes.present[0], boxes.box[0] = True, (1, 1, 4, 4)
    told = replace(boxes, joints2d_valid=np.ones((2, 21), bool))
    for samples, refused in (([boxes] * 30, True), ([boxes] * 29 + [told], False), ([boxes, told], False)):
        monkeypatch.setattr("lgnet.data.feed.open_data", lambda name, s=samples: DataSet(name, len(s), s.__getitem__))
        assert len(open_mix(("egohands:x=0.5",), taught=True).sets[0]) == len(samples)
        if refused:
            with pytest.raises(ValueError, match="egohands:x tells no joints to learn from"):
                open_mix(("egohands:x=0.5",))
        else:
            assert open_mix(("egohands:x=0.5",)).real == 0.5


def test_feed_of_real_pictures_alone_draws_nothing(tmp_path):
    write_dataset(tmp_path / "a", 2, 1, SynthConfig(size=48))
    config = replace(PRESETS["hands"], data=(f"synth:{tmp_path / 'a'}=1",), batch_size=4)
    with Feed(config, open_mix(config.data), lambda samples, rng: {"sizes": {len(s.image) for s in samples}}) as feed:
        assert feed.take() == {"sizes": {48}}


def test_a_damaged_real_picture_is_told(tmp_path):
    write_dataset(tmp_path / "a", 2, 1, SynthConfig(size=48))
    config = replace(PRESETS["hands"], data=(f"synth:{tmp_path / 'a'}=1",), batch_size=8)
    (tmp_path / "a/000001.jpg").write_bytes(b"nonsense")
    mix = open_mix(config.data)
    with pytest.raises(ValueError, match="picture 000001 is damaged"):  # looked at before training, for labels it lacks
        Feed(config, mix, lambda samples, rng: {})
    config = replace(config, fit_within=0)
    with (
        Feed(config, mix, lambda samples, rng: {}) as feed,
        pytest.raises(ValueError, match="picture 000001 is damaged"),
    ):
        feed.take()
    (tmp_path / "a/000000.jpg").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="picture 000000 is damaged"):
        open_mix(config.data)


def test_data_that_do_not_tell_the_side_are_refused_before_training(monkeypatch):
    unsure = replace(empty_sample("x", "single", np.zeros((8, 8, 3), np.uint8), None), side_known=False)
    monkeypatch.setattr("lgnet.data.feed.open_data", lambda name: [unsure])
    with pytest.raises(ValueError, match="does not tell whether its hand is a right or a left one"):
        open_mix(("onehand10k-train:x=1",))


def test_what_fails_is_told_however_slow_the_training(tmp_path, monkeypatch):
    """The batches before it fill the queue for longer than the feed tries at once."""
    write_dataset(tmp_path / "a", 2, 1, SynthConfig(size=48))
    config = replace(PRESETS["hands"], data=(f"synth:{tmp_path / 'a'}=1",), batch_size=4)
    batches = itertools.count()

    def make(samples, rng):
        if next(batches) == 3:
            raise ValueError("the fourth is damaged")
        return {}

    with Feed(config, open_mix(config.data), make) as feed:
        feed._thread.join(1.0)
        assert [feed.take() for _ in range(3)] == [{}, {}, {}]
        feed._queue.get = partial(feed._queue.get, timeout=5)
        with pytest.raises(ValueError, match="the fourth is damaged"):
            feed.take()


def test_a_ring_that_shared_memory_has_no_room_for_is_refused():
    with pytest.raises(ValueError, match=r"MB of shared memory, and /dev/shm has less .* lower --ring"):
        _shared_memory(shutil.disk_usage("/dev/shm").total + 2**20)


def test_an_empty_set_is_refused(tmp_path, monkeypatch):
    from lgnet.data import feed
    from lgnet.data.registry import DataSet

    monkeypatch.setattr(feed, "open_data", lambda name: DataSet(name, 0, lambda index: None))
    with pytest.raises(ValueError, match="freihand-training:x holds no pictures"):
        open_mix(["freihand-training:x=0.5"])


def test_a_thread_that_waits_for_pictures_is_let_go():
    with Ring(SMALL, 1000, 1, reuse=2, seed=5) as ring:
        ring.stop()
        with pytest.raises(RuntimeError, match="no more pictures"):
            ring.take(1000)
