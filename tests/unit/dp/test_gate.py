"""The gate in one process, with its ledger in a local folder and in a bucket. Crashes: test_crash_table.py."""

import errno
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spti_ray.dp import artifact
from spti_ray.dp.accounting import pld_epsilon
from spti_ray.dp.aggregation import GateError, aggregate_votes
from spti_ray.dp.artifact import ArtifactError
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.entries import Reserved
from spti_ray.dp.gate import Gate, Reservation
from spti_ray.dp.lease import FencedOut, SlotsExhausted
from spti_ray.dp.mechanism import OpenDPNoise, SeededNoise
from spti_ray.votes import Query, Votes
from tests.unit.dp.bench import IDS, PLAN, QUERY, Bench, NoNoise, shard
from tests.unit.dp.books import Book


def test_a_generation_is_measured_committed_and_replayed(bench: Bench):
    gate = bench.opened()
    assert gate.committed(0) is None
    histogram = gate.measure(gate.reserve(0, "ab", IDS), [shard(1), shard(0)], 2)
    assert histogram.candidate_ids == IDS and histogram.generation == 0
    assert (histogram.sigma, histogram.candidates_sha256) == (4.0, "ab")
    (path,) = bench.artifacts()
    assert path == bench.generations / "00" / f"histogram-{histogram.artifact_sha256}.arrow"
    for replay in (gate.committed(0), bench.opened().committed(0), artifact.read(path)[1]):
        assert replay is not None and replay.counts_K.tolist() == histogram.counts_K.tolist()
        assert replay.artifact_sha256 == histogram.artifact_sha256
    assert bench.draws() == 1


def test_the_counts_are_summed_over_shards_and_noised(bench: Bench):
    gate = bench.opened(NoNoise())
    clean = gate.measure(gate.reserve(0, "ab", IDS), [shard(0), shard(1, [0, 0, 7, 0, 0, 0])], 2)
    assert clean.counts_K.tolist() == [1, 2, 10, 4, 5, 6]
    gate = bench.opened(OpenDPNoise())
    wide = tuple(f"g01-{i:05d}" for i in range(200))
    reservation = gate.reserve(1, "ab", wide)
    noisy = gate.measure(reservation, [shard(0, [0] * 200, reservation.query)], 1)
    assert 2.0 < noisy.counts_K.std() < 8.0  # sigma is 4; 10 standard errors each way


def test_an_identical_duplicate_counts_once(bench: Bench):
    gate = bench.opened(NoNoise())
    histogram = gate.measure(gate.reserve(0, "ab", IDS), iter([shard(0), shard(1), shard(0)]), 2)
    assert histogram.counts_K.tolist() == [2, 4, 6, 8, 10, 12]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_sum_does_not_depend_on_order_or_repetition(data: st.DataObject):
    num = data.draw(st.integers(1, 5))
    counts = data.draw(st.lists(st.lists(st.integers(0, 9), min_size=6, max_size=6), min_size=num, max_size=num))
    order = data.draw(st.permutations(range(num))) + data.draw(st.lists(st.integers(0, num - 1), max_size=4))
    votes = [Votes(QUERY, i, np.array(counts[i], dtype=np.int64), 54) for i in order]
    assert aggregate_votes(votes, num, QUERY, 6).counts_K.tolist() == np.sum(counts, axis=0).tolist()


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        ([shard(0)], "1 of 2 shards sent no votes"),
        ([], "2 of 2 shards sent no votes"),
        ([shard(0), shard(1), shard(2)], "votes of shard 2, but there are 2 shards"),
        ([shard(0), shard(-1)], "votes of shard -1"),
        ([shard(0), shard(1), shard(0, [9, 2, 3, 4, 5, 6])], "shard 0 sent two different results"),
        ([shard(0), shard(0, max_total=99), shard(1)], "shard 0 sent two different results"),
        ([shard(0), shard(1, query=Query("r", 0, "cd"))], "shard 1 voted on other candidates"),
        ([shard(0), shard(1, query=Query("r", 1, "ab"))], "shard 1 voted on generation 1, not 0"),
        ([shard(0), shard(1, query=Query("q", 0, "ab"))], "shard 1 voted .* run"),
        ([shard(0), shard(1, [1, 2, 3])], "shard 1 must be 6 int64 counts"),
        ([shard(0), Votes(QUERY, 1, np.ones(6), 9)], "shard 1 must be 6 int64 counts"),  # pyright: ignore[reportArgumentType]
        ([shard(0), shard(1, [-1, 2, 3, 4, 5, 6])], "shard 1 are outside"),
        ([shard(0), shard(1, [80, 21, 0, 0, 0, 0])], "shard 1 are outside"),
        ([shard(0), shard(1, [2**62, 2**62, 2**62, 2**62, 0, 0])], "shard 1 are outside"),
        ([shard(0), shard(1, max_total=2**62)], "shard 1 are outside"),
    ],
)
def test_votes_that_break_the_rules_are_refused_before_any_draw(bench: Bench, votes: list[Votes], message: str):
    gate = bench.opened()
    reservation = gate.reserve(0, "ab", IDS)
    with pytest.raises(GateError, match=message):
        gate.measure(reservation, votes, 2)
    assert bench.draws() == 0 and not bench.artifacts()
    gate.measure(reservation, [shard(0), shard(1)], 2)  # nothing was drawn, so the right votes may still come
    assert bench.draws() == 1


