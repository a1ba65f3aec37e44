"""Whole runs on Ray's autoscaler (v2) with its fake nodes, of the kinds that `spti manifest render` writes: from zero
nodes to a release and back. Engines are SIMULATED, and GPUs are there in name only."""

import json
from collections import Counter

import pytest

from spti_ray.dp.ledger import Ledger
from tests.ray.autoscaled import CONFIG, ENGINES, LABELS, Autoscaled
from tests.ray.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    started = Autoscaled(tmp_path_factory.mktemp("autoscaled"))
    try:
        until(started.is_up, 400)
        yield started
    finally:
        started.stop()


class Run:
    """A command that watches a run of its own, and the nodes that were there meanwhile."""

    def __init__(self, cluster, name, *settings, never_come=(), **renderer):
        until(lambda: not cluster.nodes())
        cluster.never_come(*never_come)
        self.cluster, self.out = cluster, cluster.folder / name
        self.ledger, self._log = cluster.folder / f"{name}-ledger", cluster.folder / f"{name}.log"
        engines = ENGINES | {"renderer": ENGINES["renderer"] | renderer}
        chosen = {"runtime.engines": engines, "runtime.shards": CONFIG.runtime.shards, "runtime.node_labels": LABELS}
        chosen["runtime.placement_timeout_s"] = 600  # a busy machine starts a node in a minute
        as_set = [f"{name}={json.dumps(value)}" for name, value in chosen.items()]
        self._command = cluster.watch(self.out, *as_set, f"ledger.path={self.ledger}", *settings, log=self._log)
        self.seen = Counter()

    def said(self):
        return self._log.read_text()

    def wait(self):
        """Its exit code, once it has ended."""
        try:
            return until(self._has_ended, 900)[0]
        finally:
            self._command.kill()

    def _has_ended(self):
        self.seen |= self.cluster.nodes()
        code = self._command.poll()
        return None if code is None else (code,)

    def charged(self):
        """What of the budget was reserved or spent, however it ended."""
        events = [type(entry.event).__name__ for entry in Ledger(self.ledger, "stickers").entries()]
        return [event for event in events if event in ("Reserved", "Committed", "Burned")]

    def must_have_released(self):
        assert self.wait() == 0, self.said()
        assert f"release: {self.out}/release" in self.said()
        verified = self.cluster.spti("verify", str(self.out), "--ledger", str(self.ledger))
        assert verified.returncode == 0, verified.stdout

    def must_have_been_refused(self, code, *said):
        """With this exit code, in one line that says that, and free of charge."""
        assert self.wait() == code, self.said()
        lines = [line for line in self.said().splitlines() if line.startswith("spti: ")]
        assert len(lines) == 1 and "Traceback" not in self.said(), self.said()
        assert all(part in lines[0] for part in said), lines[0]
        assert not (self.out / "release").exists() and not self.charged()


def test_a_run_on_no_nodes_gets_those_of_its_first_wish_and_gives_all_back(cluster):
    run = Run(cluster, "plain")
    run.must_have_released()
    assert set(run.seen) == {"writer-spot", "renderer-l40s-spot", "image-embedder-spot", "vote"}
    until(lambda: not cluster.nodes(), 60)


def test_where_no_spot_node_comes_an_on_demand_node_of_that_kind_does(cluster):
    run = Run(cluster, "market", never_come=["renderer-l40s-spot"])
    run.must_have_released()
    assert {name for name in run.seen if name.startswith("renderer")} == {"renderer-l40s"}


@pytest.mark.parametrize("replicas", [1, 0])
def test_where_no_node_of_a_kind_comes_the_next_kind_does(cluster, replicas):
    run = Run(cluster, f"kind{replicas}", never_come=["renderer-l40s-spot", "renderer-l40s"], replicas=replicas)
    run.must_have_released()
    assert {name for name in run.seen if name.startswith("renderer")} == {"renderer-h100-spot"}


def test_a_run_whose_nodes_are_killed_at_work_finishes(cluster):
    run = Run(
        cluster, "killed", "evolution.generations=2", "evolution.candidates=80", batch_size=1, options={"delay_s": 0.5}
    )
    until(lambda: "candidates |" in run.said())
    assert cluster.kill_node("renderer")
    until(lambda: "votes" in run.said())
    assert cluster.kill_node("vote")
    run.must_have_released()
    assert run.charged() == ["Reserved", "Committed"] * 2


def test_a_kind_that_is_not_there_ends_the_run_in_a_line_and_is_free(cluster):
    run = Run(cluster, "unknown", "runtime.placement_timeout_s=30", accelerators=["B200"])
    run.must_have_been_refused(4, "renderer", "B200")


def test_nodes_that_never_come_end_the_run_in_a_line_and_are_free(cluster):
    kinds = [f"renderer-{kind}{market}" for kind in ("l40s", "h100") for market in ("", "-spot")]
    run = Run(cluster, "never", "runtime.placement_timeout_s=30", never_come=kinds)
    run.must_have_been_refused(4, "renderer")


def test_a_head_without_room_for_the_driver_ends_the_run_in_a_line_and_is_free(cluster):
    run = Run(cluster, "head", "runtime.placement_timeout_s=10", "runtime.driver.num_cpus=1")
    run.must_have_been_refused(4, "no node took the run's driver", "runtime.driver")
    assert not run.seen
