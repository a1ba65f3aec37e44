"""Records in the ledger that somebody looked at a private metric, before any figure is shown."""

from __future__ import annotations

from pathlib import Path

from spti_ray.config import Config
from spti_ray.config.loading import ConfigError
from spti_ray.config.method_traits import declaration_of
from spti_ray.dp import ledger
from spti_ray.dp.history import attempts_of, unprotected_runs
from spti_ray.dp.storage import open_chain
from spti_ray.methods import PrivateData


def record_evaluation(run: Path, run_id: str, config: Config, metric: str) -> str:
    """Append the event EVALUATED to the ledger of a run's dataset.

    A run that never asked the private images anything (a baseline without votes) is in no ledger: there is nothing to
    record.

    Args:
        run: The run's folder.
        run_id: The run whose texts are evaluated; for a re-rendering that is another run than the folder's.
        config: The run's configuration.
        metric: What is measured, in words.

    Returns:
        One line for people.

    Raises:
        ConfigError: the run has noised histograms, but its ledger is not here to record the look.
    """
    chain = open_chain(config.ledger.location, config.dataset.id)
    entries = chain.read().entries
    if attempts_of(entries, run_id) or run_id in {look.run for look in unprotected_runs(entries)}:
        ledger.record_evaluation(chain, run_id, metric)
        return f"recorded as a look with a private metric in {chain.location}"
    # A re-rendering has its histograms where its run is.
    voted = config.rerenders and declaration_of(config).private_data is PrivateData.VOTES
    if voted or next((run / "generations").glob("*/histogram-*"), None):
        raise ConfigError(
            f"{chain.location} does not know this run, so the look can't be recorded; {config.ledger.if_missing}"
        )
    return "this run is in no ledger (it charged nothing): no look was recorded"
