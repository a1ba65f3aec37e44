"""What a run would cost and make (`spti plan`), from public settings and a local ledger, which is only read.

Touches no data, no model, no Ray and no network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from spti_ray.config import Config
from spti_ray.config.job_paths import check_places
from spti_ray.config.loading import ConfigError
from spti_ray.config.method_traits import (
    filter_roles,
    is_charged,
    trains,
    uses_private_data,
    why_not_certified,
    why_not_private,
)
from spti_ray.dp.budget import first_forecast, forecast
from spti_ray.dp.calibration import NoisePlan, calibrate
from spti_ray.dp.entries import Entry
from spti_ray.dp.holdout import fix_holdout
from spti_ray.dp.joint_guarantee import planned_joint_guarantee
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.subsampled import SgdPlan, calibrate_sgd, sample_rate
from spti_ray.io.files import is_url
from spti_ray.planning.checks import check_engines, check_new, check_prompts, engines_outside
from spti_ray.planning.hints import hints
from spti_ray.planning.rendered_texts import rendered_texts
from spti_ray.planning.workload import most_replacements, varied_texts, work_of
from spti_ray.runs.ledger_check import check_ledger, place_of

DROWNED_SIGNAL = 0.3
"""Where the first question has less, votes say next to nothing, and a plan warns."""

WORKABLE_SIGNAL = 0.4
"""The least signal of a useful selection: votes of an average candidate, in standard deviations of the noise.

At this signal a selection keeps 0.4 of what it would gain without noise (see `recommend`); below, it is mostly luck.
"""


def noise_plan(config: Config) -> NoisePlan:
    """The calibrated noise of a run whose candidates are voted on.

    Raises:
        ConfigError: no noise can be certified for the epsilon and delta.
    """
    privacy = config.privacy
    try:
        return calibrate(
            privacy.epsilon,
            privacy.delta,
            privacy.votes_per_record,
            config.evolution.generations,
            privacy.spare_slots,
        )
    except ValueError as error:
        raise ConfigError(f"privacy.epsilon: {error}") from None


def sgd_plan(config: Config) -> SgdPlan | None:
    """The calibrated noise of `method: dp-finetune`; None without noise (epsilon inf).

    Raises:
        ConfigError: no noise can be planned for these settings.
    """
    privacy, settings = config.privacy, config.finetune
    try:
        rate = sample_rate(settings.batch_size, settings.records_estimate)
        if math.isinf(privacy.epsilon):
            return None
        return calibrate_sgd(privacy.epsilon, privacy.delta, rate, settings.steps, settings.spare_steps)
    except ValueError as error:
        raise ConfigError(f"finetune: {error}") from None


def plan_summary(config: Config, private_records: int | None = None) -> dict[str, Any]:
    """What `spti plan --json` prints: settings that matter for the cost, the noise, the work and the ledger's forecast.

    Args:
        config: the configuration.
        private_records: a publicly stated order of magnitude of the records; never counted from data.

    Returns:
        Names and JSON values. Which names there are depends on the method and on whether anything is charged.

    Raises:
        ConfigError: the configuration can't be run.
        LedgerElsewhere: charges of the dataset are in another ledger.
        HoldoutFixed: earlier runs of the dataset held out something else.
    """
    check_places(config)
    check_engines(config)
    check_new(config)
    check_prompts(config)
    check_ledger(config)
    entries = _ledger_entries(config)
    fix_holdout(entries, config.dataset.id, config.data.holdout, config.unit_in_words)
    evolution = config.evolution
    texts, renders = work_of(config)
    summary: dict[str, Any] = {
        "method": config.method,
        "not_private": why_not_private(config),
        "unit": config.privacy.unit,
        "votes_per_record": config.privacy.votes_per_record,
        "generations": evolution.generations,
        "candidates": evolution.candidates,
        "candidates_per_label": evolution.candidates_per_label(),
        "label_shares": evolution.label_shares,
        "asks_label_shares": config.asks_label_shares,
        "themes": list(evolution.themes),
        "voting": evolution.voting,
        "texts_to_write": texts + varied_texts(config),
        "candidate_renders": renders,
        "release_images": config.release.images,
        "filters": _filters(config),
        "dataset": config.dataset.id,
        "ledger": place_of(config) if uses_private_data(config) else None,
        "lifetime_epsilon": config.dataset.lifetime_epsilon,
        "engines_outside": engines_outside(config),
        "rendered_texts": rendered_texts(config),
        "hints": list(hints(config, private_records)),
    }
    if trains(config):
        return summary | _finetune_summary(config)
    if not is_charged(config):
        return summary
    summary |= _privacy_summary(config, private_records, entries)
    summary["hints"] += [*_maybe_refused(config, entries), *_drowned(summary, private_records)]
    return summary


def _ledger_entries(config: Config) -> list[Entry]:
    """What the dataset's ledger holds; [] where it is not asked: one in a bucket, or of a run without private data."""
    where = config.ledger.location
    if is_url(where) or not uses_private_data(config):
        return []
    return Ledger(where, config.dataset.id).entries()


