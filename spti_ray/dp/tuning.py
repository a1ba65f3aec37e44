"""What a certificate tells about a choice that no epsilon covers: other runs on the dataset, and what was looked at.

Rule held here: it is a function of the ledger's entries alone, as all of the certificate is.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from spti_ray.dp.history import UNCERTIFIED, is_check
from spti_ray.dp.odometer import OdometerReading
from spti_ray.figures import DIGITS, at_least

_AS_OF = "As of the ledger head that this certificate names (what came later is in the ledger): "
"""A certificate is not written again when somebody runs or looks once more."""


def worded_before(words: str) -> str:
    """The words of `tuning` as builds wrote them that did not say as of when."""
    return words.removeprefix(_AS_OF)


def tuning(spend: OdometerReading, digits: int = DIGITS) -> dict[str, Any]:
    """What else was run on the dataset, what all of it cost, and which private metrics were seen.

    Args:
        spend: what the ledger says was spent.
        digits: of the cost in its prose; other than now only to check an earlier certificate.
    """
    looked_at = [past for past in spend.runs if past.evaluated_by]
    metrics = sorted({metric for past in looked_at for metric in past.evaluated_by})
    cost = (
        f"together they cost epsilon {at_least(spend.lifetime_epsilon, digits)} at delta "
        f"{at_least(spend.lifetime_delta)}"
        if spend.lifetime_private
        else "some of them simulated their noise, so nothing is guaranteed for all of them together"
    )
    words = f"{_AS_OF}{len(spend.runs)} run(s) are recorded on this dataset, this one included; {cost}. "
    uncertified = {look.run for look in spend.unprotected_runs if look.metric.endswith(UNCERTIFIED)}
    checks = [look for look in spend.unprotected_runs if is_check(look)]
    open_looks = [look for look in spend.unprotected_runs if look.run not in uncertified and look not in checks]
    if open_looks:
        kinds = sorted({look.metric for look in open_looks})
        words += (
            f"{len({look.run for look in open_looks})} more run(s) on it had no protection at all and were for its "
            f"owner's eyes only ({'; '.join(kinds)}). If the settings of this release were chosen after seeing what "
            "they made, the choice is itself an output computed from the private images without noise, which neither "
            "this release's epsilon nor the total covers. "
        )
    closed_looks = [look for look in spend.unprotected_runs if look.run in uncertified and look not in checks]
    if closed_looks:
        kinds = sorted({look.metric for look in closed_looks})
        words += (
            f"{len(uncertified)} more run(s) on it have no certificate, are charged nothing and were for its owner's "
            f"eyes only ({'; '.join(kinds)}). If the settings of this release were chosen after seeing what they made, "
            "neither this release's epsilon nor the total covers that choice. "
        )
    if checks:
        words += (
            f"The private images themselves were looked at by their owner {len(checks)} time(s) for no run that is "
            "recorded (spti check). If anything in the configuration of this release was chosen after seeing them, "
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
    others = {"not_private_runs": open_looks, "uncertified_runs": closed_looks, "checks": checks}
    told = {name: [{"run": look.run, "what": look.metric} for look in found] for name, found in others.items() if found}
    return told | {
        "in_words": words,
        "total_epsilon": spend.lifetime_epsilon if spend.lifetime_private else None,
        "total_delta": spend.lifetime_delta,
        "runs": [asdict(past) | {"evaluated_by": list(past.evaluated_by)} for past in spend.runs],
    }