def test_refusals_show_no_counts(bench: Bench):
    gate = bench.opened()
    with pytest.raises(GateError) as refusal:
        gate.measure(gate.reserve(0, "ab", IDS), [shard(0, [31337, 0, 0, 0, 0, 0], max_total=4242)], 1)
    assert "31337" not in str(refusal.value) and "4242" not in str(refusal.value)
    frame = refusal.value.__traceback__
    names: list[str] = []
    while frame is not None:
        if "spti_ray" in frame.tb_frame.f_code.co_filename:
            names += [repr(value) for value in frame.tb_frame.f_locals.values()]
        frame = frame.tb_next
    assert names and not any("31337" in name or "4242" in name for name in names)


def test_a_reservation_is_never_noised_twice(bench: Bench):
    gate = bench.opened()
    reservation = gate.reserve(0, "ab", IDS)
    gate.measure(reservation, [shard(0)], 1)
    with pytest.raises(GateError, match="noised already"):
        gate.measure(reservation, [shard(0)], 1)
    with pytest.raises(LedgerError, match="already reserved"):
        gate.reserve(0, "ab", IDS)
    with pytest.raises(LedgerError, match="not an open reservation"):
        bench.opened().measure(reservation, [shard(0)], 1)
    assert bench.draws() == 1


def test_reserving_is_refused_before_open_and_for_impossible_candidates(bench: Bench):
    with pytest.raises(GateError, match="not open"):
        bench.gate().reserve(0, "ab", IDS)
    gate = bench.opened()
    for ids in ((), ("a", "a")):
        with pytest.raises(GateError, match="distinct candidates"):
            gate.reserve(0, "ab", ids)
    assert bench.kinds()["RESERVED"] == 0


def test_slots_run_out_burned_ones_included(bench: Bench):
    gate = bench.opened()
    for generation in range(PLAN.slots):
        assert gate.slots_left() == PLAN.slots - generation
        gate.burn(gate.reserve(generation, "ab", IDS), "votes lost")
    assert gate.slots_left() == 0
    with pytest.raises(SlotsExhausted):
        gate.reserve(9, "ab", IDS)


