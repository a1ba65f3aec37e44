"""The certificate of a release (`privacy.json`). Rule held here: it is a function of the ledger's entries alone.

It says what is guaranteed, by what, and how to check it. Whoever has the ledger can make it again and compare it field
by field, as `spti verify` does; only audit results come from outside and are repeated. The figures on top are those of
all queries that the release depends on; the share of each run is under `parts`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from spti_ray.dp.accounting import ACCOUNTANT
from spti_ray.dp.build import code_version
from spti_ray.dp.calibration import NoisePlan
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.entries import Entry
from spti_ray.dp.history import attempts_of, slots_of
from spti_ray.dp.holdout import find_holdout
from spti_ray.dp.joint_guarantee import JointGuarantee, charged_joint_epsilon, joint_guarantee, recorded_plan
from spti_ray.dp.odometer import OdometerReading, read_odometer
from spti_ray.dp.tuning import tuning
from spti_ray.figures import DIGITS, at_least, percent_at_least

FORMAT = "spti-ray privacy certificate 3"

WORDS = frozenset(
    {"statement", "in_words", "name", "composition", "assumptions", "not_protected", "trust", "foundation_models"}
    | {"lifetime_rule", "verify", "written_by", "exactness"}
)
"""Fields of prose, in the words of the version that wrote them. On all other fields every version must agree."""

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
_EXACTNESS = (
    "counts, similarities and noise are exact integers; a similarity is that of embeddings rounded to int16, so what "
    "precedes the rounding, the network's floating-point arithmetic, is not"
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
NOT_AUDITED = "not run for this release: spti audit DIR runs them on the installed build and puts the results here"


def certificate(
    entries: Sequence[Entry],
    run: str,
    audits: Mapping[str, Any] | None = None,
    accountant: int = ACCOUNTANT,
    digits: int = DIGITS,
) -> dict[str, Any] | None:
    """The certificate of a run, as of the last of `entries`.

    Args:
        audits: results to repeat in it; None if no audit was run.
        accountant: the version of the accounting that computes the figures; an earlier one only to check an earlier
            certificate.
        digits: of figures in its prose; other than now only to check an earlier certificate.

    Returns:
        Plain JSON values; None if an attempt of the run, or of one that it continues from, used simulated noise.

    Raises:
        LedgerError: the ledger does not know the run.
    """
    attempts = attempts_of(entries, run)
    if not attempts:
        raise LedgerError(f"the ledger knows no run {run!r}")
    spend = read_odometer(entries, run, accountant)
    if not spend.private:
        return None
    first = attempts[0]
    unit = first.unit
    plan = recorded_plan(first, accountant)
    both = joint_guarantee(entries, run, plan, accountant)
    if both and not both.private:
        return None
    # A run that continues from another depends on what that one's engines were shown, too.
    shown = [attempt for past in (run, *(both.runs if both else ())) for attempt in attempts_of(entries, past)]
    outside = list(dict.fromkeys(line for attempt in shown for line in attempt.outside.splitlines()))
    measured = [slot.reserved for slot in slots_of(entries, run) if slot.artifact_sha256 is not None]
    # Only where there are any: certificates of earlier versions have no such field, and must verify.
    optional = ({"engines_outside": outside} if outside else {}) | _held_out(entries)
    return optional | {
        "format": FORMAT,
        "written_by": f"spti-ray {code_version()}",
        "accountant": accountant,
        "statement": _statement(plan, unit, both, digits),
        "unit": unit,
        "relation": f"add/remove one {unit}",
        "epsilon": both.epsilon if both else _promise(plan),
        "delta": plan.delta,
        "achieved_epsilon": both.epsilon if both else plan.achieved_epsilon,
        "replace_one_epsilon": both.replace_one_epsilon if both else plan.replace_one_epsilon,
        **(
            {"origin": _origin(plan, both, digits), "parts": _parts(entries, (*reversed(both.runs), run), accountant)}
            if both
            else {}
        ),
        "mechanism": {
            "name": "discrete Gaussian on int64 vote counts",
            "exactness": _EXACTNESS,
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
                f"privacy loss distributions (connect the dots), never below the sum of the noises convolved without "
                f"a transform, {plan.votes_per_record * plan.slots} adaptive compositions of one discrete Gaussian of "
                "sensitivity 1"
            ),
            "epsilon_of_charged_queries": charged_joint_epsilon(entries, run, plan.delta, 1, accountant),
            "replace_one_epsilon_of_charged_queries": charged_joint_epsilon(entries, run, plan.delta, 2, accountant),
        },
        "dataset": _dataset(spend),
        "noise": {"source": spend.noise, "builds": list(dict.fromkeys(attempt.build for attempt in attempts))},
        "attacker": _attacker(both.advantage, both.mu, unit)
        if both
        else _attacker(plan.attacker_advantage, plan.mu, unit),
        "assumptions": list(_ASSUMPTIONS),
        "not_protected": list(_NOT_PROTECTED),
        "trust": _trust(outside),
        "tuning": tuning(spend, digits),
        "foundation_models": _FOUNDATION_MODELS,
        "audits": dict(audits) if audits else NOT_AUDITED,
        "run": {"id": run, "config_sha256": first.config_sha256, "attempts": spend.attempts},
        "ledger": {
            "head": spend.ledger_head,
            "entries": len(entries),
            "verify": "spti verify RELEASE --ledger LEDGER checks every field; spti ledger verify LEDGER --head "
            f"{spend.ledger_head} checks the chain alone",
        },
    }


def _held_out(entries: Sequence[Entry]) -> dict[str, Any]:
    fixed = find_holdout(entries)
    if fixed is None:
        return {}
    words = (
        "Of the units of the dataset this share, chosen by a hash of each unit alone, took no part in any run. The "
        "guarantee holds for them as for all others: the relation and the sensitivity are the same."
    )
    return {"held_out": {"share": fixed.share, "unit": fixed.unit, "in_words": words}}


def _trust(outside: Sequence[str]) -> dict[str, str]:
    """Who sees private images. `outside`: the engines outside the cluster that are sent them."""
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


def _promise(plan: NoisePlan) -> float:
    """The configured epsilon; if an earlier accountant certified too little for it, what really holds."""
    return max(plan.epsilon, plan.achieved_epsilon)


def _statement(plan: NoisePlan, unit: str, both: JointGuarantee | None, digits: int) -> str:
    of_whom = f"for adding or removing any one {unit} of the private set"
    if both is None:
        return (
            f"This release is ({at_least(_promise(plan))}, {at_least(plan.delta)})-differentially private "
            f"{of_whom}, against anybody who sees all of it."
        )
    return (
        f"This release is ({at_least(both.epsilon, digits)}, {at_least(both.delta)})-differentially private {of_whom}, "
        f"against anybody who sees all of it and of what the {len(both.runs)} run(s) that it goes on from released."
    )


def _origin(plan: NoisePlan, both: JointGuarantee, digits: int) -> dict[str, Any]:
    return {
        "runs": list(both.runs),
        "epsilon_together": both.epsilon,
        "delta_together": both.delta,
        "replace_one_epsilon_together": both.replace_one_epsilon,
        "in_words": (
            f"This run goes on from the release of run {both.runs[0]}, so that its own release depends on the votes of "
            f"{len(both.runs) + 1} runs: epsilon, {at_least(both.epsilon, digits)} at delta {at_least(both.delta)}, is "
            f"that of all of them together, of which the queries of this run alone have {at_least(_promise(plan))} "
            "(parts). It holds provided that neither length nor noise of this run was chosen by what the earlier "
            "showed. The dataset's lifetime budget, where it has one, holds however they were chosen."
        ),
    }


def _parts(entries: Sequence[Entry], runs: Sequence[str], accountant: int) -> list[dict[str, Any]]:
    """The figures of each run's own queries, the earliest run first. None of them holds for the whole release."""
    parts: list[dict[str, Any]] = []
    for run in runs:
        first = attempts_of(entries, run)[0]
        plan = recorded_plan(first, accountant)
        parts.append(
            {
                "run": run,
                "epsilon": _promise(plan),
                "delta": plan.delta,
                "achieved_epsilon": plan.achieved_epsilon,
                "replace_one_epsilon": plan.replace_one_epsilon,
                "sigma": plan.sigma,
                "votes_per_record": plan.votes_per_record,
                "queries_planned": plan.slots,
            }
        )
    return parts


def _attacker(advantage: float, mu: float, unit: str) -> dict[str, Any]:
    return {
        "mu_of_continuous_gaussian": mu,
        "advantage": advantage,
        "in_words": (
            f"Somebody who knows everything but whether one {unit} was used, and bets on it after seeing the release, "
            f"has true and false positive rates that differ by at most {percent_at_least(advantage)} "
            "percentage points; 0 is a coin toss, 100 is certainty."
        ),
    }
