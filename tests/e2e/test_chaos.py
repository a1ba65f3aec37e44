"""Runs on a cluster of several Ray nodes of which anything may be killed at any time: the same counts, one noise draw a
generation, the same release.

The kills take minutes and are not part of `make test`: `make test-chaos`, or with other seeds
`make test-chaos SEEDS="7 8"`.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from spti_ray.dp.storage import open_chain
from spti_ray.provenance.png_chunks import with_xmp

ROOT = Path(__file__).parents[2]
SEEDS = [int(seed) for seed in os.environ.get("SPTI_CHAOS_SEEDS", "").split()]
kills = pytest.mark.skipif(not SEEDS, reason="minutes of kills: make test-chaos")
GENERATIONS = 3
IN_FLIGHT = 2


def _slow(role: str, delay_s: float, replicas: int = 1) -> str:
    kind = f"fake-{role.replace('_', '-')}"
    return (
        f"{role}: {{kind: {kind}, model: SIMULATED, batch_size: 4, num_cpus: 0.3, replicas: {replicas}, "
        f"options: {{delay_s: {delay_s}}}}}"
    )


def _engines(renderers: int, pace: float = 0.1) -> str:
    of_roles = (
        _slow("writer", 3 * pace),
        _slow("renderer", 3 * pace, renderers),
        _slow("image_embedder", pace, replicas=2),
        _slow("captioner", pace),
        _slow("text_embedder", pace),
    )
    return f"runtime.engines={{{', '.join(of_roles)}}}"


SETTINGS = (
    _engines(renderers=2),
    f"runtime.in_flight_per_actor={IN_FLIGHT}",
    "runtime.unit_crashes=50",
    "runtime.shards=3",
    f"evolution.generations={GENERATIONS}",
    "evolution.candidates=24",
    "evolution.themes=[]",
    "evolution.voting=joint",
    "release.images=24",
    "release.images_per_text=2",
)


class Run:
    """One run's folder, ledger and probe, and its driver."""

    def __init__(self, folder: Path, address: str = "") -> None:
        self.folder, self._address = folder, address
        folder.mkdir(exist_ok=True)
        self._log = (folder / "driver.out").open("ab")

    def start(self, *settings: str) -> subprocess.Popen[bytes]:
        given = [str(ROOT / "jobs" / "stickers.yaml"), str(self.folder / "run"), str(self.folder / "probe.jsonl")]
        return subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "chaos_driver.py"), *given]
            + [self._address, *SETTINGS, f"ledger.path={self.folder / 'ledger'}", *settings],
            env={key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"},
            stdout=self._log,
            stderr=self._log,
        )

    def told(self, what: str) -> list[Any]:
        path = self.folder / "probe.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line[what] for line in map(json.loads, lines) if what in line]

    @property
    def entries(self) -> list[Any]:
        return open_chain(self.folder / "ledger", "stickers").read().entries

    def release(self) -> dict[str, Any]:
        """What of the release does not depend on times and ids: texts and images."""
        rows = pq.read_table(self.folder / "run" / "release" / "manifest.parquet").to_pylist()
        images = sorted((self.folder / "run" / "release" / "images").rglob("*.png"))
        return {
            "texts": [row["text"] for row in rows],
            # Without what they say, which has the run's id.
            "images": [hashlib.sha256(with_xmp(image.read_bytes(), None)).hexdigest() for image in images],
        }

    def output(self) -> str:
        return (self.folder / "driver.out").read_text(errors="replace")[-3000:]

    def finish(self, process: subprocess.Popen[bytes]) -> None:
        assert process.wait(timeout=300) == 0, self.output()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Without Ray, and with engines that do not dawdle: neither changes what a run makes."""
    run = Run(tmp_path_factory.mktemp("undisturbed"))
    run.finish(run.start("runtime.executor=local", _engines(renderers=1, pace=0)))
    assert len(run.told("counts")) == GENERATIONS
    return run


class Nodes:
    """A head without resources, to which drivers connect, and worker nodes that come and go."""

    def __init__(self, workers: int) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self.workers = [self.cluster.add_node(num_cpus=2) for _ in range(workers)]

    @property
    def address(self) -> str:
        return self.cluster.address

    def add(self) -> None:
        self.workers.append(self.cluster.add_node(num_cpus=2))

    def preempt(self, notice_s: float) -> None:
        """A node is announced to go, goes, and another comes."""
        node = self.workers.pop(0)
        said = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
        drain = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", self.address, *said]
        subprocess.run([*drain, "--node-id", node.node_id, "--deadline-remaining-seconds", str(notice_s)], check=True)
        time.sleep(notice_s)
        self.cluster.remove_node(node, allow_graceful=False)
        self.add()

    def kill_node(self, draw: random.Random) -> None:
        """As a spot node goes: all of it at once. Another comes."""
        node = self.workers.pop(draw.randrange(len(self.workers)))
        self.cluster.remove_node(node, allow_graceful=False)
        self.add()

    def kill_process(self, draw: random.Random) -> None:
        """An actor's process, an engine's or a shard's."""
        found = [
            process
            for node in self.workers
            for process in psutil.Process(node.all_processes["raylet"][0].process.pid).children(recursive=True)
            if any(name in _title(process) for name in ("EngineActor", "RendererActor", "ShardActor"))
        ]
        if found:
            draw.choice(sorted(found, key=lambda process: process.pid)).kill()


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    started = Nodes(workers=2)
    try:
        yield started
    finally:
        started.cluster.shutdown()


