"""What `spti plan` prints for people: the summary in lines, and one prompt of each kind."""

from __future__ import annotations

from typing import Any

from spti_ray.config import Config
from spti_ray.figures import at_least, percent_at_least
from spti_ray.methods import METHODS, Candidates, PrivateData
from spti_ray.planning.plan import WORKABLE_SIGNAL
from spti_ray.planning.rendered_texts import rendered_texts_line
from spti_ray.public.slots import preview


def plan_lines(summary: dict[str, Any]) -> list[str]:
    """`plan.plan_summary` for people, a line each."""
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
        f"privacy     epsilon {at_least(summary['epsilon'])} at delta {at_least(summary['delta'])} per "
        f"{summary['unit']}{own} (certified {at_least(summary['achieved_epsilon'])}; replace-one "
        f"{at_least(summary['replace_one_epsilon'])})",
        f"attacker    at most {percent_at_least(advantage)} % advantage in telling whether one {summary['unit']} was "
        "used",
        f"noise       discrete Gaussian, sigma {summary['sigma']:.4f} votes, {summary['generations']} generations"
        + (f" and {summary['spare_slots']} spare slots" if summary["spare_slots"] else "")
        + f", {summary['votes_per_record']} vote(s) per {summary['unit']}",
        _candidates_line(summary),
        f"work        {summary['texts_to_write']} texts, {summary['candidate_renders']} candidate renders, "
        f"{summary['release_images']} images in the release",
        *_filter_lines(summary),
        *_rendered_lines(summary),
    ]
    if "votes_per_candidate" in summary:
        by_generation = ", ".join(f"{signal:.2f}" for signal in summary["signal"].values())
        lines.append(
            f"signal      {summary['votes_per_candidate']:.2f} votes per {summary['voted_on']}, "
            f"{summary['votes_per_candidate_over_sigma']:.2f} of sigma (above {WORKABLE_SIGNAL:g} is workable)"
            + (f"; by generation {by_generation}" if summary["themes"] or summary["asks_label_shares"] else "")
        )
    else:
        lines.append(
            f"signal      votes per {summary['voted_on']} reach {WORKABLE_SIGNAL:g} sigma from about "
            f"{summary['private_records_for_signal']} private {summary['unit']}s; compare with a publicly known "
            "figure, or pass --private-records [--recommend]"
        )
    budget = summary["lifetime_epsilon"]
    line = f"lifetime epsilon {budget:g}" if budget else "no lifetime budget set (dataset.lifetime_epsilon)"
    if "lifetime_epsilon_spent" in summary:
        line += (
            f"; {at_least(summary['lifetime_epsilon_spent'])} spent so far, "
            f"{at_least(summary['lifetime_epsilon_after'])} after this run, at delta "
            f"{at_least(summary['lifetime_delta'])}"
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
    epsilon, replace_one = (at_least(summary[f"release_{name}"]) for name in ("epsilon", "replace_one_epsilon"))
    return [
        f"{head}epsilon {epsilon} at delta {at_least(summary['delta'])} of all runs together that it depends on "
        f"(replace-one {replace_one})"
    ]


def _unprotected_lines(summary: dict[str, Any]) -> list[str]:
    """The lines of a method that charges nothing: it uses no private data, or it is not private."""
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
    lines += [f"work        {work}", *_filter_lines(summary), *_rendered_lines(summary)]
    return [*lines, *_dataset_lines(summary), *_outside_lines(summary)] if why else lines


def _filter_lines(summary: dict[str, Any]) -> list[str]:
    found = summary["filters"]
    if found is None:
        return []
    by = f", by the {' and the '.join(found['engines']).replace('_', ' ')}" if found["engines"] else ""
    return [
        f"filters     {', '.join(found['on'])}{by}; a render that fails is replaced from {found['other_seeds']} other "
        f"seed(s) and then {found['other_texts']} next text(s): at most {found['most_renders']} further renders, which "
        "are not in this plan; no privacy"
    ]


def _rendered_lines(summary: dict[str, Any]) -> list[str]:
    found = summary.get("rendered_texts")
    return [f"window      {rendered_texts_line(found)}"] if found else []


def _outside_lines(summary: dict[str, Any]) -> list[str]:
    return [f"OUTSIDE     private images are sent to the {engine}" for engine in summary["engines_outside"]]


def _dataset_lines(summary: dict[str, Any]) -> list[str]:
    return [f"dataset     {summary['dataset']}", f"ledger      {summary['ledger']}"]


def _finetune_lines(summary: dict[str, Any]) -> list[str]:
    privacy = (
        f"NOT CERTIFIED: epsilon {at_least(summary['epsilon'])} at delta {at_least(summary['delta'])} per "
        f"{summary['unit']} ({at_least(summary['achieved_epsilon'])} in exact arithmetic)"
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
        *_filter_lines(summary),
        *_dataset_lines(summary),
    ]


def _candidates_line(summary: dict[str, Any]) -> str:
    what = METHODS[summary["method"]].candidates.value
    labels = summary["candidates_per_label"]
    shares = ": " + ", ".join(f"{label} {count}" for label, count in labels.items()) if len(labels) > 1 else ""
    line = f"candidates  {summary['candidates']} {what} per generation, {summary['voting']} voting{shares}"
    if themes := summary["themes"]:
        line += f"; the first {f'{len(themes)} ' if len(themes) > 1 else ''}voted on in "
        line += f"{', '.join(map(str, themes))} themes"
    if summary["asks_label_shares"]:
        line += "; generation 0 has none: it asks for the labels' shares, which then replace these public ones"
    elif summary["label_shares"] == "voted":
        line += "; the labels' shares are those that were asked for in the run that it goes on from"
    return line


def prompt_previews(config: Config) -> list[str]:
    """One prompt of each kind, headed, for `spti plan --prompts`."""
    return [f"--- prompt: {kind} ---\n{text}" for kind, text in preview(config)]
