"""Tests of the crash tests: gates with a fault that the checks must see."""

from pathlib import Path

import numpy as np
import pytest

from spti_ray.dp.gate import Gate, Reservation
from spti_ray.dp.history import slots_of
from spti_ray.dp.ledger import Ledger
from tests.unit.dp.bench import Bench, run_generations
from tests.unit.dp.books import Book
from tests.unit.dp.crashes import HOWS, Accident, MemoryBench, Row, check_row, crash, survive
from tests.unit.dp.test_crash_table import TABLE
from tests.unit.dp.watch import Watch

pytestmark = pytest.mark.usefixtures("cheap")


class Redraws(Gate):
    """Finds its reservation open after a crash, and measures it (again)."""

    def open(self) -> None:
        for path in self.folder.glob("*/*"):
            if not any(slot.artifact_sha256 and slot.artifact_sha256 in path.name for slot in self._found()):
                path.unlink()
        self._lease = self.ledger.open_run(self.run, self.plan, "config", "counted", True)
        for slot in self._found():
            if slot.artifact_sha256:
                self._lease.release(slot.reserved)

    def reserve(self, generation: int, scored_sha256: str, candidate_ids: object) -> Reservation:
        for slot in self._found():
            if slot.open and slot.reserved.generation == generation:
                return Reservation(slot.reserved, tuple(candidate_ids))  # type: ignore[arg-type]
        return super().reserve(generation, scored_sha256, candidate_ids)  # type: ignore[arg-type]

    def _found(self):
        return slots_of(self.ledger.entries(), self.run)


class BurnsWhatIsThere(Gate):
    """Does not look for an artifact before it burns."""

    def _artifact_of(self, entry: object) -> None:
        return None


class ForgetsToSettle(Gate):
    """Takes the run, and leaves what the last driver left."""

    def open(self) -> None:
        self._lease = self.ledger.open_run(self.run, self.plan, "config", "counted", True)


class MeasuresAgain(Gate):
    """Draws anew for a generation that has its histogram, instead of replaying it."""

    def open(self) -> None:
        super().open()
        for slot in slots_of(self.ledger.entries(), self.run):
            self._noise.add_noise(np.zeros(6, dtype=np.int64), slot.reserved.sigma)


def refunding(book: Book) -> type[Gate]:
    class Refunds(Gate):
        """Takes the charge of an unfinished reservation back."""

        def open(self) -> None:
            entries = self.ledger.entries()
            slots = slots_of(entries, self.run)
            if slots and slots[-1].open:
                book.rewrite(book.lines()[: max(e.seq for e in entries if e.kind == "RESERVED")])
                self.ledger = Ledger(book.location, "ds")
                for path in self.folder.glob("*/*"):
                    if not any(slot.artifact_sha256 and slot.artifact_sha256 in path.name for slot in slots):
                        path.unlink()
            super().open()

    return Refunds


def row_at(where: str) -> Row:
    return next(row for row in TABLE if row.where == where)


@pytest.mark.parametrize("where", ["after_draw#2", "in_artifact#2", "after_artifact#2"])
def test_a_gate_that_draws_again_on_resume_is_caught(bench: Bench, where: str):
    crash(bench, where)
    bench.kind = Redraws
    with pytest.raises(AssertionError):
        check_row(bench, row_at(where))
    with pytest.raises(AssertionError, match="noised twice|more draws than charges"):
        run_generations(bench.opened())
        Watch(bench).look()


@pytest.mark.parametrize("where", ["after_reserved#2", "after_draw#2", "after_artifact#2"])
def test_a_gate_that_takes_a_charge_back_is_caught(bench: Bench, book: Book, where: str):
    crash(bench, where)
    bench.kind = refunding(book)
    with pytest.raises(AssertionError, match="nothing that was recorded is lost"):
        check_row(bench, row_at(where))


@pytest.mark.parametrize(("kind", "told"), [(BurnsWhatIsThere, "settling must adopt"), (ForgetsToSettle, "must adopt")])
def test_a_gate_that_does_not_adopt_is_caught(bench: Bench, kind: type[Gate], told: str):
    crash(bench, "after_artifact#2")
    bench.kind = kind
    with pytest.raises(AssertionError, match=told):
        check_row(bench, row_at("after_artifact#2"))


def test_a_gate_that_measures_a_committed_generation_again_is_caught(bench: Bench):
    crash(bench, "after_released#2")
    bench.kind = MeasuresAgain
    with pytest.raises(AssertionError, match="more draws than charges|noised twice"):
        check_row(bench, row_at("after_released#2"))


@pytest.mark.parametrize("how", [how for how in HOWS if how != "answer lost"])  # each write then got through
def test_the_accidents_catch_a_gate_that_draws_again(tmp_path: Path, cheap: pytest.MonkeyPatch, how: str):
    with pytest.raises(AssertionError, match="noised twice|more draws than charges"):
        for step in range(1, 20):
            root = tmp_path / str(step)
            root.mkdir()
            survive(MemoryBench(root, Redraws), [Accident(how, step)], cheap)
