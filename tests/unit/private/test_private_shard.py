"""A shard: private views in fixed batches, failures that cost one record its vote, the cache, and silence."""

import errno
import io
import logging
import os
import pickle
import stat
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from spti_ray.config import DataConfig
from spti_ray.models.protocols import EngineDead
from spti_ray.private import shard as shard_module
from spti_ray.private import shard_reading, top_k
from spti_ray.private.captions import PrivateText
from spti_ray.private.kinds import DataError
from spti_ray.private.products import NUMPY
from spti_ray.private.safe_errors import ShardError
from spti_ray.private.shard import Shard
from spti_ray.private.source import describe, fingerprint
from spti_ray.private.view_rows import VIEW_FAILED
from spti_ray.private.views import VotingError
from spti_ray.types import Candidate, Candidates, ScoredCandidates
from spti_ray.votes import Query

CANARY = "CANARY-7f3a"
BATCH = 4
NUM = 10


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


class Engines:
    """Fake engines that record what they are called with; an image's value is its pixel."""

    def __init__(self, poison: int | None = None, nan: int | None = None) -> None:
        self.sizes: list[int] = []
        self.values: list[list[int]] = []
        self.poison, self.nan = poison, nan
        self.captions: list[str] = []

    def embed_images(self, images):
        values = [int(image[0, 0, 0]) for image in images]
        self.sizes.append(len(images))
        self.values.append(values)
        if self.poison in values:
            raise RuntimeError(CANARY)
        angles = np.array(values) / 255 * np.pi
        rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        rows[[value == self.nan for value in values]] = np.nan
        return rows

    def caption(self, images):
        return [PrivateText(f"{CANARY} {int(image[0, 0, 0])}") for image in images]

    def embed_texts(self, captions):
        texts = [caption.reveal() for caption in captions]
        self.captions += texts
        values = np.array([int(text.split()[1]) for text in texts])
        return np.stack([255 - values, values], axis=1).astype(np.float32)


