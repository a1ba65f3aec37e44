"""What pools tell, on SIMULATED actors; which metrics it makes; and that the dashboard shows those."""

import ast
import json
import re
import time
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest

from spti_ray.config import ROLES
from spti_ray.runtime.hosting.engine import PRIVATE_ROLES
from spti_ray.runtime.ray import engine_metrics
from spti_ray.runtime.ray import metrics as module
from spti_ray.runtime.ray.metrics import COUNTERS, GAUGES, HISTOGRAMS, Metrics
from spti_ray.runtime.scheduling.engine_info import EngineFailed
from spti_ray.runtime.scheduling.events import Finished, Lost, Raised
from spti_ray.runtime.scheduling.meter import NO_METRICS, Load, RoleMeter, cause_of
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.retries import Limits
from spti_ray.runtime.scheduling.simulated import SimulatedActor, SimulatedEvents
from spti_ray.types import Completions

ROOT = Path(__file__).parents[4]
DASHBOARD = (ROOT / "cluster" / "grafana" / "spti.json").read_text(encoding="utf-8")
TABLES = COUNTERS | GAUGES | HISTOGRAMS


class Sink:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.counts: Counter = Counter()
        self.durations: list = []
        self.loads: dict = {}

    def watch(self, role, load):
        self.loads[role] = load

    def count(self, name, by=1.0, **tags):
        assert set(tags) == set(COUNTERS[name][1]), name
        self.counts[(name, *(tags[key] for key in COUNTERS[name][1]))] += by

    def took(self, role, seconds):
        self.durations.append((role, seconds))

    def of(self, name, role):
        return {key[2:] or (): by for key, by in self.counts.items() if key[:2] == (name, role)}


def numbers(count: int):
    return [(number,) for number in range(count)]


def meter(sink: Sink, role: str = "renderer", num_gpus: float = 0.0) -> RoleMeter:
    return RoleMeter(sink, role, num_gpus, serves_shards=role in PRIVATE_ROLES)


def pool_of(sink: Sink, actors: list, events: SimulatedEvents, limits: Limits, role: str = "renderer", **more) -> Pool:
    return Pool(role, actors, events, limits, meter=meter(sink, role), **more)


def test_batches_that_are_done_count_with_their_images_and_seconds():
    sink, events = Sink(), SimulatedEvents()
    pool = Pool("renderer", [SimulatedActor(lambda n: 2.0)], events, Limits(), meter=meter(sink, num_gpus=0.5))
    assert list(pool.map(numbers(5))) == numbers(5)
    assert sink.counts == {
        ("units_total", "renderer", "done"): 5,
        ("images_total", "renderer"): 5,
        ("actor_seconds_total", "renderer"): 10.0,
        ("gpu_seconds_total", "renderer"): 5.0,
    }
    assert sink.durations == [("renderer", 2.0)] * 5


def test_a_writers_batches_share_its_seconds_and_count_their_tokens():
    sink = Sink()
    writer = meter(sink, "writer", num_gpus=2.0)
    for abreast in (2, 2, 1):
        writer.back(Finished([Completions(("a",), 7), Completions(("b",), 3)], 4.0), abreast)
    assert sink.of("actor_seconds_total", "writer") == {(): 8.0}
    assert sink.of("gpu_seconds_total", "writer") == {(): 16.0}
    assert sink.of("output_tokens_total", "writer") == {(): 30} and not sink.of("images_total", "writer")


def test_a_writer_with_two_batches_in_hand_is_not_busy_twice():
    sink, events = Sink(), SimulatedEvents()
    answers = (Completions(("a",), 1),)
    actor = SimulatedActor(lambda *answers: 1.0)
    list(pool_of(sink, [actor], events, Limits(slots=2), role="writer").map(answers for _ in range(10)))
    # A simulated actor runs them one after the other: each counts for its half, the last for all of it.
    assert sink.of("actor_seconds_total", "writer") == {(): 9 * 0.5 + 1.0}


