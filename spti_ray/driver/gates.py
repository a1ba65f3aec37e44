"""Which gate a run has: everything that shards are asked goes through it."""

from __future__ import annotations

from spti_ray.config import Config
from spti_ray.config.method_traits import has_shards, why_not_private
from spti_ray.dp.gate import Gate
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.mechanism import NoiseSource
from spti_ray.dp.unnoised import UnnoisedGate
from spti_ray.planning.checks import engines_outside
from spti_ray.planning.plan import noise_plan
from spti_ray.runs.folder import RunDir


def gate_of(config: Config, run: RunDir, ledger: Ledger, noise: NoiseSource) -> Gate | UnnoisedGate | None:
    """Where shards are asked: with noise and a charge, or with neither in a run that is not private."""
    if not has_shards(config):
        return None
    outside = engines_outside(config)
    if unprotected := why_not_private(config):
        votes, what = config.privacy.votes_per_record, "; sent to ".join([unprotected, *outside])
        return UnnoisedGate(ledger, run.run_id, run.generations, votes, what)
    return Gate(
        ledger=ledger,
        plan=noise_plan(config),
        run=run.run_id,
        folder=run.generations,
        noise=noise,
        config_sha256=run.config_sha256,
        unit=config.unit_in_words,
        origin=config.origin.run if config.origin else "",
        outside="\n".join(outside),
        holdout=config.data.holdout,
    )