def _same_as(run: Run, undisturbed: Run) -> None:
    assert run.told("counts") == undisturbed.told("counts"), "the clean counts, and as many draws of noise"
    kinds = [entry.kind for entry in run.entries]
    assert kinds.count("COMMITTED") == kinds.count("RESERVED") == GENERATIONS and "BURNED" not in kinds
    assert run.release() == undisturbed.release()


def test_a_probe_sees_each_stage_and_one_draw_of_noise_a_generation(undisturbed):
    each = [f"{stage} {number}" for number in range(GENERATIONS) for stage in ("candidates", "votes")]
    assert undisturbed.told("stage") == [*each, "release"]
    assert [len(counts) for counts in undisturbed.told("counts")] == [24] * GENERATIONS


@kills
@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_killed_in_every_stage_the_run_is_the_undisturbed_one(undisturbed, nodes, tmp_path, seed):
    draw = random.Random(seed)
    run = Run(tmp_path / "run", nodes.address)
    process = run.start()
    struck: set[str] = set()
    strikes = 0
    while process.poll() is None:
        stage = (run.told("stage") or ["start"])[-1]
        if stage not in struck:
            struck.add(stage)
            time.sleep(draw.uniform(0.0, 0.6))
            # Processes more often than nodes, since a node's end takes several with it.
            (nodes.kill_node if draw.random() < 0.3 else nodes.kill_process)(draw)
            strikes += 1
        time.sleep(0.02)
    assert process.returncode == 0, run.output()
    assert strikes >= 2 * GENERATIONS + 1, "every stage was struck"
    _same_as(run, undisturbed)
    done, before = (
        json.loads((each.folder / "run" / "internal" / "timings.json").read_text())["stages"]
        for each in (run, undisturbed)
    )
    assert {role: stage["units"] for role, stage in done.items()} == {
        role: stage["units"] for role, stage in before.items()
    }, "no unit that was done is done again: what is lost was in flight"


def _until(run: Run, process: subprocess.Popen[bytes], stage: str) -> None:
    deadline = time.monotonic() + 120
    while stage not in run.told("stage"):
        assert process.poll() is None and time.monotonic() < deadline, run.output()
        time.sleep(0.02)


@kills
def test_a_node_that_goes_with_notice_is_no_units_fault(undisturbed, nodes, tmp_path):
    """A unit may be at work in one crash only, and a node's end is none."""
    run = Run(tmp_path / "run", nodes.address)
    process = run.start("runtime.unit_crashes=1")
    for stage in ("candidates 1", "candidates 2"):
        _until(run, process, stage)
        nodes.preempt(notice_s=1)
    run.finish(process)
    _same_as(run, undisturbed)


@kills
def test_a_killed_driver_goes_on_upon_a_cluster_of_another_size(undisturbed, nodes, tmp_path):
    run = Run(tmp_path / "run", nodes.address)
    process = run.start()
    _until(run, process, "candidates 1")
    time.sleep(1.0)
    process.kill()
    process.wait()
    nodes.add()
    run.finish(run.start(_engines(renderers=4)))
    _same_as(run, undisturbed)