def test_batches_that_fail_are_retried_and_then_given_up():
    def seconds(number: int) -> float:
        if number == 3:
            raise ValueError("no such unit")
        return 1.0

    sink, events = Sink(), SimulatedEvents()
    pool = pool_of(sink, [SimulatedActor(seconds)], events, Limits(attempts=3))
    list(pool.map(numbers(5)))
    assert sink.of("units_total", "renderer") == {("done",): 4, ("failed",): 3, ("given_up",): 1}
    assert sink.of("retries_total", "renderer") == {(): 2} and not sink.of("lost_actors_total", "renderer")


@pytest.mark.parametrize(("how", "cause"), [({"preempted": True}, "preempted"), ({}, "unavailable")])
def test_an_actor_that_is_lost_counts_once_and_each_of_its_batches_as_a_retry(how, cause):
    sink, events = Sink(), SimulatedEvents()
    actor = SimulatedActor(lambda n: 1.0)
    events.after(1.5, lambda: events.crash(actor, **how))
    list(pool_of(sink, [actor], events, Limits(slots=3)).map(numbers(9)))
    assert sink.of("lost_actors_total", "renderer") == {(cause,): 1}
    assert sink.of("retries_total", "renderer") == {(): 3}
    assert sink.of("units_total", "renderer") == {("done",): 9}


def test_an_engine_that_hangs_counts_as_hung():
    sink, events = Sink(), SimulatedEvents()
    actor = SimulatedActor(lambda n: 1e9 if n == 2 else 1.0)
    list(pool_of(sink, [actor], events, Limits(slots=2, crashes=1, batch_timeout_s=100)).map(numbers(4)))
    assert sink.of("lost_actors_total", "renderer") == {("hung",): 1}
    assert sink.of("units_total", "renderer") == {("done",): 3, ("given_up",): 1}


def test_an_actor_that_dies_for_good_counts_as_died_and_one_that_never_came_as_not_started():
    sink, events = Sink(), SimulatedEvents()
    first, broken = SimulatedActor(lambda n: 1.0), SimulatedActor(lambda n: 1.0)
    broken.gone = "no model"

    def die() -> None:
        first.gone = "no GPU any more"
        events.crash(first)

    events.after(2.5, die)
    with pytest.raises(EngineFailed):
        list(pool_of(sink, [first, broken], events, Limits()).map(numbers(9)))
    assert sink.of("lost_actors_total", "renderer") == {("died",): 1, ("not_started",): 1}


def test_batches_that_an_earlier_attempt_did_count_as_kept_and_not_as_work():
    class Place:
        def __init__(self, arguments):
            self.get = lambda: arguments
            self.put = lambda result: None

    sink, events = Sink(), SimulatedEvents()
    list(pool_of(sink, [SimulatedActor(lambda n: 1.0)], events, Limits(), cache=Place).map(numbers(4)))
    assert sink.counts == {("units_total", "renderer", "kept"): 4}


def test_the_load_of_a_pool_can_be_seen_at_any_time():
    sink, events = Sink(), SimulatedEvents()
    actors = [SimulatedActor(lambda n: 1.0), SimulatedActor(lambda n: 1.0, start_s=1e6)]
    pool = pool_of(sink, actors, events, Limits(slots=2))
    assert sink.loads["renderer"]() == Load(queue=0, in_flight=0, up=0, asked=2)
    results = pool.map(numbers(20))
    next(results)
    assert sink.loads["renderer"]() == Load(queue=0, in_flight=2, up=1, asked=2)
    pool.shrink()
    assert sink.loads["renderer"]().up == sink.loads["renderer"]().asked == 0


def test_a_pool_without_a_meter_tells_nobody():
    NO_METRICS.watch(lambda: Load(0, 0, 0, 0))
    NO_METRICS.back(Raised("error"), 1)
    NO_METRICS.missed(True)
    NO_METRICS.cached()
    NO_METRICS.lost(cause_of(Lost(), hung=False))