@pytest.fixture
def data(tmp_path):
    images = [png(20 * i) for i in range(NUM)]
    images[3] = b"not an image " + CANARY.encode()
    table = pa.table(
        {"image": images, "label": ["x", "y"] * (NUM // 2), "user": [f"{CANARY}-{i % 4}" for i in range(NUM)]}
    )
    pq.write_table(table, tmp_path / "p.parquet", row_group_size=3)
    return DataConfig(path=str(tmp_path / "p.parquet"), label_column="label", group_column="user")


def shard(
    data,
    shard_id=0,
    num_shards=1,
    unit="record",
    label_names=("all",),
    spaces=("image",),
    batch_size=BATCH,
    cache=None,
    fingerprint="one",
    listing=None,
    processor=NUMPY,
):
    return Shard(
        data,
        shard_id=shard_id,
        num_shards=num_shards,
        unit=unit,
        label_names=label_names,
        spaces=spaces,
        cache=cache or Path(tempfile.mkdtemp(dir=Path(data.path).parent)),
        fingerprint=fingerprint,
        batch_size=batch_size,
        listing=listing,
        processor=processor,
    )


def scored(labels=("x", "y", "x", "y"), space="image"):
    items = tuple(Candidate(f"g00-{i:05d}", "t", label, 0) for i, label in enumerate(labels))
    angles = np.linspace(0, np.pi, len(items))
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    return ScoredCandidates(Candidates(items), {space: rows}, {space: 1.0})


ONE = ("all",) * 4
ASKED = ("run-1", 2)
"""Run and generation of the queries."""


def test_batches_have_one_shape_and_pads_are_blank(data):
    engines = Engines()
    assert shard(data).prepare(engines.embed_images) == "ready"
    assert engines.sizes == [BATCH] * 3
    assert engines.values == [[0, 20, 40, 80], [100, 120, 140, 160], [180, 255, 255, 255]]


class Failing:
    """A device that fails from its second product on, with private content in what it raises."""

    def __init__(self, good=1):
        self.good, self.is_let_go = good, False

    def block_units(self, num_candidates, width):
        return NUMPY.block_units(num_candidates, width)

    def product(self, *given):
        self.good -= 1
        if self.good < 0:
            raise RuntimeError(f"CUDA out of memory: {CANARY}")
        return NUMPY.product(*given)

    def let_go(self):
        self.is_let_go = True


@pytest.mark.parametrize("ahead", [False, True])
def test_a_device_that_fails_costs_no_vote(data, ahead):
    """The reservation is made by then: the same votes are counted without it, and from then on."""
    device = Failing(good=1)
    private, other = shard(data, processor=device), shard(data)
    for each in (private, other):
        each.prepare(Engines().embed_images)
    asked = scored(ONE)
    if ahead:
        private.compare(2, asked.only([True, False, False, True]), 1)
    for generation in (2, 3):
        votes = private.vote("run-1", generation, asked, 1)
        assert votes.counts_K.tolist() == other.vote("run-1", generation, asked, 1).counts_K.tolist()
    assert device.good == -1 and device.is_let_go is True


def test_a_device_that_fails_ahead_of_the_votes_says_nothing_private(data):
    private = shard(data, processor=Failing(good=0))
    private.prepare(Engines().embed_images)
    with pytest.raises(ShardError, match=r"comparing failed \(RuntimeError\)$"):
        private.compare(2, scored(ONE), 1)


def test_votes_carry_their_query_and_the_bound(data):
    private = shard(data, label_names=("x", "y"))
    private.prepare(Engines().embed_images)
    candidates = scored()
    votes = private.vote(*ASKED, candidates, 2)
    assert votes.shard_id == 0 and votes.query == Query(*ASKED, candidates.sha256())
    assert votes.max_total == 2 * NUM
    assert votes.counts_K.dtype == np.int64 and votes.counts_K.tolist() == [5, 4, 5, 4]  # one 'y' is undecodable


@pytest.mark.parametrize("case", ["the same", "another generation", "another k", "no room"])
def test_what_was_looked_at_ahead_changes_no_vote_and_leaves_no_file(data, tmp_path, monkeypatch, case):
    plain, ahead = (shard(data, label_names=("x", "y"), cache=tmp_path / name) for name in ("plain", "ahead"))
    for private in (plain, ahead):
        private.prepare(Engines().embed_images)
    files = sorted((tmp_path / "ahead").iterdir())
    block = scored().only([True, False, True, True])
    generation = ASKED[1] - (case == "another generation")
    assert ahead.compare(generation, block, 2 + (case == "another k")) is None
    if case == "no room":
        monkeypatch.setattr(top_k.IncrementalTopK, "count", _no_room)
    assert ahead.vote(*ASKED, scored(), 2).to_wire() == plain.vote(*ASKED, scored(), 2).to_wire()
    assert sorted((tmp_path / "ahead").iterdir()) == files


def _no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "full")


def test_any_number_of_shards_gives_the_same_sum(data):
    for unit in ("record", "group"):
        sums = []
        for num_shards in (1, 2, 3, 12):
            total = np.zeros(4, np.int64)
            bound = 0
            for shard_id in range(num_shards):
                private = shard(data, shard_id, num_shards, unit, ("x", "y"))
                private.prepare(Engines().embed_images)
                votes = private.vote(*ASKED, scored(), 1)
                total += votes.counts_K
                bound += votes.max_total
            sums.append((total.tolist(), bound))
        assert all(one == sums[0] for one in sums)
        assert sums[0][1] == (NUM if unit == "record" else 4)


def test_a_record_that_breaks_its_batch_is_the_only_one_to_lose_its_vote(data):
    engines = Engines(poison=100)
    private = shard(data)
    private.prepare(engines.embed_images)
    assert private.problems() == [(3, "not an image"), (5, VIEW_FAILED["image"])]
    assert set(engines.sizes) == {BATCH}
    assert private.vote(*ASKED, scored(ONE), 1).counts_K.sum() == NUM - 2
    whole = shard(data)
    whole.prepare(Engines().embed_images)
    lost = whole.vote(*ASKED, scored(ONE), 1).counts_K - private.vote(*ASKED, scored(ONE), 1).counts_K
    assert sorted(lost.tolist()) == [0, 0, 0, 1]


def test_the_next_batch_is_read_while_an_engine_has_this_one(data, monkeypatch):
    read, had = [], []

    def noted(*arguments, **more):
        record = make_record(*arguments, **more)
        read.append(record.index)
        return record

    make_record = shard_reading.make_record
    monkeypatch.setattr(shard_reading, "make_record", noted)

    def embed(images):
        deadline = time.monotonic() + 5
        while len(read) < NUM and len(had) == 0 and time.monotonic() < deadline:
            time.sleep(0.001)
        had.append(len(read))
        return Engines().embed_images(images)

    ahead, plain = shard(data), shard(data)
    ahead.prepare(embed)
    assert had[0] >= 2 * BATCH  # records 0 to 4 are in the engine's first batch; number 3 is damaged
    plain.prepare(Engines().embed_images)
    assert ahead.problems() == plain.problems() == [(3, "not an image")]
    candidates = scored(ONE)
    assert ahead.vote(*ASKED, candidates, 1).to_wire() == plain.vote(*ASKED, candidates, 1).to_wire()


def test_an_engine_that_fails_is_told_before_records_that_can_not_be_read_after_its_batch(data, monkeypatch):
    def cut_short(*arguments, **more):
        if arguments[0] >= NUM - 1:
            raise OSError(CANARY)
        return make_record(*arguments, **more)

    def broken(images):
        raise ValueError(CANARY)

    make_record = shard_reading.make_record
    monkeypatch.setattr(shard_reading, "make_record", cut_short)
    with pytest.raises(ShardError, match="fails on a blank image too"):
        shard(data).prepare(broken)
    with pytest.raises(DataError, match="OSError") as raised:
        shard(data).prepare(Engines().embed_images)
    assert CANARY not in str(raised.value) and raised.value.__context__ is None


def test_a_nan_embedding_costs_one_vote(data):
    private = shard(data)
    private.prepare(Engines(nan=100).embed_images)
    assert private.problems() == [(3, "not an image"), (5, VIEW_FAILED["image"])]


def test_an_engine_that_fails_on_blank_input_too_stops_the_run(data):
    def broken(images):
        raise ValueError(CANARY)

    def wrong_shape(images):
        return np.zeros((len(images) + 1, 2), np.float32)

    def nan(images):
        return np.full((len(images), 2), np.nan, np.float32)

    for engine in (broken, wrong_shape, nan):
        with pytest.raises(ShardError, match="shard 0: an engine fails on a blank image too"):
            shard(data).prepare(engine)


def test_a_panic_of_an_engine_stops_the_run_without_its_text(data):
    """What is no `Exception` is not blamed on a record: the process may not be fit to go on."""

    class Panic(BaseException):
        pass

    def panics(images):
        raise Panic(CANARY)

    with pytest.raises(ShardError) as caught:
        shard(data).prepare(panics)
    assert str(caught.value) == "shard 0: preparing failed (Panic)" and caught.value.__context__ is None


def test_a_dead_engine_is_reported_as_such_without_its_text(data):
    def dead(images):
        raise EngineDead(CANARY)

    with pytest.raises(EngineDead) as caught:
        shard(data).prepare(dead)
    assert CANARY not in str(caught.value) and caught.value.__context__ is None


def test_text_views_are_embedded_captions(data):
    engines = Engines()
    private = shard(data, spaces=("text",))
    private.prepare(caption=engines.caption, embed_texts=engines.embed_texts)
    assert engines.sizes == [] and len(engines.captions) == 3 * BATCH
    assert private.vote(*ASKED, scored(ONE, "text"), 1).counts_K.sum() == NUM - 1
    assert CANARY not in repr(vars(private))


def test_joint_voting_needs_both_views(data):
    engines = Engines(nan=100)
    private = shard(data, spaces=("text", "image"))
    private.prepare(engines.embed_images, engines.caption, engines.embed_texts)
    image = scored(ONE).embeddings_KE["image"]
    joint = ScoredCandidates(scored(ONE).candidates, {"image": image, "text": image}, {"image": 0.5, "text": 0.5})
    assert private.vote(*ASKED, joint, 1).counts_K.sum() == NUM - 2


def test_missing_engines_and_unprepared_use_are_named(data):
    with pytest.raises(ShardError, match="needs embed_images"):
        shard(data).prepare()
    with pytest.raises(ShardError, match="needs caption and embed_texts"):
        shard(data, spaces=("text",)).prepare(embed_texts=Engines().embed_texts)
    with pytest.raises(ShardError, match="not prepared"):
        shard(data).vote(*ASKED, scored(ONE), 1)
    with pytest.raises(DataError, match="data.path"):
        shard(DataConfig(path="/nowhere")).prepare(Engines().embed_images)
    private = shard(data)
    private.prepare(Engines().embed_images)
    with pytest.raises(VotingError, match="no views"):
        private.vote(*ASKED, scored(ONE, "text"), 1)


def test_a_shard_without_records_votes_for_nothing(data):
    private = shard(data, shard_id=0, num_shards=50)
    private.prepare(Engines().embed_images)
    votes = private.vote(*ASKED, scored(ONE), 1)
    assert votes.counts_K.tolist() == [0] * 4 and votes.max_total == 0


def test_the_cache_replaces_prepare(data, tmp_path):
    cache = tmp_path / "internal" / "views"
    old_umask = os.umask(0)
    try:
        for unit in ("record", "group"):
            there = {"unit": unit, "label_names": ("x", "y"), "cache": cache, "fingerprint": f"fingerprint {unit}"}
            private = shard(data, **there)
            private.prepare(Engines(poison=100).embed_images)
            again = shard(data, **there)
            assert again.load_views()
            assert again.problems() == private.problems()
            assert again.vote(*ASKED, scored(), 2).to_wire() == private.vote(*ASKED, scored(), 2).to_wire()
    finally:
        os.umask(old_umask)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    (file,) = cache.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert CANARY.encode() not in file.read_bytes()


@pytest.mark.parametrize("unit", ["record", "group"])
def test_a_shard_tells_whether_any_of_its_records_can_vote(data, unit):
    for labels, can_vote in ((("x", "y"), True), (("x", "z"), True), (("z",), False)):
        private = shard(data, unit=unit, label_names=labels)
        private.prepare(Engines().embed_images)
        counts = private.vote(*ASKED, scored(("x", "y", "z", "x")), 1).counts_K
        assert private.prepared().can_vote == can_vote == bool(counts.sum())
        assert private.prepared().problems == private.problems()


def test_a_shard_whose_records_all_fail_can_not_vote(data):
    private = shard(data)
    values = {int(20 * i) for i in range(NUM)}

    def blind(images):
        """Sees the blank alone."""
        return np.array([[np.nan, 1.0] if int(image[0, 0, 0]) in values else [1.0, 0.0] for image in images])

    private.prepare(blind)
    assert not private.prepared().can_vote and len(private.prepared().problems) == NUM


def test_a_shard_that_finds_other_files_than_the_driver_makes_no_views(data, tmp_path):
    listing = fingerprint(describe(data))
    private = shard(data, cache=tmp_path / "c", listing=listing)
    os.utime(data.path, ns=(1, 1))
    with pytest.raises(DataError, match="changed while the run started"):
        private.prepare(Engines().embed_images)
    assert list((tmp_path / "c").iterdir()) == []
    assert shard(data, cache=tmp_path / "c", listing=fingerprint(describe(data))).prepare(Engines().embed_images)


def test_a_file_that_changes_while_views_are_made_leaves_none(data, tmp_path):
    engines = Engines()

    def touching(images):
        os.utime(data.path, ns=(1, 1))
        return engines.embed_images(images)

    with pytest.raises(DataError, match="changed while the run started"):
        shard(data, cache=tmp_path / "c", listing=fingerprint(describe(data))).prepare(touching)
    assert list((tmp_path / "c").iterdir()) == []


def test_views_that_an_older_reader_made_are_made_again(data, tmp_path, monkeypatch):
    cache = tmp_path / "c"
    shard(data, cache=cache).prepare(Engines().embed_images)
    monkeypatch.setattr(shard_module, "READER_VERSION", shard_module.READER_VERSION + 1)
    assert not shard(data, cache=cache).load_views()


def test_a_cache_of_something_else_is_not_taken(data, tmp_path):
    cache = tmp_path / "c"
    shard(data, cache=cache).prepare(Engines().embed_images)
    assert shard(data, cache=cache).load_views()
    assert not shard(data, cache=cache, fingerprint="two").load_views()
    assert not shard(data, cache=tmp_path / "nowhere").load_views()
    assert not shard(data, label_names=("x", "y"), cache=cache).load_views()
    assert not shard(data.model_copy(update={"max_pixels": 5}), cache=cache).load_views()
    (file,) = cache.iterdir()
    file.rename(cache / "views-00000-of-00002.arrow")
    assert not shard(data, num_shards=2, cache=cache).load_views()
    (cache / "views-00000-of-00002.arrow").rename(file)
    whole = file.read_bytes()
    for damaged in (whole[:-40], whole[: len(whole) // 2], b"", pickle.dumps({"key": "x"})):
        file.write_bytes(damaged)
        assert not shard(data, cache=cache).load_views()


def test_a_failed_write_leaves_the_old_cache_and_no_litter(data, tmp_path, monkeypatch):
    cache = tmp_path / "c"
    shard(data, cache=cache).prepare(Engines().embed_images)

    def full(*_: object) -> None:
        raise OSError(28, CANARY)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ShardError, match=r"shard 0: preparing failed \(DiskFull\)"):
        shard(data, cache=cache, fingerprint="two").prepare(Engines().embed_images)
    monkeypatch.undo()
    assert len(list(cache.iterdir())) == 1
    assert shard(data, cache=cache).load_views()


def test_an_engine_that_fails_leaves_no_litter(data, tmp_path):
    def broken(images):
        raise ValueError(CANARY)

    with pytest.raises(ShardError):
        shard(data, cache=tmp_path / "c").prepare(broken)
    assert list((tmp_path / "c").iterdir()) == []


def test_nothing_private_is_printed_raised_or_pickled(data, capfd, caplog, monkeypatch):
    def unexpected(*_: object) -> None:
        raise KeyError(CANARY)

    with caplog.at_level(logging.DEBUG):
        private = shard(data, unit="group", spaces=("image", "text"))
        engines = Engines(poison=100)
        private.prepare(engines.embed_images, engines.caption, engines.embed_texts)
        assert repr(private) == str(private) == "<Shard 0 of 1>"
        assert CANARY not in repr(private.problems())
        with pytest.raises(TypeError, match="private"):
            pickle.dumps(private)
        monkeypatch.setattr("spti_ray.private.shard.cast_votes", unexpected)
        monkeypatch.setattr("spti_ray.private.shard.view_writer", unexpected)
        monkeypatch.setattr("spti_ray.private.top_k.comparisons", unexpected)
        for call in (
            lambda: private.vote(*ASKED, scored(ONE), 1),
            lambda: private.compare(0, scored(ONE), 1),
            lambda: private.prepare(engines.embed_images, engines.caption, engines.embed_texts),
        ):
            with pytest.raises(ShardError) as caught:
                call()
            error = caught.value
            assert error.__context__ is None and error.__cause__ is None
            assert "(KeyError)" in str(error)
            assert CANARY not in "".join(traceback.format_exception(error))
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_a_record_without_a_caption_loses_its_own_vote_alone_and_ends_nothing(data):
    """Also where the captioner has none of a blank image, as one that asks for a picture has."""
    for declined in ({100}, {100, 255}):
        engines = Engines()

        def caption(images, engines=engines, declined=declined):
            values = [int(image[0, 0, 0]) for image in images]
            return [
                None if value in declined else text for value, text in zip(values, engines.caption(images), strict=True)
            ]

        def embed_texts(captions, engines=engines):
            told = [text if CANARY in text.reveal() else PrivateText("no 7") for text in captions]
            return engines.embed_texts(told)

        whole = shard(data, spaces=["text"])
        whole.prepare(caption=engines.caption, embed_texts=engines.embed_texts)
        before = whole.problems()
        private = shard(data, spaces=["text"])
        private.prepare(caption=caption, embed_texts=embed_texts)
        assert sorted(set(private.problems()) - set(before)) == [(5, "caption or its embedding failed")]
