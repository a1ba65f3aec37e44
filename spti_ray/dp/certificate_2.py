"""Certificates of format 2, word for word as builds up to 0.1.0 wrote them, so that old releases still verify.

FROZEN: fields, prose and figures are those of published releases. The figures are of accountant 1, the library's alone.
For a run that continues from another, `epsilon` on top covers the run's own queries only, and the release's epsilon is
in `origin`; `figures.release_epsilon` reads both formats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from spti_ray.dp.build import code_version
from spti_ray.dp.calibration import NoisePlan, plan_at
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.entries import Entry
from spti_ray.dp.history import UNCERTIFIED, RunHistory, attempts_of, slots_of
from spti_ray.dp.joint_guarantee import JointGuarantee, joint_guarantee
from spti_ray.dp.odometer import OdometerReading, read_odometer

FORMAT_2 = "spti-ray privacy certificate 2"

_ACCOUNTANT = 1

_NOT_PROTECTED = (
    "the configuration: label list and shares, number of candidates, generations and images, votes per record, delta",
    "the order of magnitude of the private set, where the publisher states it",
    "that a run took place, when, and what it cost (the ledger)",
    "timing and resource use of the cluster, which its operator can see",
    "facts about the whole population that the images show: DP hides each unit, not what many have in common",
)
_ASSUMPTIONS = (
    "an image's embedding does not depend on which other images share its micro-batch: shapes are fixed and padded, "
    "and embeddings are rounded to int16 before voting, but the last bits are the engine's; batch_size 1 removes the "
    "doubt",
    "the operating system's entropy source is sound",
    "the ledger is kept: a copy of its head hash, such as this certificate's, shows a ledger that was cut back",
    "prompts, labels and settings were written without looking at the private images",
)
_FOUNDATION_MODELS = (
    "The guarantee covers the private set of this run. A foundation model that was itself trained on some of these "
    "images or texts may reproduce them without this release's help; choose models whose training data are known."
)
_LIFETIME_RULE = (
    "privacy loss distributions while all charged queries share one sigma; else the fully adaptive Renyi filter "
    "(Feldman and Zrnic 2021), which holds although a run's noise may have been chosen after seeing earlier releases. "
    "If earlier releases decided whether a second sigma was ever used, this epsilon is proven at twice the delta only"
)
_NOT_AUDITED = "not run for this release: spti audit DIR runs them on the installed build and puts the results here"


def certificate_2(entries: Sequence[Entry], run: str, audits: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """As `certificate.certificate`, in format 2. Raises LedgerError if the ledger does not know the run."""
    attempts = attempts_of(entries, run)
    if not attempts:
        raise LedgerError(f"the ledger knows no run {run!r}")
    spend = read_odometer(entries, run, _ACCOUNTANT)
    if not spend.private:
        return None
    first = attempts[0]
    unit = first.unit
    plan = plan_at(
        first.sigma,
        first.epsilon,
        first.delta,
        first.votes_per_record,
        first.generations,
        first.spare_slots,
        _ACCOUNTANT,
    )
    both = joint_guarantee(entries, run, plan, _ACCOUNTANT)
    if both and not both.private:
        return None
    # A run that goes on from another was shown what that one's captions made of the images.
    shown = [attempt for past in (run, *(both.runs if both else ())) for attempt in attempts_of(entries, past)]
    outside = list(dict.fromkeys(line for attempt in shown for line in attempt.outside.splitlines()))
    measured = [slot.reserved for slot in slots_of(entries, run) if slot.artifact_sha256 is not None]
    # Only where there are any: certificates of earlier versions have no such field, and must verify.
    return ({"engines_outside": outside} if outside else {}) | {
        "format": FORMAT_2,
        "written_by": f"spti-ray {code_version()}",
        "statement": _statement(plan, unit, both),
        "unit": unit,
        "relation": f"add/remove one {unit}",
        "epsilon": plan.epsilon,
        "delta": plan.delta,
        "achieved_epsilon": plan.achieved_epsilon,
        "replace_one_epsilon": plan.replace_one_epsilon,
        **({"origin": _origin(both)} if both else {}),
        "mechanism": {
            "name": "discrete Gaussian on int64 vote counts",
            "sigma": plan.sigma,
            "votes_per_record": plan.votes_per_record,
            "l2_sensitivity": math.sqrt(plan.votes_per_record),
            "generations": spend.committed,
            "planned_generations": plan.generations,
            "spare_slots": plan.spare_slots,
            "candidates": max((reserved.num_candidates for reserved in measured), default=0),
            "queries_charged": spend.queries,
            "queries_planned": plan.slots,
            "burned_slots": spend.burned,
            "composition": (
                f"privacy loss distributions (connect the dots), {plan.votes_per_record * plan.slots} adaptive "
                "compositions of one discrete Gaussian of sensitivity 1"
            ),
            "epsilon_of_charged_queries": spend.epsilon,
            "replace_one_epsilon_of_charged_queries": spend.replace_one_epsilon,
        },
        "dataset": _dataset(spend),
        "noise": {"source": spend.noise, "builds": list(dict.fromkeys(attempt.build for attempt in attempts))},
        "attacker": _attacker(both.advantage, both.mu, unit)
        if both
        else _attacker(plan.attacker_advantage, plan.mu, unit),
        "assumptions": list(_ASSUMPTIONS),
        "not_protected": list(_NOT_PROTECTED),
        "trust": _trust(outside),
        "tuning": _tuning(spend),
        "foundation_models": _FOUNDATION_MODELS,
        "audits": dict(audits) if audits else _NOT_AUDITED,
        "run": {"id": run, "config_sha256": first.config_sha256, "attempts": spend.attempts},
        "ledger": {
            "head": spend.ledger_head,
            "entries": len(entries),
            "verify": "spti verify RELEASE --ledger LEDGER checks every field; spti ledger verify LEDGER --head "
            f"{spend.ledger_head} checks the chain alone",
        },
    }


def _trust(outside: Sequence[str]) -> dict[str, str]:
    """Who sees private images. `outside`: the engines that are shown them beyond the cluster."""
    sees, trusted = "the cluster's operator sees", "the engines, which all run inside the cluster"
    if outside:
        sees = "the cluster's operator, and whoever runs the engines outside the cluster, see"
        trusted = (
            "the engines, of which these are outside the cluster and are sent private images, on the word of the "
            f"configuration: {'; '.join(outside)}"
        )
    return {
        "release_model": f"central: {sees} the private images; readers of the release don't",
        "trusted": f"the cluster, its operator and storage, and {trusted}",
        "not_trusted": "whoever receives the release folder",
    }


def _dataset(spend: OdometerReading) -> dict[str, Any]:
    return {
        "id": spend.dataset,
        "lifetime_epsilon": spend.lifetime_budget,
        "lifetime_delta": spend.lifetime_delta,
        # A run with simulated noise on the same dataset leaves no lifetime guarantee to state.
        "lifetime_epsilon_spent": spend.lifetime_epsilon if spend.lifetime_private else None,
        "lifetime_rule": _LIFETIME_RULE,
        "runs": len(spend.runs),
        "burned_slots": spend.lifetime_burned,
    }


def _statement(plan: NoisePlan, unit: str, both: JointGuarantee | None) -> str:
    of_whom = f"for adding or removing any one {unit} of the private set"
    if both is None:
        return (
            f"This release is ({plan.epsilon:g}, {plan.delta:g})-differentially private {of_whom}, against anybody who "
            "sees all of it."
        )
    return (
        f"This release is ({_at_least(both.epsilon)}, {both.delta:g})-differentially private {of_whom}, against "
        f"anybody who sees all of it and of what the {len(both.runs)} run(s) that it goes on from released; "
        f"the queries of this run alone are ({plan.epsilon:g}, {plan.delta:g})-differentially private."
    )


def _origin(both: JointGuarantee) -> dict[str, Any]:
    return {
        "runs": list(both.runs),
        "epsilon_together": both.epsilon,
        "delta_together": both.delta,
        "replace_one_epsilon_together": both.replace_one_epsilon,
        "in_words": (
            f"This run goes on from the release of run {both.runs[0]}, so that its own release depends on the votes of "
            f"{len(both.runs) + 1} runs. epsilon accounts for the queries of this run alone; for all of them together, "
            f"and so for this release, it is {_at_least(both.epsilon)} at delta {both.delta:g}, provided that neither "
            "length nor noise of this run was chosen by what the earlier showed. The dataset's lifetime budget, where "
            "it has one, holds however they were chosen."
        ),
    }


def _at_least(epsilon: float) -> str:
    """Four digits, never rounded towards more privacy."""
    digits = 3 - math.floor(math.log10(epsilon)) if epsilon > 0 else 0
    return f"{math.ceil(epsilon * 10**digits) / 10**digits:.4g}"


def _attacker(advantage: float, mu: float, unit: str) -> dict[str, Any]:
    return {
        "mu_of_continuous_gaussian": mu,
        "advantage": advantage,
        "in_words": (
            f"Somebody who knows everything but whether one {unit} was used, and bets on it after seeing the release, "
            f"has true and false positive rates that differ by at most {100 * advantage:.1f} percentage "
            "points; 0 is a coin toss, 100 is certainty."
        ),
    }


def _tuning(spend: OdometerReading) -> dict[str, Any]:
    """What else was run on the dataset, what all of it cost, and whether private metrics were looked at."""
    looked_at = [past for past in spend.runs if past.evaluated_by]
    metrics = sorted({metric for past in looked_at for metric in past.evaluated_by})
    cost = (
        f"together they cost epsilon {spend.lifetime_epsilon:.4g} at delta {spend.lifetime_delta:g}"
        if spend.lifetime_private
        else "some of them simulated their noise, so nothing is guaranteed for all of them together"
    )
    words = f"{len(spend.runs)} run(s) are recorded on this dataset, this one included; {cost}. "
    uncertified = {look.run for look in spend.unprotected_runs if look.metric.endswith(UNCERTIFIED)}
    open_looks = [look for look in spend.unprotected_runs if look.run not in uncertified]
    if open_looks:
        kinds = sorted({look.metric for look in open_looks})
        words += (
            f"{len({look.run for look in open_looks})} more run(s) on it had no protection at all and were for its "
            f"owner's eyes only ({'; '.join(kinds)}). If the settings of this release were chosen after seeing what "
            "they made, the choice is itself an output computed from the private images without noise, which neither "
            "this release's epsilon nor the total covers. "
        )
    closed_looks = [look for look in spend.unprotected_runs if look.run in uncertified]
    if closed_looks:
        kinds = sorted({look.metric for look in closed_looks})
        words += (
            f"{len(uncertified)} more run(s) on it have no certificate, are charged nothing and were for its owner's "
            f"eyes only ({'; '.join(kinds)}). If the settings of this release were chosen after seeing what they made, "
            "neither this release's epsilon nor the total covers that choice. "
        )
    if looked_at:
        words += (
            f"Metrics that read the private set were looked at for {len(looked_at)} of them ({'; '.join(metrics)}). If "
            "this release was chosen by such a metric, the choice is itself an output computed from the private images "
            "without noise: neither this release's epsilon nor the total covers it. The total covers publishing all of "
            "the runs, without saying which is best on the private set."
        )
    elif len(spend.runs) > 1:
        words += (
            "No private metric is recorded for any of them. If the settings of this run were chosen after seeing "
            "earlier releases, the total is the figure to quote; a choice by looking at the private set is covered by "
            "neither."
        )
    else:
        words += "No private metric is recorded for it."
    # Only where there are any: certificates of earlier versions have no such field, and must verify.
    others = {"not_private_runs": open_looks, "uncertified_runs": closed_looks}
    told = {name: [{"run": look.run, "what": look.metric} for look in found] for name, found in others.items() if found}
    return told | {
        "in_words": words,
        "total_epsilon": spend.lifetime_epsilon if spend.lifetime_private else None,
        "total_delta": spend.lifetime_delta,
        "runs": [_run(past) for past in spend.runs],
    }


def _run(past: RunHistory) -> dict[str, Any]:
    """Without the fields that came later."""
    fields = {name: value for name, value in asdict(past).items() if name != "origin"}
    return fields | {"evaluated_by": list(past.evaluated_by)}
