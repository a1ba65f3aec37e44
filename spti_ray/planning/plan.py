"""`spti plan`: what a configuration costs and makes, from public settings and a local ledger, which is only read.

Touches no data, no model, no Ray, no network.
"""

from __future__ import annotations

import math
from typing import Any

from spti_ray.config import Config
from spti_ray.config.endpoints import is_sent_in_clear
from spti_ray.config.job_paths import check_places
from spti_ray.config.loading import ConfigError
from spti_ray.config.method_traits import (
    candidates_are_images,
    is_charged,
    roles_needed,
    roles_shown_private,
    shards_caption,
    trains,
    uses_private_data,
    why_not_certified,
    why_not_private,
)
from spti_ray.dp.calibration import NoisePlan, calibrate
from spti_ray.dp.joint_guarantee import planned_joint_guarantee
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.subsampled import SgdPlan, calibrate_sgd, sample_rate
from spti_ray.figures import at_least, decimals_at_least, percent_at_least
from spti_ray.io.files import is_url
from spti_ray.methods import METHODS, Candidates, PrivateData
from spti_ray.models.consistency import check_patience, check_turns
from spti_ray.models.factory import check_varies, endpoint_of, engines_config
from spti_ray.planning.hints import check_new, hints
from spti_ray.planning.workload import varied_texts, work_of
from spti_ray.public.prompts import preview
from spti_ray.public.words import shown_to_the_writer, unspaced
from spti_ray.run.ledger_place import check_ledger, place_of

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


def sgd_plan(config: Config) -> SgdPlan | None:
    """The calibrated noise of a method that trains; None without noise. ConfigError when it can't be certified."""
    privacy, settings = config.privacy, config.finetune
    try:
        rate = sample_rate(settings.batch_size, settings.records_estimate)
        if math.isinf(privacy.epsilon):
            return None
        return calibrate_sgd(privacy.epsilon, privacy.delta, rate, settings.steps, settings.spare_steps)
    except ValueError as error:
        raise ConfigError(f"finetune: {error}") from None


def engines_outside(config: Config) -> tuple[str, ...]:
    """The engines that are shown private images (or captions of them) beyond the cluster's own processes, in words.

    Raises:
        ConfigError: one of them is at an endpoint that `privacy.trusted_endpoints` does not name.
    """
    engines, outside = engines_config(config.runtime.engines), []
    for role in roles_shown_private(config):
        endpoint = endpoint_of(engines.of(role))
        if endpoint is None:
            continue
        if endpoint not in config.privacy.trusted_endpoints:
            what = "captions of private images" if role == "renderer" else "private images"
            raise ConfigError(
                f"runtime.engines.{role}: would send {what} to {endpoint}, outside the cluster; use an engine that "
                f"runs inside it, or, if whoever runs the endpoint may see them, set privacy.trusted_endpoints: "
                f"[{endpoint}], which the certificate then says"
            )
        clear = ", unencrypted on the way" if is_sent_in_clear(endpoint) else ""
        outside.append(f"{role} {engines.of(role).model} at {endpoint}{clear}")
    return tuple(outside)


def check_engines(config: Config) -> None:
    """Raise ConfigError when `runtime.engines` can't be used, or not for this method."""
    try:
        engines = engines_config(config.runtime.engines)
        check_turns(config.runtime, engines)
        check_patience(config.runtime, engines)
        if shards_caption(config) and config.runtime.take_turns:
            raise ValueError(
                f"runtime.take_turns: with method: {config.method} shards ask the renderer at any time; leave it out"
            )
        if candidates_are_images(config):
            check_varies(engines.renderer)
        if trains(config) and engines.renderer.kind != "diffusers":
            raise ValueError(
                f"runtime.engines.renderer.kind: method: {config.method} trains a model of kind 'diffusers', and this "
                f"is {engines.renderer.kind!r}"
            )
        engines_outside(config)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def check_prompts(config: Config) -> None:
    """Raise ConfigError where the writer's texts would be in a script whose words can't be counted by spaces."""
    if "writer" not in roles_needed(config):
        return
    for setting, text in shown_to_the_writer(config):
        if script := unspaced(text):
            raise ConfigError(
                f"{setting}: is in {script}, a script without spaces between words, where lengths, blanks and "
                "duplicates can't be counted yet; write the prompts in a language with spaces (a label can have a hint)"
            )