def _filters(config: Config) -> dict[str, Any] | None:
    """The filters of the release, and the work that they may add; None without any."""
    filters = config.release.filters
    if filters is None:
        return None
    return {
        "on": list(filters.on),
        "engines": list(filter_roles(config)),
        "other_seeds": filters.other_seeds,
        "other_texts": filters.other_texts,
        "most_renders": most_replacements(config),
    }


def _registers(config: Config) -> bool:
    """Whether the first run of the dataset registers its budget, in a ledger that planning can look at."""
    return not (is_url(config.ledger.location) or config.origin) and config.dataset.registration == "first_run"


def _beyond_a_new_budget(config: Config, noise: NoisePlan) -> str:
    """For a dataset that is in no ledger yet: the most that its budget will cover; empty if that covers this run."""
    budget = config.dataset.lifetime_epsilon
    if budget is None or not _registers(config):
        return ""
    return first_forecast(noise, budget, config.privacy.delta).affordable


def _maybe_refused(config: Config, entries: Sequence[Entry]) -> list[str]:
    """A warning where this run alone is beyond the budget and the ledger, which may have another delta, is not read."""
    budget = config.dataset.lifetime_epsilon
    if budget is None or config.privacy.epsilon <= budget or _registers(config) or entries:
        return []
    return [
        f"privacy.epsilon {config.privacy.epsilon:g} is more than dataset.lifetime_epsilon {budget:g}: the run will be "
        "refused, unless the dataset was registered at a larger delta"
    ]


def _drowned(summary: dict[str, Any], private_records: int | None) -> list[str]:
    """A warning where the noise would hide what is voted on, with what would not be hidden."""
    signal = summary.get("votes_per_candidate_over_sigma", math.inf)
    if private_records is None or signal >= DROWNED_SIGNAL:
        return []
    fits = int(private_records * summary["votes_per_record"] / (WORKABLE_SIGNAL * summary["sigma"]))
    fewest = max(2, summary["votes_per_record"]) * len(summary["candidates_per_label"])
    what = (
        f"at most {fits} candidates or themes (evolution.themes) at a time would not be"
        if fits >= fewest
        else "no number of candidates or themes would not be: fewer generations, a larger epsilon or more records would"
    )
    return [
        f"the votes would drown in the noise, even of the first generation ({signal:.2f} of sigma, under "
        f"{DROWNED_SIGNAL:g}); {what}"
    ]


def _finetune_summary(config: Config) -> dict[str, Any]:
    """What is trained and with which noise; without noise there is no epsilon."""
    settings, noise = config.finetune, sgd_plan(config)
    summary: dict[str, Any] = {
        "uncertified": why_not_certified(config),
        "steps": settings.steps,
        "spare_steps": settings.spare_steps,
        "batch_size": settings.batch_size,
        "draws": settings.draws,
        "sample_rate": sample_rate(settings.batch_size, settings.records_estimate),
        "noise_multiplier": noise.noise_multiplier if noise else 0.0,
    }
    if noise:
        summary |= {"epsilon": noise.epsilon, "delta": noise.delta, "achieved_epsilon": noise.achieved_epsilon}
    return summary


def _privacy_summary(config: Config, private_records: int | None, entries: Sequence[Entry]) -> dict[str, Any]:
    """What the votes cost, and whether they stand out from the noise. `entries`: see `_ledger_entries`."""
    noise, evolution = noise_plan(config), config.evolution
    # Of labels, themes and candidates, how many there are for each vote of a record. Of labels it has one.
    per_vote = {
        number: evolution.asked(number) / (noise.votes_per_record if number in config.candidate_generations else 1)
        for number in config.generation_numbers
    }
    # What is asked first decides most; later votes on candidates may be weak, and add up.
    first = config.candidate_generations.start
    summary: dict[str, Any] = {
        "sigma": noise.sigma,
        "epsilon": noise.epsilon,
        "delta": noise.delta,
        "achieved_epsilon": noise.achieved_epsilon,
        "replace_one_epsilon": noise.replace_one_epsilon,
        "attacker_advantage": noise.attacker_advantage,
        "spare_slots": noise.spare_slots,
        "voted_on": "theme" if evolution.num_themes(first) else "candidate",
        "private_records_for_signal": round(WORKABLE_SIGNAL * per_vote[first] * noise.sigma),
    }
    if config.origin:
        summary["goes_on_from"] = config.origin.run
        both = planned_joint_guarantee(entries, config.origin.run, noise)
        if both:
            summary["release_epsilon"] = both.epsilon
            summary["release_replace_one_epsilon"] = both.replace_one_epsilon
            summary["release_attacker_advantage"] = both.advantage
    if entries:
        ahead = forecast(entries, noise)
        summary["lifetime_epsilon"] = ahead.budget
        summary["lifetime_epsilon_spent"] = ahead.spent
        summary["lifetime_epsilon_after"] = ahead.after
        summary["lifetime_delta"] = ahead.delta
        summary["affordable"] = ahead.affordable
    elif too_much := _beyond_a_new_budget(config, noise):
        summary["affordable"] = too_much
    if private_records:
        votes = {number: private_records / count for number, count in per_vote.items()}
        summary["votes_per_candidate"] = votes[first]
        summary["votes_per_candidate_over_sigma"] = votes[first] / noise.sigma
        summary["signal"] = {str(number): count / noise.sigma for number, count in votes.items()}
    return summary