@pytest.mark.parametrize("role", PRIVATE_ROLES)
def test_of_engines_that_serve_shards_nothing_is_told_that_private_work_could_change(role):
    """Between two public batches they work on private records, which may make a public one wait, or end the actor."""
    sink = Sink()
    told = meter(sink, role, num_gpus=1.0)
    told.watch(lambda: Load(1, 1, 1, 1))
    told.back(Finished([0.0] * 16, 0.5), 2)
    told.back(Raised("MemoryError"), 2)
    told.back(Lost(), 1)
    told.missed(given_up=False)
    told.missed(given_up=True)
    told.lost("unavailable")
    told.cached()
    work = {"units_total", "actor_seconds_total", "gpu_seconds_total"}
    assert {name for name, *_ in sink.counts} - {"images_total"} == work
    assert sink.of("units_total", role) == {("done",): 1}
    assert not sink.durations and not sink.loads


class FakeMetric:
    """Takes what ray.util.metrics takes, and refuses what it refuses."""

    all: ClassVar[dict] = {}

    def __init__(self, name, description="", boundaries=None, tag_keys=None):
        self.name, self.keys, self.values = name, set(tag_keys), {}
        FakeMetric.all[name.removeprefix(module.PREFIX)] = self

    def set_default_tags(self, tags):
        self.default = tags
        return self

    def set(self, value, tags=None):
        tags = self.default | (tags or {})
        assert set(tags) == self.keys and all(isinstance(tag, str) for tag in tags.values())
        self.values[tuple(sorted(tags.items()))] = value

    def inc(self, value, tags=None):
        assert value > 0
        self.set(value, tags)

    observe = set


@pytest.fixture
def published(monkeypatch):
    for kind in ("Counter", "Gauge", "Histogram"):
        monkeypatch.setattr(module, kind, FakeMetric)
    monkeypatch.setattr(FakeMetric, "all", {})
    return FakeMetric.all


def test_gauges_are_of_the_run_and_of_pools_without_private_input(published):
    metrics = Metrics("r1", epsilon_planned=2.0)
    for role in ROLES:
        metrics.of(role, 1.0).watch(lambda: Load(queue=4, in_flight=3, up=2, asked=5))
    metrics.generation(0)
    metrics.spent(0.25)
    metrics.publish_gauges()
    metrics.of("image_embedder", 1.0).lost("died")
    assert not published["lost_actors_total"].values
    assert published["generation"].values == {(("run", "r1"),): 1}
    assert published["epsilon_spent"].values == {(("run", "r1"),): 0.25}
    assert published["epsilon_planned"].values == {(("run", "r1"),): 2.0}
    public = {"writer", "renderer"}
    assert public == set(ROLES) - set(PRIVATE_ROLES)
    for name in ("queue_units", "in_flight", "actors"):
        assert {dict(tags)["role"] for tags in published[name].values} == public
    states = {(dict(tags)["role"], dict(tags)["state"]): value for tags, value in published["actors"].values.items()}
    assert states == {(role, "asked"): 5 for role in public} | {(role, "up"): 2 for role in public}


def test_gauges_are_set_again_and_again_until_the_end_of_the_run(published, monkeypatch):
    """Ray forgets a gauge that is not set for 20 seconds, and a generation takes longer."""
    monkeypatch.setattr(module, "_REPEAT_S", 0.01)
    asked = []
    deadline = time.monotonic() + 20
    with Metrics("r1", 2.0) as metrics:
        metrics.of("writer", 0.0).watch(lambda: asked.append(0) or Load(0, 0, 1, 1))
        while len(asked) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    seen = len(asked)
    assert seen >= 3
    assert not metrics._thread.is_alive() and len(asked) == seen


def test_nothing_is_added_where_nothing_was_done(published):
    meter = Metrics("r1", 2.0).of("renderer", 0.0)
    meter.back(Finished([], 0.0), 1)
    assert {name for name, metric in published.items() if metric.values} == {"units_total", "unit_seconds"}


