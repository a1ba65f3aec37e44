"""What must hold whenever anybody looks at a run, however often its drivers crashed. Broken: AssertionError."""

from __future__ import annotations

from dataclasses import dataclass, field

from spti_ray.dp.chain import LedgerError
from spti_ray.dp.entries import Entry
from spti_ray.dp.gate import Gate
from spti_ray.dp.history import slots_of
from tests.unit.dp.bench import PLAN, Bench, NoNoise


@dataclass
class Watch:
    """Looks at a run from outside, again and again, and remembers what it saw."""

    bench: Bench
    entries: list[Entry] = field(default_factory=list)
    readable: dict[int, tuple[str, list[int]]] = field(default_factory=dict)
    """What selection could ever read: generation to its artifact's hash and counts."""

    def __post_init__(self) -> None:
        # Never opened, so it changes nothing. One for all looks: it also notices what a live chain notices.
        self.reader = Gate(self.bench.ledger(), PLAN, "r", self.bench.generations, NoNoise())

    def look(self) -> None:
        try:
            before, self.entries = self.entries, self.reader.ledger.entries()
        except LedgerError as error:
            raise AssertionError(f"nothing that was recorded is lost or changed: {error}") from None
        assert self.entries[: len(before)] == before, "nothing that was recorded is lost or changed"

        slots, drawn = slots_of(self.entries, "r"), self.bench.drawn_slots()
        assert len(slots) <= PLAN.slots, "more queries than were planned and paid for"
        assert len(drawn) <= len(slots), "more draws than charges"
        assert len(set(drawn)) == len(drawn), "a reservation was noised twice"
        assert all(0 <= slot < len(slots) for slot in drawn), "a draw without a charge"
        for slot in slots:
            assert not (slot.burned and slot.artifact_sha256), "burned and committed"
            if slot.artifact_sha256:
                assert slot.reserved.slot in drawn, "a histogram that nobody drew"
        generations = [slot.reserved.generation for slot in slots if slot.artifact_sha256]
        assert len(set(generations)) == len(generations), "two histograms of one generation"

        for generation in range(PLAN.generations):
            histogram = self.reader.committed(generation)
            if histogram is not None:
                seen = histogram.artifact_sha256, histogram.counts_K.tolist()
                assert self.readable.setdefault(generation, seen) == seen, "another answer to the same question"
            assert (histogram is not None) == (generation in self.readable), "an answer was taken back"

    def check_finished(self) -> None:
        """Everything is settled and nothing is left behind."""
        self.look()
        slots = slots_of(self.entries, "r")
        assert sorted(self.readable) == list(range(PLAN.generations))
        assert all(slot.burned or slot.released for slot in slots), "something was not settled"
        assert len(self.bench.all_artifacts()) == PLAN.generations, "one artifact for each generation"
        assert not list(self.bench.generations.glob("*/.*")), "temporary files stay behind"
