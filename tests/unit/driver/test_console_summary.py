"""What a run says at its beginning and at its end; and that every place that shows a figure of a run that goes on from
another shows the release's, and its own as a part."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from spti_ray.cli.ledger_report import history_lines
from spti_ray.config.identity import resolved
from spti_ray.config.loading import parse_config
from spti_ray.dp.accounting import pld_epsilon
from spti_ray.dp.gate import Gate
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.mechanism import SeededNoise
from spti_ray.driver.console_summary import closing_lines, opening_lines
from spti_ray.figures import at_least
from spti_ray.observability.timings import write_timings
from spti_ray.observability.trace import Trace
from spti_ray.planning.plan import noise_plan, plan_summary
from spti_ray.planning.plan_text import plan_lines
from spti_ray.public.fallbacks import FallbackCount, FallbackCounts
from spti_ray.runs.folder import RunDir
from spti_ray.runs.status import status_of


@pytest.fixture
def continued(tmp_path: Path, make_config):
    """(config, gate, plan) of a run `b` that goes on from `a` with the same noise; each has made one query."""
    raw = resolved(make_config(ledger__path=str(tmp_path / "ledger")))
    config = parse_config(raw | {"origin": {"run": "a", "path": str(tmp_path / "a"), "generation": 2}})
    ledger, plan = Ledger(tmp_path / "ledger", config.dataset.id), noise_plan(config)
    ledger.register(20.0, 1e-5)
    for run, origin in (("a", ""), ("b", "a")):
        gate = Gate(ledger, plan, run, tmp_path / run / "generations", SeededNoise(0), "c", origin=origin)
        gate.open()
        gate.reserve(0, "ab", ("x", "y"))
    return config, gate, plan


def test_the_release_is_told_with_the_figure_of_both_runs(continued, tmp_path):
    config, gate, plan = continued
    both, charged = (pld_epsilon([(plan.sigma, count)], 1e-5) for count in (2 * plan.slots, 2))
    run = SimpleNamespace(path=tmp_path, release=tmp_path / "release", internal=tmp_path / "internal")
    first = next(opening_lines(config, run, gate, "ledger", 1))
    assert f"epsilon {at_least(both)}, delta" in first and "2 runs together" in first
    assert "of its own queries epsilon 2" in first
    spent = next(
        line for line in closing_lines(config, run, gate, Trace(), FallbackCounts()) if line.startswith("spent")
    )
    assert f"epsilon {at_least(charged)} at delta" in spent and "by the 2 runs that the release depends on" in spent
    assert gate.release_epsilon() == (charged, both), "the progress line"


def test_status_history_and_plan_tell_it_too(continued, tmp_path):
    config, gate, plan = continued
    both = pld_epsilon([(plan.sigma, 2 * plan.slots)], 1e-5)
    (tmp_path / "b").mkdir(exist_ok=True)
    (tmp_path / "b" / "run.yaml").write_text(yaml.safe_dump({"run": "b", "config": resolved(config)}))
    status = status_of(tmp_path / "b")
    assert status.release_epsilon == both > 2.0
    shown = status.lines(tmp_path / "b")
    assert "by its own queries, a part" in shown[3] and f"epsilon {at_least(both)}, of all" in shown[4]

    (line,) = [line for line in history_lines(gate.ledger._chain) if line.startswith("b ")]
    assert f"goes on from a: its release has epsilon {at_least(both)}" in line

    summary = plan_summary(config)
    assert summary["release_epsilon"] == both and summary["goes_on_from"] == "a"
    assert summary["release_attacker_advantage"] > summary["attacker_advantage"]
    lines = plan_lines(summary)
    assert lines[0].startswith(f"release     goes on from run a: epsilon {at_least(both)} at delta 1e-05")
    assert "by its own queries alone" in lines[1]


def test_a_plan_whose_ledger_is_elsewhere_says_that_the_figure_is_not_known(continued):
    config, _, _ = continued
    elsewhere = config.model_copy(update={"origin": config.origin.model_copy(update={"run": "nobody"})})
    assert "which the ledger tells when the run starts" in plan_lines(plan_summary(elsewhere))[0]


def test_a_warning_about_the_data_is_said_at_the_beginning(tmp_path, make_config):
    run = RunDir(tmp_path, "run-1", make_config())
    plain = list(opening_lines(make_config(), run, None, "ledger", 1))
    assert list(opening_lines(make_config(), run, None, "ledger", 1, "each value is a record")) == [
        *plain,
        "warning: each value is a record",
    ]


def test_the_share_of_texts_that_nobody_wrote_is_told_at_the_end(make_config, tmp_path):
    config = make_config(method="random")
    run = RunDir(tmp_path, "r", config)
    written = FallbackCounts({"0": FallbackCount(12, 3)})
    lines = list(closing_lines(config, run, None, Trace(), written))
    assert [line for line in lines if "fallback" in line] == list(written.lines()) != []


def test_what_the_writer_cost_in_earlier_attempts_is_told_too(make_config, tmp_path):
    config = make_config(method="random")
    trace = Trace()
    trace.batch("writer", 5, 1.0, tokens=10, dollars=0.1)
    trace.in_all(380, 3.8)
    lines = list(closing_lines(config, RunDir(tmp_path, "r", config), None, trace, FallbackCounts()))
    assert "writer, over all attempts: 380 output tokens, $3.8" in lines
    write_timings(trace, tmp_path / "timings.json", {})
    assert json.loads((tmp_path / "timings.json").read_text())["writer_in_all"] == {
        "output_tokens": 380,
        "dollars": 3.8,
    }


@pytest.mark.parametrize("writes_now", [True, False])
def test_the_line_over_all_attempts_is_there_only_where_it_adds_something(make_config, tmp_path, writes_now):
    config, run = make_config(method="random"), RunDir(tmp_path, "r", make_config(method="random"))

    def told(tokens: int) -> list[str]:
        trace = Trace()
        if writes_now:
            trace.batch("writer", 5, 1.0, tokens=10, dollars=0.1)
        trace.in_all(tokens, 0.0)
        return [
            line for line in closing_lines(config, run, None, trace, FallbackCounts()) if "over all attempts" in line
        ]

    # An attempt that finds all texts written by an earlier one tells of them as well.
    dollars = ", $0.1" if writes_now else ""
    assert told(380) == [f"writer, over all attempts: 380 output tokens{dollars}"]
    assert told(10 if writes_now else 0) == told(0) == []