def test_no_metric_is_of_a_shard_or_of_records():
    allowed = {"role", "outcome", "cause", "state"}
    for name, (meaning, tags) in TABLES.items():
        assert set(tags) <= allowed
        assert not re.search("record|shard|vote|caption|private|label|group", f"{name} {meaning}"), name


def importers(*modules: str) -> set[str]:
    found = set()
    for path in (ROOT / "spti_ray").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            origin = getattr(node, "module", None) or ""
            if any(f"{origin}.{name}".startswith(modules) for name in names):
                found.add(path.relative_to(ROOT / "spti_ray").as_posix())
    return found


def test_only_the_driver_and_a_writers_engine_publish():
    assert importers("ray.util.metrics") == {"runtime/ray/metrics.py", "runtime/ray/engine_metrics.py"}
    assert importers("spti_ray.runtime.ray.metrics") == {"runtime/ray/executor.py"}
    assert importers("spti_ray.runtime.ray.engine_metrics") == {"runtime/ray/engine_actor.py"}
    assert importers("spti_ray.models.vllm_stats", "vllm.v1.metrics") == {
        "models/vllm_stats.py",
        "models/vllm_writer.py",
    }


def test_an_engines_figures_are_told_as_they_grow(monkeypatch):
    for kind in ("Counter", "Gauge"):
        monkeypatch.setattr(engine_metrics, kind, FakeMetric)
    monkeypatch.setattr(FakeMetric, "all", {})
    figures = dict.fromkeys([*engine_metrics.COUNTERS, *engine_metrics.GAUGES], 0.0)

    class Engine:
        def stats(self):
            return dict(figures)

    metrics = engine_metrics.EngineMetrics("r1", Engine())
    for tokens, usage in ((5.0, 0.5), (5.0, 0.25), (12.0, 0.0)):
        figures |= {"generation_tokens": tokens, "kv_cache_usage": usage}
        metrics.publish()
    of_run = (("run", "r1"),)
    names = {name.removeprefix("vllm_"): metric.values for name, metric in FakeMetric.all.items()}
    assert names["generation_tokens_total"] == {of_run: 7.0}, "what was added last"
    assert names["kv_cache_usage"] == {of_run: 0.0}
    assert names["preemptions_total"] == {}


def expressions() -> list[str]:
    return [target["expr"] for panel in json.loads(DASHBOARD)["panels"] for target in panel["targets"]]


def test_the_dashboard_shows_all_metrics_and_no_others():
    """By Ray's names: with `ray_` in front, and counters ending in `_total`, which Ray would otherwise append."""
    assert all(name.endswith("_total") for name in COUNTERS)
    exported = {f"ray_{module.PREFIX}{name}" for name in COUNTERS | GAUGES}
    exported |= {f"ray_{module.PREFIX}{name}_bucket" for name in HISTOGRAMS}
    exported |= {f"ray_{engine_metrics.PREFIX}{name}_total" for name in engine_metrics.COUNTERS}
    exported |= {f"ray_{engine_metrics.PREFIX}{name}" for name in engine_metrics.GAUGES}
    assert set(re.findall(r"\bray_\w+", " ".join(expressions()))) == exported
    assert set(re.findall(r"\bray_\w+", DASHBOARD)) == exported


def test_the_dashboard_groups_and_selects_by_tags_that_there_are():
    used = set()
    for text in re.findall(r"by \(([^)]*)\)|\{([^}]*)\}", " ".join(expressions())):
        used |= set(re.findall(r"[a-z_]+(?=\s*(?:=|,|$))", re.sub(r'"[^"]*"', "", text[0] or text[1])))
    assert used == {"run", "le"} | {tag for _, tags in TABLES.values() for tag in tags}


def test_the_dashboard_is_whole():
    dashboard = json.loads(DASHBOARD)
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all("$run" in expression for expression in expressions())
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels)
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "run"}
    places = [panel["gridPos"] for panel in panels]
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) == 23, "no panel overlaps another"
