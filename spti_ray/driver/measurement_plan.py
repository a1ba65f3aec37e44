"""What a measurement would cost and how wide its interval would be (`spti measure --plan`). Nothing is charged."""

from __future__ import annotations

from typing import Any

from spti_ray.config.measure import Coverage
from spti_ray.dp.budget import epsilon_with
from spti_ray.dp.history import slots_of
from spti_ray.dp.joint_guarantee import planned_joint_guarantee
from spti_ray.driver.measurement import Measurement, in_words_of_a_task
from spti_ray.figures import at_least
from spti_ray.public.noised_ratio import half_width, records_for

_HALVES = (0.01, 0.05)


def plan_of(measurement: Measurement, private_records: int | None = None) -> dict[str, Any]:
    """Noise, epsilon and interval of a measurement, and what it would still charge.

    Args:
        measurement: what is planned.
        private_records: a publicly stated order of magnitude of the units; never counted from data.

    Returns:
        JSON values. `queries_charged`: of it so far; `at_work`: somebody asks it right now; `answered`: the answer
        is there, and nothing more is charged; `affordable`: empty if the lifetime budget covers the rest, else what it
        would cover.

    Raises:
        ConfigError, LedgerError: the ledger is not that of the measured run, or the name is another measurement's.
        ModelNotFound: the embedder can't be had here, and the question is still to be asked.
    """
    measurement.check_ledger()
    plan, task, ledger = measurement.plan, measurement.task, measurement.ledger
    at_work = measurement.folder.locked()  # before the ledger is read: who ends in between has written the answer there
    entries = ledger.entries()
    measurement.folder.check_free(entries)
    is_known = measurement.folder.is_of_this_task()
    begun = slots_of(entries, measurement.folder.known_run()) if is_known else []
    answered = measurement.finished or any(slot.artifact_sha256 is not None for slot in begun)
    left = 0 if answered else max(0, plan.slots - len(begun))
    if left and not (at_work and is_known):
        measurement.check_models()
    joint = planned_joint_guarantee(entries, measurement.measured.certified_run, plan)
    forecast = ledger.forecast(plan)
    assert joint is not None and forecast is not None  # `check_ledger` found the run in it
    after = epsilon_with(entries, plan, left)
    fits = forecast.budget is None or not left or after <= forecast.budget
    counts = len(measurement.config.evolution.label_names) if task.by_class else 1
    width = (plan.sigma, task.confidence, counts)
    found: dict[str, Any] = {
        "task": task.kind,
        "of": measurement.measured.certified_run,
        "unit": measurement.config.privacy.unit,
        "cells": 2 * counts,
        "queries": plan.slots,
        "queries_charged": len(begun),
        "at_work": at_work and is_known,
        "answered": answered,
        "sigma": plan.sigma,
        "epsilon": plan.epsilon,
        "delta": plan.delta,
        "epsilon_together": joint.epsilon,
        "replace_one_epsilon_together": joint.replace_one_epsilon,
        "delta_together": joint.delta,
        "confidence": task.confidence,
        "records_for_half_width": {f"{half:g}": records_for(half, *width) for half in _HALVES},
        "lifetime_epsilon": forecast.budget,
        "lifetime_epsilon_spent": forecast.spent,
        "lifetime_epsilon_after": after,
        "lifetime_delta": forecast.delta,
        "affordable": "" if fits else in_words_of_a_task(forecast.affordable),
    }
    if private_records is not None:
        found["private_records"] = private_records
        found["half_width"] = half_width(private_records, *width)
    return found


def plan_lines(found: dict[str, Any], measurement: Measurement) -> list[str]:
    """`plan_of` for people, a line each."""
    unit, task = found["unit"], measurement.task
    asked = (
        "whether a released image is within the radius"
        if isinstance(task, Coverage)
        else "whether a linear probe gives it its own label"
    )
    paid = "one query" if found["queries"] == 1 else f"{found['queries']} queries, of which one is needed,"
    noise = f"discrete Gaussian, sigma {found['sigma']:.4f}"
    widths = [f"{100 * float(half):g} from {count}" for half, count in found["records_for_half_width"].items()]
    known = found.get("private_records")
    lines = [
        f"task        {found['task']} of {measurement.measured.folder}: of each {unit}, {asked}",
        f"noise       {noise} on each of {found['cells']} counts; {paid} of k = 1",
        f"privacy     epsilon {at_least(found['epsilon'])} of this figure alone; of release and figure together "
        f"{at_least(found['epsilon_together'])} at delta {at_least(found['delta_together'])} per {unit} "
        f"(replace-one {at_least(found['replace_one_epsilon_together'])})",
        f"interval    {100 * found['confidence']:g} %, from the noise alone: within "
        + (
            f"{100 * found['half_width']:.2g} points to either side with {known} private {unit}s"
            if known
            else f"so many points to either side: {', '.join(widths)} private {unit}s on; compare with a publicly "
            "known figure, or pass --private-records"
        ),
    ]
    budget = found["lifetime_epsilon"]
    lines.append(
        f"dataset     {'lifetime epsilon ' + format(budget, 'g') if budget else 'no lifetime budget'}; "
        f"{at_least(found['lifetime_epsilon_spent'])} spent so far, {at_least(found['lifetime_epsilon_after'])} after "
        f"this, at delta {at_least(found['lifetime_delta'])}"
    )
    if found["answered"]:
        there = f"its answer is in {measurement.folder.path}" if measurement.finished else "its answer was drawn"
        lines.append(f"answered    {there}: the same command shows it again, and charges nothing")
    elif found["at_work"]:
        lines.append("at work     it is being asked right now, and its answer is still to come")
    elif found["queries_charged"] == found["queries"]:
        lines.append("LOST        it was charged, and its answer was lost with its process; another --name asks anew")
    if found["affordable"]:
        lines.append(f"REFUSED     the budget does not cover it; the most that fits: {found['affordable']}")
    return lines
