"""The file of ratios: what is in it, what is kept, and what counts as reached."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from spti_ray.bench import suite
from spti_ray.bench.bare_engine import start_bare_engine
from spti_ray.bench.suite import TARGETS, Settings, ratios, run
from spti_ray.bench.votes import votes
from spti_ray.bench.workload import ROLES, call_arguments, count_produced, make_items
from spti_ray.cli import app
from spti_ray.models.factory import FAKE
from spti_ray.observability.timeline import write_timeline
from spti_ray.observability.trace import Trace

DOCUMENT = {
    "engines": {
        role: {"ratio": 0.96, "pool": 10.0, "rate_of": "items/s", "bare": 10.4} for role in ("writer", "renderer")
    },
    "scaling": {"actors": [1, 4]} | {f"{n}_{s}": [1.0, 0.95] for n in ("strong", "weak") for s in ("1s", "0.1s")},
    "driver": {"thread_us": 200.0},
    "images": {"against": {"ratios": {"ray_400KB_kept_ms": 0.02}}, "many_actors": [{"efficiency": 0.97}]},
    "memory": {"over_bound": 0.9},
    "streaming": {"ratio": 0.4},
    "model": {"many_actors": [{"unit_s": 1, "actors": 10, "efficiency": 0.9}], "driver_us_per_unit": 200.0},
    "feeding": {"against": {"ratios": {"renders_per_s": 4.2, "records_per_s": 1.9, "png_cpu_ms": 0.3}}},
    "script": {"wall": 0.7, "cpu": 1.0, "memory": 1.7},
    "votes": {"ratio": 0.7},
}


def test_every_target_is_judged_by_its_own_bound():
    found = ratios(DOCUMENT)
    assert set(found) == {target.name for target in TARGETS}
    assert {name for name, ratio in found.items() if not ratio["reached"]} == {
        "renderer in its pool over bare",
        "weak scaling, units of 1 s",
        "strong scaling, units of 1 s",
        "votes over the bare product",
    }


def test_what_was_not_measured_is_not_judged():
    assert set(ratios({"votes": {"ratio": 0.9}})) == {"votes over the bare product"}


def test_parts_are_written_as_they_are_measured_and_kept(tmp_path, monkeypatch):
    write_timeline(Trace(), tmp_path / "timeline.json")
    monkeypatch.setattr(
        suite,
        "parts",
        lambda settings, out: {name: lambda document, told, name=name: DOCUMENT[name] for name in DOCUMENT},
    )
    for name, document in run(tmp_path, Settings(), ("votes",)):
        assert name == "votes" and document["votes"] == {"ratio": 0.7} and "driver" not in document
    *_, (_, last) = run(
        tmp_path,
        Settings(),
        ("streaming", "scaling", "engines", "model", "driver", "images", "memory", "feeding", "script"),
    )
    assert json.loads((tmp_path / "throughput.json").read_text()) == json.loads(json.dumps(last))
    assert set(DOCUMENT) < set(last) and set(last["ratios"]) == {target.name for target in TARGETS}
    assert (tmp_path / "throughput.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_measured_is_told_and_how_long_it_took_the_last_time(tmp_path, monkeypatch):
    def measure(document, told):
        told("ten engines", 1, 4)
        time[0] += 90
        return {"ratio": 0.7}

    time = [10.0]
    write_timeline(Trace(), tmp_path / "timeline.json")
    monkeypatch.setattr(suite, "parts", lambda settings, out: {"votes": measure})
    monkeypatch.setattr(suite, "monotonic", lambda: time[0])
    steps = []
    for _ in range(2):
        list(run(tmp_path, Settings(), ("votes",), lambda *step: steps.append(step)))
    first, again = "votes (part 1 of 1)", "votes (part 1 of 1, which took 01:30 the last time)"
    assert steps == [(first, 0, 0), (f"{first}: ten engines", 1, 4), (again, 0, 0), (f"{again}: ten engines", 1, 4)]


def measured_at_once(name):
    """In place of what takes long."""
    if name.endswith("engines_on_ray"):
        return lambda settings, runtime=None: nullcontext({role: [] for role in settings})
    if name.endswith("pool_of"):
        return lambda *arguments, **more: SimpleNamespace(map=list)
    return lambda *arguments: {"driver_mb": 1.0} if name.startswith("driver_memory") else 1.0


@pytest.mark.parametrize("part", ["images", "driver", "memory"])
def test_each_measurement_of_a_long_part_is_told(tmp_path, monkeypatch, part):
    long = ("image_bytes.thread_ms", "image_bytes.engines_on_ray", "scaling.engines_on_ray", "scaling.pool_of")
    for name in (*long, "driver_memory._in_a_process"):
        monkeypatch.setattr(f"spti_ray.bench.{name}", measured_at_once(name))
    steps = []
    suite.parts(Settings(), tmp_path)[part]({}, lambda *step: steps.append(step))
    assert [done for _, done, _ in steps] == list(range(len(steps))) and {total for *_, total in steps} == {len(steps)}
    assert len({what for what, _, _ in steps}) == len(steps) > 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "speed"], "--only speed: there is no such part; parts: engines, scaling"),
        (["--actors", "1,x"], "--actors '1,x': give numbers from 1"),
        (["--set", "runtime.shards=1"], "--set needs --config"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused_in_one_line(tmp_path, arguments, said):
    result = CliRunner().invoke(app, ["bench", "--out", str(tmp_path / "b"), *arguments])
    assert result.exit_code == 2 and said in result.output and not (tmp_path / "b").exists()


def test_the_work_of_a_seed_is_the_same_everywhere_and_another_for_another_seed():
    for role in ROLES:
        assert str(make_items(role, 5, 1)) == str(make_items(role, 5, 1)) != str(make_items(role, 5, 2))


def test_an_engine_called_bare_does_the_rounds_that_it_is_asked_for():
    for role in ("writer", "renderer"):
        with start_bare_engine(role, FAKE.of(role)) as engine:
            assert [engine.round(seed, 4)[0] > 0 for seed in range(2)] == [True, True]


def test_work_that_failed_is_no_rate():
    with pytest.raises(RuntimeError, match="the renderer failed on some of its work"):
        count_produced("renderer", [1, None])
    assert call_arguments("text_embedder", ["a"]) == (["a"],)


@pytest.mark.models
def test_votes_are_cast_for_all_records_against_the_same_product():
    from spti_ray.private.device import device_name

    found = votes(records=300, candidates=20, width=16, rounds=1)
    assert found["votes_s"] > 0 and found["product_s"] > 0 and found["ratio"] > 0
    assert found["on_device"]["votes_s"] > 0 and found["on_device"]["device"] == device_name()


@pytest.mark.models
def test_a_device_whose_votes_are_others_is_not_measured(monkeypatch):
    from spti_ray.private import device

    monkeypatch.setattr(device._TorchSimilarities, "count_nearest", lambda self, k: np.ones(20, np.int64))
    with pytest.raises(RuntimeError, match="are not those of NumPy"):
        votes(records=300, candidates=20, width=16, rounds=1)