def plan_summary(config: Config, private_records: int | None = None) -> dict[str, Any]:
    """One flat-ish object for `--json`. `private_records` is a publicly stated order of magnitude, never counted."""
    check_places(config)
    check_engines(config)
    check_new(config)
    check_prompts(config)
    check_ledger(config)
    evolution = config.evolution
    texts, renders = work_of(config)
    summary: dict[str, Any] = {
        "method": config.method,
        "not_private": why_not_private(config),
        "unit": config.privacy.unit,
        "votes_per_record": config.privacy.votes_per_record,
        "generations": evolution.generations,
        "candidates": evolution.candidates,
        "candidates_per_label": evolution.quota(evolution.candidates),
        "voting": evolution.voting,
        "texts_to_write": texts + varied_texts(config),
        "candidate_renders": renders,
        "release_images": config.release.images,
        "dataset": config.dataset.id,
        "ledger": place_of(config) if uses_private_data(config) else None,
        "lifetime_epsilon": config.dataset.lifetime_epsilon,
        "engines_outside": engines_outside(config),
        "hints": list(hints(config, private_records)),
    }
    if trains(config):
        return summary | _finetune_summary(config)
    return summary | _privacy_summary(config, private_records) if is_charged(config) else summary


def _finetune_summary(config: Config) -> dict[str, Any]:
    """What is trained, and at which figure; no epsilon without noise."""
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


def _privacy_summary(config: Config, private_records: int | None) -> dict[str, Any]:
    """What it costs, and whether the votes stand out from the noise."""
    noise, candidates = noise_plan(config), config.evolution.candidates
    summary: dict[str, Any] = {
        "sigma": noise.sigma,
        "epsilon": noise.epsilon,
        "delta": noise.delta,
        "achieved_epsilon": noise.achieved_epsilon,
        "replace_one_epsilon": noise.replace_one_epsilon,
        "attacker_advantage": noise.attacker_advantage,
        "spare_slots": noise.spare_slots,
        "private_records_for_signal": round(WORKABLE_SIGNAL * candidates * noise.sigma / noise.votes_per_record),
    }
    where = config.ledger.location
    if config.origin:
        summary["goes_on_from"] = config.origin.run
        both = None
        if not is_url(where):
            both = planned_joint_guarantee(Ledger(where, config.dataset.id).entries(), config.origin.run, noise)
        if both:
            summary["release_epsilon"] = both.epsilon
            summary["release_replace_one_epsilon"] = both.replace_one_epsilon
            summary["release_attacker_advantage"] = both.advantage
    forecast = None if is_url(where) else Ledger(where, config.dataset.id).forecast(noise)
    if forecast:
        summary["lifetime_epsilon"] = forecast.budget
        summary["lifetime_epsilon_spent"] = forecast.spent
        summary["lifetime_epsilon_after"] = forecast.after
        summary["lifetime_delta"] = forecast.delta
        summary["affordable"] = forecast.affordable
    if private_records:
        votes = private_records * noise.votes_per_record / candidates
        summary["votes_per_candidate"] = votes
        summary["votes_per_candidate_over_sigma"] = votes / noise.sigma
    return summary


def plan_lines(summary: dict[str, Any]) -> list[str]:
    """The summary for people."""
    return [*_lines(summary), *(f"HINT        {hint}" for hint in summary["hints"])]


def _lines(summary: dict[str, Any]) -> list[str]:
    if "noise_multiplier" in summary:
        return _finetune_lines(summary)
    if "sigma" not in summary:
        return _unprotected_lines(summary)
    advantage = summary.get("release_attacker_advantage", summary["attacker_advantage"])
    own = " by its own queries alone" if "goes_on_from" in summary else ""
    lines = [
        *_release_lines(summary),
        f"privacy     epsilon {at_least(summary['epsilon'], 6)} at delta {at_least(summary['delta'], 6)} per "
        f"{summary['unit']}{own} (certified {decimals_at_least(summary['achieved_epsilon'])}; replace-one "
        f"{decimals_at_least(summary['replace_one_epsilon'])})",
        f"attacker    at most {percent_at_least(advantage)} % advantage in telling whether one {summary['unit']} was "
        "used",
        f"noise       discrete Gaussian, sigma {summary['sigma']:.4f} votes, {summary['generations']} generations"
        + (f" and {summary['spare_slots']} spare slots" if summary["spare_slots"] else "")
        + f", {summary['votes_per_record']} vote(s) per {summary['unit']}",
        _candidates_line(summary),
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
            f"; {at_least(summary['lifetime_epsilon_spent'])} spent so far, "
            f"{at_least(summary['lifetime_epsilon_after'])} after this run, at delta "
            f"{at_least(summary['lifetime_delta'], 6)}"
        )
    lines += [f"dataset     {summary['dataset']}: {line}", f"ledger      {summary['ledger']}"]
    lines += _outside_lines(summary)
    if summary.get("affordable"):
        lines.append(f"REFUSED     the budget does not cover this run; the most that fits: {summary['affordable']}")
    return lines


