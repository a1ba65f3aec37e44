"""The certificate of a release (`privacy.json`): what is guaranteed, by what, and how to check it.

Every figure comes from the plan, the verified ledger or the public configuration.
"""

from __future__ import annotations

import math
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from spti_ray import __version__
from spti_ray.config import Config
from spti_ray.dp.accounting import NoisePlan
from spti_ray.dp.gate import Spend

FORMAT = "spti-ray privacy certificate 1"

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
    "the ledger file is kept: a copy of its head hash, such as this certificate's, shows a ledger that was cut back",
)
_FOUNDATION_MODELS = (
    "The guarantee covers the private set of this run. A foundation model that was itself trained on some of these "
    "images or texts may reproduce them without this release's help; choose models whose training data are known."
)


def certificate(config: Config, plan: NoisePlan, spend: Spend, generations: int) -> dict[str, Any] | None:
    """The certificate as plain JSON values, or None when simulated noise was used by any attempt of the run."""
    if not spend.private:
        return None
    unit = config.privacy.unit
    advantage = plan.attacker_advantage
    runs = spend.runs
    return {
        "format": FORMAT,
        "statement": (
            f"This release is ({plan.epsilon:g}, {plan.delta:g})-differentially private for adding or removing any one "
            f"{unit} of the private set, against anybody who sees all of it."
        ),
        "unit": unit,
        "relation": f"add/remove one {unit}",
        "epsilon": plan.epsilon,
        "delta": plan.delta,
        "achieved_epsilon": plan.achieved_epsilon,
        "replace_one_epsilon": plan.replace_one_epsilon,
        "mechanism": {
            "name": "discrete Gaussian on int64 vote counts",
            "sigma": plan.sigma,
            "votes_per_record": plan.votes_per_record,
            "l2_sensitivity": math.sqrt(plan.votes_per_record),
            "generations": generations,
            "planned_generations": plan.generations,
            "spare_slots": plan.spare_slots,
            "candidates": config.evolution.candidates,
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
        "dataset": {
            "id": spend.dataset,
            "lifetime_epsilon": spend.lifetime_budget,
            "lifetime_delta": spend.lifetime_delta,
            # A run with simulated noise on the same dataset leaves no lifetime guarantee to state.
            "lifetime_epsilon_spent": spend.lifetime_epsilon if spend.lifetime_private else None,
            "runs": runs,
            "burned_slots": spend.lifetime_burned,
        },
        "noise": {
            "source": spend.noise,
            "versions": {
                "spti-ray": __version__,
                "opendp": version("opendp"),
                "dp-accounting": version("dp-accounting"),
                "numpy": version("numpy"),
                "python": ".".join(map(str, sys.version_info[:3])),
            },
        },
        "attacker": {
            "mu": plan.mu,
            "advantage": advantage,
            "in_words": (
                f"Somebody who knows everything but whether one {unit} was used, and bets on it after seeing the "
                f"release, has true and false positive rates that differ by at most {100 * advantage:.1f} percentage "
                "points; 0 is a coin toss, 100 is certainty."
            ),
        },
        "assumptions": list(_ASSUMPTIONS),
        "not_protected": list(_NOT_PROTECTED),
        "trust": {
            "release_model": "central: the cluster's operator sees the private images; readers of the release don't",
            "trusted": "the cluster, its operator and storage, and the engines, which all run inside the cluster",
            "not_trusted": "whoever receives the release folder",
        },
        "tuning": (
            f"{runs} run(s) are charged to this dataset in its ledger, this one included. If this release was chosen "
            "among them by looking at the private set, the lifetime figure is the one to quote."
        ),
        "foundation_models": _FOUNDATION_MODELS,
        "audits": "not run for this release; the sampler and sensitivity tests are in tests/statistical (make test)",
        "run": spend.run,
        "attempts": spend.attempts,
        "ledger": {
            "head": spend.ledger_head,
            "verify": f"spti ledger verify {Path(spend.ledger_path).name} --head {spend.ledger_head}",
        },
    }
