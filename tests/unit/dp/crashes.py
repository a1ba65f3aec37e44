"""Ways for a driver to crash, and the checks of what the next one makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import strategies as st
from obstore.exceptions import GenericError
from obstore.store import MemoryStore

from spti_ray.dp import object_chain
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.gate import Gate
from spti_ray.dp.history import slots_of
from spti_ray.dp.lease import SlotsExhausted
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.object_chain import ObjectChain
from tests.unit.dp import crash_driver
from tests.unit.dp.bench import PLAN, Bench, run_generations
from tests.unit.dp.watch import Watch


@dataclass(frozen=True)
class Row:
    """A driver is killed at `where`. Of the generation that it was about: charged, drawn, a complete artifact left."""

    where: str
    charged: bool
    drawn: bool
    artifact: bool
    on_resume: str
    """start over, burn (and use a spare slot), adopt (commit what is there), or replay (what is committed)."""
    generation: int = 1


def kill(bench: Bench, where: str) -> None:
    crash_driver.die(bench.root, bench.place, where)


class Crash(BaseException):
    """The driver stops here, in this process."""


def crash(bench: Bench, where: str, ledger_reachable: bool = False) -> None:
    """What `kill` does at a fault point, in this process: whatever the gate does on its way out reaches no ledger."""
    point, _, time = where.partition("#")
    left = int(time or 1)

    def fault(reached: str) -> None:
        nonlocal left
        left -= reached == point
        if not left:
            if not ledger_reachable:
                cut_off(gate)
            raise Crash

    gate = bench.gate(fault=fault)
    with pytest.raises(Crash):
        gate.open()
        run_generations(gate)


def cut_off(gate: Gate) -> None:
    """From here on the gate can't append."""

    def refuse(decide: object) -> None:
        raise LedgerError("cut off")

    gate.ledger._chain.append = refuse  # type: ignore[method-assign,assignment]


def check_resume(bench: Bench, watch: Watch, generation: int, on_resume: str) -> None:
    """Start anew: first the crash is settled as the table says, then the run is finished."""
    before, artifacts = bench.kinds(), bench.all_artifacts()
    gate = bench.opened()
    watch.look()
    settled = bench.kinds()
    new = {kind: settled[kind] - before[kind] for kind in ("OPENED", "RESERVED", "BURNED", "COMMITTED")}
    expected = {"OPENED": 1, "RESERVED": 0, "BURNED": on_resume == "burn", "COMMITTED": on_resume == "adopt"}
    assert new == expected, f"settling must {on_resume}"
    assert bench.all_artifacts() == artifacts, "settling makes no histogram, and changes none"
    assert (generation in watch.readable) == (on_resume in ("adopt", "replay"))

    finished = run_generations(gate)
    watch.check_finished()
    assert bench.draws() - bench.kinds()["COMMITTED"] <= bench.kinds()["BURNED"]
    again = bench.opened()
    assert [h.counts_K.tolist() for h in run_generations(again)] == [h.counts_K.tolist() for h in finished]
    watch.check_finished()


def check_row(bench: Bench, row: Row) -> None:
    """After the crash: what the row says is there, and what it says happens."""
    watch = Watch(bench)
    watch.look()
    done = row.generation
    assert bench.kinds()["RESERVED"] - done == row.charged
    assert bench.draws() - done == row.drawn
    assert len(bench.all_artifacts()) - done == row.artifact
    check_resume(bench, watch, row.generation, row.on_resume)
    assert bench.kinds()["BURNED"] == (row.on_resume == "burn")
    assert bench.kinds()["RESERVED"] == PLAN.generations + (row.on_resume == "burn")


class MemoryBench(Bench):
    """With its ledger in a bucket in this process's memory, whose requests can be made to fail."""

    def __init__(self, root: Path, kind: type[Gate] = Gate) -> None:
        self.store = MemoryStore()
        super().__init__(root, "memory://", kind)

    def ledger(self) -> Ledger:
        ledger = Ledger(self.root, "ds")
        ledger._chain = ObjectChain(self.store, "ds", "memory://")
        return ledger


@dataclass(frozen=True)
class Accident:
    """The driver ends at its `step`-th fault point, or at its `step`-th write to the bucket."""

    how: str
    step: int


HOWS = ["killed", "raised", "request lost", "answer lost"]
ACCIDENTS = st.lists(st.builds(Accident, st.sampled_from(HOWS), st.integers(1, 22)), max_size=6)


def have(accident: Accident, bench: Bench, patch: pytest.MonkeyPatch) -> None:
    """Start a driver that ends like this, or finishes before it comes to that."""
    steps, create = 0, object_chain.create

    def fault(_: str) -> None:
        nonlocal steps
        steps += accident.how in ("killed", "raised")
        if steps == accident.step and accident.how == "killed":
            cut_off(gate)
        if steps == accident.step:
            steps += 1
            raise Crash

    def fails(store: object, name: str, data: bytes) -> str:
        nonlocal steps
        steps += accident.how in ("request lost", "answer lost")
        if steps == accident.step and accident.how == "answer lost":
            create(store, name, data)  # type: ignore[arg-type]
        if steps >= accident.step and accident.how in ("request lost", "answer lost"):
            raise GenericError("the network is down")
        return create(store, name, data)  # type: ignore[arg-type]

    gate = bench.gate(fault=fault)
    with patch.context() as network:
        network.setattr(object_chain, "create", fails)
        try:
            gate.open()
            run_generations(gate)
        except (Crash, LedgerError):
            pass


def survive(bench: Bench, accidents: list[Accident], patch: pytest.MonkeyPatch) -> None:
    """Any number of drivers end by accident; then one goes as far as the slots allow. AssertionError if rules break."""
    watch = Watch(bench)
    for accident in accidents:
        have(accident, bench, patch)
        watch.look()
    try:
        run_generations(bench.opened())
    except SlotsExhausted:
        watch.look()
        assert len(slots_of(bench.entries(), "r")) == PLAN.slots, "it gave up early"
        return
    watch.check_finished()
