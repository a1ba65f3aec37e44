"""Where a run is (`spti status`), read from its folder and its ledger. Starts nothing, and locks for a moment only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spti_ray.config.loading import parse_config
from spti_ray.config.method_traits import is_charged, uses_private_data
from spti_ray.dp.entries import Entry
from spti_ray.dp.history import attempts_of
from spti_ray.dp.joint_guarantee import joint_guarantee, recorded_plan
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.odometer import read_odometer
from spti_ray.figures import at_least
from spti_ray.public.vote_spread import in_words
from spti_ray.runs.folder import RunDir
from spti_ray.runs.run_file import read_run
from spti_ray.runs.votes import spread_in


@dataclass(frozen=True)
class Status:
    """Where a run is; all of it is public.

    `state`: finished, running or interrupted. `generations`: as configured; `generation`: how many have candidates;
    `measured`: how many have noised counts; `burned`: charges lost to crashes.
    """

    title: str
    run: str
    state: str
    generations: int
    generation: int
    measured: int
    burned: int
    attempts: int
    epsilon_spent: float
    epsilon: float | None
    """None where nothing is certified: no private data are used, or the run is not private or has no certificate."""
    lifetime_epsilon_spent: float
    lifetime_epsilon: float | None
    release: str | None
    rerendering_of: str | None
    """The run whose texts it renders; None unless it is a re-rendering."""
    ledger: str | None
    """Place of the dataset's ledger; None if no private data are used."""
    in_ledger: bool
    """Whether that ledger knows the run. If not, the run was never opened or its ledger is elsewhere; what was measured
    and spent is then unknown, and 0 here."""
    steps_begun: int = 0
    """Steps of a fine-tuning, including those that a crash lost."""
    if_missing: str = ""
    """What to do if the ledger is elsewhere."""
    votes: str = ""
    """Of a finished run with noised votes: whether they can be told from noise."""
    release_epsilon: float | None = None
    """The epsilon of all planned queries on which the release depends; only of a run that goes on from another."""

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values, for `spti status --json`."""
        return asdict(self)

    def lines(self, directory: Path) -> list[str]:
        """For people; `directory` is the run's folder as they named it."""
        budget = "no limit" if self.lifetime_epsilon is None else f"{self.lifetime_epsilon:g}"
        burned = f", {self.burned} burned by crashes" if self.burned else ""
        then = {
            "finished": f"the {'images are' if self.epsilon is None else 'release is'} in {self.release}",
            "running": f"a driver works in {directory}",
            "interrupted": "the command that started it goes on with it",
        }
        if self.rerendering_of:
            return [
                f"{directory}: {self.title}, run {self.run}",
                f"{self.state}: {then[self.state]}",
                f"a re-rendering of run {self.rerendering_of}: nothing is charged, and its certificate holds",
            ]
        if self.epsilon is None:
            made = f"texts of {self.generation} generation(s) are there"
            return [
                f"{directory}: {self.title}, run {self.run}",
                f"{self.state}: {then[self.state]}",
                f"{self.steps_begun} steps of fine-tuning were begun" if self.steps_begun else made,
                "nothing is charged: no private data are used, or the run is not private or has no certificate",
            ]
        spent = [
            f"epsilon {at_least(self.epsilon_spent)} of {at_least(self.epsilon)} spent"
            + ("" if self.release_epsilon is None else " by its own queries, a part")
            + f"; by all runs on its dataset {at_least(self.lifetime_epsilon_spent)} of {budget}"
        ]
        if self.release_epsilon is not None:
            spent.append(
                f"its release has epsilon {at_least(self.release_epsilon)}, of all runs together that it depends on"
            )
        if not self.in_ledger:
            return [
                f"{directory}: {self.title}, run {self.run}",
                f"{self.state}: {then[self.state]}",
                f"how many of {self.generations} generations were measured is unknown; texts of {self.generation} are "
                "there",
                f"{self.ledger} does not know this run: it was not opened yet, or its ledger is not there; if so, "
                f"{self.if_missing}",
            ]
        return [
            f"{directory}: {self.title}, run {self.run}, attempt {self.attempts}",
            f"{self.state}: {then[self.state]}",
            f"{self.measured} of {self.generations} generations measured{burned}; texts of {self.generation} are there",
            *spent,
            *([self.votes] if self.votes else []),
        ]


def status_of(directory: Path, entries: Sequence[Entry] | None = None) -> Status:
    """Where the run in a folder is.

    Args:
        directory: the run's folder.
        entries: those of its ledger, where they were read already.

    Raises:
        ConfigError: the folder holds no run.
    """
    known = read_run(directory)
    config = parse_config(known["config"])
    run = RunDir(directory, str(known["run"]), config)
    ledger = Ledger(config.ledger.location, config.dataset.id)
    entries = ledger.entries() if entries is None else entries
    opened = attempts_of(entries, run.run_id)
    spend = read_odometer(entries, run.run_id) if opened else None
    both = joint_guarantee(entries, run.run_id, recorded_plan(opened[0])) if opened else None
    spread = spread_in(run) if run.finished and is_charged(config) else None
    return Status(
        title=config.title,
        run=run.run_id,
        state="finished" if run.finished else "running" if run.locked() else "interrupted",
        generations=config.evolution.generations,
        generation=len(list(run.generations.glob("*/candidates.parquet"))),
        measured=spend.committed if spend else 0,
        burned=spend.burned if spend else 0,
        attempts=spend.attempts if spend else 0,
        epsilon_spent=spend.epsilon if spend else 0.0,
        epsilon=config.privacy.epsilon if is_charged(config) else None,
        lifetime_epsilon_spent=spend.lifetime_epsilon if spend else 0.0,
        lifetime_epsilon=spend.lifetime_budget if spend else config.dataset.lifetime_epsilon,
        release=str(run.release) if run.finished else None,
        steps_begun=run.steps_charged,
        rerendering_of=config.certified_run("") or None,
        ledger=ledger.location if uses_private_data(config) else None,
        in_ledger=spend is not None,
        if_missing="" if spend or not uses_private_data(config) else config.ledger.if_missing,
        release_epsilon=both.epsilon if both else None,
        votes=in_words(spread) if spread else "",
    )
