"""The query that comes before the generations with candidates, if `evolution.label_shares` is `voted`."""

from __future__ import annotations

from spti_ray.config import Config
from spti_ray.dp.gate import Gate
from spti_ray.dp.unnoised import UnnoisedGate
from spti_ray.errors import RunDamaged
from spti_ray.evolution.generations import BudgetExhausted
from spti_ray.evolution.histogram import dp_nn_histogram
from spti_ray.evolution.protocols import Store, Voter, Watcher
from spti_ray.public.label_shares import all_votable, counts_of, label_candidates
from spti_ray.public.scoring import Scoring
from spti_ray.public.themes import Question


def ask_label_counts(
    config: Config, scoring: Scoring, voter: Voter, gate: Gate | UnnoisedGate, store: Store, watch: Watcher
) -> dict[str, int]:
    """Ask how many records each label has, as generation 0 of a run. An attempt that finds the answer asks no more.

    A record has one candidate to vote for, that of its label, so it casts one vote whatever `votes_per_record` is.

    Args:
        config: the run's configuration, with all labels.
        scoring: embeds the labels' candidates.
        voter: the private side.
        gate: charges the query and adds its noise.
        store: what the run has on disk.
        watch: is told of the query and its charge.

    Returns:
        The noised number of records of each label; records without a usable label are in none.

    Raises:
        BudgetExhausted: crashes burned all slots.
        NothingMade: no label's candidate could be embedded. Nothing is charged then.
        RunDamaged: the query was answered, and what it asked is gone.
    """
    number = config.generation_numbers.start
    histogram, candidates = gate.committed(number), store.load(number)
    if histogram is not None and candidates is None:
        raise RunDamaged(f"generation {number} is committed, but its candidates are gone from the run")
    if histogram is None:
        if gate.slots_left() == 0:
            raise BudgetExhausted("every planned query was burned by crashes; start a new run, or plan spare_slots")
        watch.generation(number, "candidates")
        scored = all_votable(scoring.embed(candidates or label_candidates(config.evolution)))
        store.save(number, scored, Question(scored))
        watch.generation(number, "votes")
        histogram = dp_nn_histogram(number, scored, config.privacy.votes_per_record, voter, gate, watch)
    return counts_of(config.evolution, histogram)
