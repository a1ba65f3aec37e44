"""Whole runs on Ray's autoscaler (v2) with its fake nodes, of the kinds that `spti manifest render` writes: from zero
nodes to a release and back. Engines are SIMULATED, and GPUs are there in name only."""

import json
from collections import Counter

import pytest

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

    def must_have_released(self):
        assert self.wait() == 0, self.said()
        assert f"release: {self.out}/release" in self.said()
        verified = self.cluster.spti("verify", str(self.out), "--ledger", str(self.ledger))
        assert verified.returncode == 0, verified.stdout


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
