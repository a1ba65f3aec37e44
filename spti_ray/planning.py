"""`spti plan`: what a configuration costs and makes, from public settings and a local ledger, which is only read.

Touches no data, no model, no Ray, no network.
"""

from __future__ import annotations

from typing import Any

from spti_ray.config import Config, EvolutionConfig
from spti_ray.config_load import ConfigError
from spti_ray.dp.accounting import NoisePlan, calibrate
from spti_ray.dp.ledger import Ledger
from spti_ray.files import is_url
from spti_ray.models.factory import check_turns, engines_config
from spti_ray.public.prompts import preview

WORKABLE_SIGNAL = 0.4
"""Votes of an average candidate, in standard deviations of the noise, below which selection is mostly luck: a selection
then keeps 0.4 of what it would gain without noise (`recommend`)."""


def noise_plan(config: Config) -> NoisePlan:
    """The calibrated noise of the run. Raises ConfigError when it can't be certified."""
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


def check_engines(config: Config) -> None:
    """Raise ConfigError when `runtime.engines` can't be used."""
    try:
        check_turns(config.runtime, engines_config(config.runtime.engines))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def work_of(evolution: EvolutionConfig) -> tuple[int, int]:
    """(texts to write, candidates to render) of all generations; the release's own images come on top."""
    kept = sum(evolution.survivors_per_label().values()) if evolution.keep_survivors else 0
    fresh = evolution.candidates + (evolution.generations - 1) * (evolution.candidates - kept)
    renders = fresh * max(1, evolution.lookahead) if "image" in evolution.spaces else 0
    return fresh * (1 + evolution.lookahead), renders


def plan_summary(config: Config, private_records: int | None = None) -> dict[str, Any]:
    """One flat-ish object for `--json`. `private_records` is a publicly stated order of magnitude, never counted."""
    check_engines(config)
    noise = noise_plan(config)
    evolution = config.evolution
    quota = evolution.quota(evolution.candidates)
    texts, renders = work_of(evolution)
    summary: dict[str, Any] = {
        "sigma": noise.sigma,
        "epsilon": noise.epsilon,
        "delta": noise.delta,
        "achieved_epsilon": noise.achieved_epsilon,
        "replace_one_epsilon": noise.replace_one_epsilon,
        "attacker_advantage": noise.attacker_advantage,
        "unit": config.privacy.unit,
        "votes_per_record": noise.votes_per_record,
        "generations": noise.generations,
        "spare_slots": noise.spare_slots,
        "candidates": evolution.candidates,
        "candidates_per_label": quota,
        "voting": evolution.voting,
        "texts_to_write": texts,
        "candidate_renders": renders,
        "release_images": config.release.images,
        "dataset": config.dataset.id,
        "lifetime_epsilon": config.dataset.lifetime_epsilon,
        "private_records_for_signal": round(
            WORKABLE_SIGNAL * evolution.candidates * noise.sigma / noise.votes_per_record
        ),
    }
    forecast = None if is_url(config.ledger.path) else Ledger(config.ledger.path, config.dataset.id).forecast(noise)
    if forecast:
        summary["lifetime_epsilon"] = forecast.budget
        summary["lifetime_epsilon_spent"] = forecast.spent
        summary["lifetime_epsilon_after"] = forecast.after
        summary["lifetime_delta"] = forecast.delta
        summary["affordable"] = forecast.affordable
    if private_records:
        votes = private_records * noise.votes_per_record / evolution.candidates
        summary["votes_per_candidate"] = votes
        summary["votes_per_candidate_over_sigma"] = votes / noise.sigma
    return summary


def plan_lines(summary: dict[str, Any]) -> list[str]:
    """The summary for people."""
    lines = [
        f"privacy     epsilon {summary['epsilon']:g} at delta {summary['delta']:g} per {summary['unit']} "
        f"(certified {summary['achieved_epsilon']:.4f}; replace-one {summary['replace_one_epsilon']:.4f})",
        f"attacker    at most {100 * summary['attacker_advantage']:.1f} % advantage in telling whether one "
        f"{summary['unit']} was used",
        f"noise       discrete Gaussian, sigma {summary['sigma']:.4f} votes, {summary['generations']} generations"
        + (f" and {summary['spare_slots']} spare slots" if summary["spare_slots"] else "")
        + f", {summary['votes_per_record']} vote(s) per {summary['unit']}",
        f"candidates  {summary['candidates']} per generation, {summary['voting']} voting"
        + (
            ": " + ", ".join(f"{label} {count}" for label, count in summary["candidates_per_label"].items())
            if len(summary["candidates_per_label"]) > 1
            else ""
        ),
        f"work        {summary['texts_to_write']} texts, {summary['candidate_renders']} candidate renders, "
        f"{summary['release_images']} images in the release",
    ]
    if "votes_per_candidate" in summary:
        lines.append(
            f"signal      {summary['votes_per_candidate']:.2f} votes per candidate, "
            f"{summary['votes_per_candidate_over_sigma']:.2f} of sigma (above {WORKABLE_SIGNAL:g} is workable)"
        )
    else:
        lines.append(
            f"signal      votes per candidate reach {WORKABLE_SIGNAL:g} sigma from about "
            f"{summary['private_records_for_signal']} private {summary['unit']}s; compare with a publicly known "
            "figure, or pass --private-records [--recommend]"
        )
    budget = summary["lifetime_epsilon"]
    line = f"lifetime epsilon {budget:g}" if budget else "no lifetime budget set (dataset.lifetime_epsilon)"
    if "lifetime_epsilon_spent" in summary:
        line += (
            f"; {summary['lifetime_epsilon_spent']:.4g} spent so far, {summary['lifetime_epsilon_after']:.4g} after "
            f"this run, at delta {summary['lifetime_delta']:g}"
        )
    lines.append(f"dataset     {summary['dataset']}: {line}")
    if summary.get("affordable"):
        lines.append(f"REFUSED     the budget does not cover this run; the most that fits: {summary['affordable']}")
    return lines


def _survivors(config: Config) -> int:
    return sum(config.evolution.survivors_per_label().values())


def _released_texts(config: Config) -> int:
    """Texts of a release under rank selection, as `public.selection.allot_images` gives them their images."""
    images_of = config.evolution.quota(config.release.images)
    survivors = config.evolution.survivors_per_label()
    return sum(
        min(survivors[label], -(-images // config.release.images_per_text)) for label, images in images_of.items()
    )


def prompt_previews(config: Config) -> list[str]:
    """One prompt of each kind, headed, for `spti plan --prompts`."""
    kinds = ("new text", "rephrase", "fill in the blanks")
    return [f"--- prompt: {kind} ---\n{text}" for kind, text in zip(kinds, preview(config.prompts), strict=True)]


def total_steps(config: Config, from_generation: int = 0) -> int:
    """Texts and images still to be made from the start of `from_generation` on, for the progress display."""
    evolution = config.evolution
    kept = _survivors(config) if evolution.keep_survivors else 0
    first = evolution.candidates if from_generation == 0 else 0
    later = max(0, evolution.generations - max(1, from_generation))
    fresh = first + later * (evolution.candidates - kept)
    per_text = 1 + evolution.lookahead
    images = max(1, evolution.lookahead) if "image" in evolution.spaces else 0
    # The release takes the voted render of each of its texts as it is.
    reused = _released_texts(config) if images and not evolution.lookahead else 0
    return fresh * (per_text + images) + config.release.images - reused