def test_a_full_disk_after_the_draw_burns_the_reservation(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    gate = bench.opened()
    reservation = gate.reserve(0, "ab", IDS)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(GateError, match=r"can't write a histogram .*no space left"):
        gate.measure(reservation, [shard(0)], 1)
    monkeypatch.undo()
    with pytest.raises(GateError, match="noised already"):
        gate.measure(reservation, [shard(0)], 1)
    assert bench.kinds()["BURNED"] == 1 and bench.draws() == 1
    assert list(bench.generations.glob("*/*")) == list(bench.generations.glob("*/.*")) == []
    gate.measure(gate.reserve(0, "ab", IDS), [shard(0)], 1)
    assert (bench.draws(), len(bench.artifacts())) == (2, 1)


def test_a_half_written_artifact_is_not_mistaken_for_a_whole_one(bench: Bench):
    bench.opened().reserve(0, "ab", IDS)
    (bench.generations / "00").mkdir(parents=True)
    (bench.generations / "00" / ".tmp-abc").write_bytes(b"ARROW1")
    bench.opened()
    assert bench.kinds()["BURNED"] == 1
    assert list((bench.generations / "00").iterdir()) == []


def test_an_older_driver_can_neither_draw_nor_commit(bench: Bench):
    old = bench.opened()
    reservation = old.reserve(0, "ab", IDS)
    new = bench.opened()
    with pytest.raises(FencedOut):
        old.measure(reservation, [shard(0)], 1)
    assert bench.draws() == 0
    new.measure(new.reserve(0, "ab", IDS), [shard(0)], 1)


def test_a_driver_fenced_out_between_draw_and_commit_leaves_nothing_that_is_used(bench: Bench):
    def overtaken(point: str) -> None:
        if point == "after_draw":
            bench.opened()

    gate = bench.opened(fault=overtaken)
    reservation = gate.reserve(0, "ab", IDS)
    with pytest.raises(FencedOut):
        gate.measure(reservation, [shard(0)], 1)
    assert len(bench.artifacts()) == 1
    new = bench.opened()
    assert new.committed(0) is None and bench.artifacts() == []
    new.measure(new.reserve(0, "ab", IDS), [shard(0)], 1)
    assert (len(bench.artifacts()), bench.draws(), bench.kinds()["RESERVED"]) == (1, 2, 2)


def test_an_altered_or_missing_artifact_is_refused(bench: Bench):
    gate = bench.opened()
    gate.measure(gate.reserve(0, "ab", IDS), [shard(0)], 1)
    (path,) = bench.artifacts()
    data = path.read_bytes()
    assert data.count(b"g00-00003") == 1
    path.write_bytes(data.replace(b"g00-00003", b"g00-99999"))
    for read in (lambda: gate.committed(0), lambda: bench.opened(), lambda: artifact.read(path)):
        with pytest.raises(ArtifactError, match="was altered"):
            read()
    path.unlink()
    for read in (lambda: gate.committed(0), lambda: bench.opened()):
        with pytest.raises(ArtifactError, match="can't read histogram"):
            read()


def test_an_artifact_of_another_reservation_is_not_adopted(bench: Bench):
    gate = bench.opened()
    reservation = gate.reserve(0, "ab", IDS)
    _write(bench, gate, reservation, slot=7)
    with pytest.raises(ArtifactError, match="has no charge"):
        bench.opened()


def test_a_lost_ledger_is_noticed_by_the_runs_histograms(bench: Bench, book: Book):
    gate = bench.opened()
    gate.measure(gate.reserve(0, "ab", IDS), [shard(0)], 1)
    book.rewrite([])
    bench.ledger().register(None, 1e-5)
    with pytest.raises(ArtifactError, match="restore the ledger"):
        bench.opened()


def test_the_spend_counts_every_charge(bench: Bench):
    gate = bench.opened()
    assert (gate.odometer_reading().epsilon, gate.odometer_reading().queries) == (0.0, 0)
    gate.burn(gate.reserve(0, "ab", IDS), "votes lost")
    gate.measure(gate.reserve(0, "ab", IDS), [shard(0)], 1)
    other = bench.gate(run="other")
    other.folder = bench.root / "other" / "generations"
    other.open()
    other.reserve(0, "ab", IDS)
    spend = gate.odometer_reading()
    assert (spend.queries, spend.committed, spend.burned, spend.attempts) == (2, 1, 1, 1)
    assert spend.epsilon == pld_epsilon([(4.0, 2)], 1e-5)
    assert spend.replace_one_epsilon == pld_epsilon([(4.0, 4)], 1e-5)
    assert spend.lifetime_epsilon == pld_epsilon([(4.0, 3)], 1e-5)
    assert spend.ledger_head == bench.ledger().entries()[-1].hash
    assert spend.private and spend.noise == "counted"


def test_simulated_noise_marks_the_run_for_good(bench: Bench):
    gate = bench.opened(SeededNoise(0))
    gate.measure(gate.reserve(0, "ab", IDS), [shard(0)], 1)
    assert not gate.odometer_reading().private
    resumed = bench.opened()
    assert not resumed.odometer_reading().private and not resumed.odometer_reading().lifetime_private
    assert "SIMULATED" in resumed.odometer_reading().noise


def _write(bench: Bench, gate: Gate, reservation: Reservation, slot: int) -> None:
    entry: Reserved = reservation.entry
    label = artifact.Metadata("r", 0, slot, entry.candidates_sha256, entry.sigma, 1, "n", True, "v0")
    artifact.write(bench.generations, label, IDS, np.zeros(6, dtype=np.int64))