def _release_lines(summary: dict[str, Any]) -> list[str]:
    """What holds for the release of a run that goes on from another one; nothing for any other run."""
    if "goes_on_from" not in summary:
        return []
    head = f"release     goes on from run {summary['goes_on_from']}: "
    if "release_epsilon" not in summary:
        return [f"{head}its epsilon is that of both together, which the ledger tells when the run starts"]
    epsilon, replace_one = (
        decimals_at_least(summary[f"release_{name}"]) for name in ("epsilon", "replace_one_epsilon")
    )
    return [
        f"{head}epsilon {epsilon} at delta {at_least(summary['delta'], 6)} of all runs together that it depends on "
        f"(replace-one {replace_one})"
    ]


def _unprotected_lines(summary: dict[str, Any]) -> list[str]:
    """Of a method that charges nothing: because it uses no private data, or because it is not private."""
    why = summary["not_private"]
    privacy = (
        f"NOT PRIVATE: {why}; no certificate, no release, nothing charged, and the ledger records it"
        if why
        else "no private data are used: nothing is charged, and there is no certificate"
    )
    images = f"{summary['release_images']} images in {'internal/not-private' if why else 'the release'}"
    work = f"{summary['texts_to_write']} texts, {summary['candidate_renders']} candidate renders, {images}"
    lines = [f"privacy     {privacy}"]
    method = METHODS[summary["method"]]
    if method.private_data is PrivateData.VOTES:
        lines.append(f"{_candidates_line(summary)}, {summary['generations']} generations")
    elif method.candidates is not Candidates.NONE:
        lines.append(
            f"candidates  {summary['candidates']} {method.candidates.value}, generation 0, in the order in which they "
            "were asked for"
        )
    lines.append(f"work        {work}")
    return [*lines, *_dataset_lines(summary), *_outside_lines(summary)] if why else lines


def _outside_lines(summary: dict[str, Any]) -> list[str]:
    return [f"OUTSIDE     private images are sent to the {engine}" for engine in summary["engines_outside"]]


def _dataset_lines(summary: dict[str, Any]) -> list[str]:
    return [f"dataset     {summary['dataset']}", f"ledger      {summary['ledger']}"]


def _finetune_lines(summary: dict[str, Any]) -> list[str]:
    privacy = (
        f"NOT CERTIFIED: epsilon {at_least(summary['epsilon'], 6)} at delta {at_least(summary['delta'], 6)} per "
        f"{summary['unit']} ({decimals_at_least(summary['achieved_epsilon'])} in exact arithmetic)"
        if "epsilon" in summary
        else f"NOT PRIVATE: {summary['not_private']}"
    )
    where = "not-certified" if summary["uncertified"] else "not-private"
    return [
        f"privacy     {privacy}; no certificate, no release, nothing charged, and the ledger records it",
        f"noise       DP-SGD, noise multiplier {summary['noise_multiplier']:.4f}, {summary['steps']} steps and "
        f"{summary['spare_steps']} spare ones, sampling rate {summary['sample_rate']:.4f}",
        f"work        {summary['steps']} steps of about {summary['batch_size']} {summary['unit']}s, "
        f"{summary['draws']} draw(s) of each; {summary['release_images']} images in internal/{where}",
        *_dataset_lines(summary),
    ]


def _candidates_line(summary: dict[str, Any]) -> str:
    what = METHODS[summary["method"]].candidates.value
    labels = summary["candidates_per_label"]
    shares = ": " + ", ".join(f"{label} {count}" for label, count in labels.items()) if len(labels) > 1 else ""
    return f"candidates  {summary['candidates']} {what} per generation, {summary['voting']} voting{shares}"


def prompt_previews(config: Config) -> list[str]:
    """One prompt of each kind, headed, for `spti plan --prompts`."""
    kinds = ("new text", "rephrase", "fill in the blanks")
    return [f"--- prompt: {kind} ---\n{text}" for kind, text in zip(kinds, preview(config.prompts), strict=True)]
