"""Private Evolution: algorithm 1 of SPTI (arXiv 2506.07555) on texts, and of its origin (arXiv 2305.15560) on images.

No Ray and no engine in here. Whatever is asked of the private side goes through `Voter`, and whatever comes back goes
through `Gate`, which charges the budget before any vote is cast and adds the noise once.
"""

from __future__ import annotations

from functools import partial

from spti_ray.config import Config
from spti_ray.dp.gate import Gate
from spti_ray.dp.unnoised import UnnoisedGate
from spti_ray.evolution.generations import Generations, Measured
from spti_ray.evolution.histogram import dp_nn_histogram
from spti_ray.evolution.protocols import Population, Store, Voter, Watcher
from spti_ray.public.scoring import Scoring
from spti_ray.public.selection import select
from spti_ray.public.slots import vocabulary_of
from spti_ray.public.themes import question_of
from spti_ray.types import Selected


def evolve(
    config: Config,
    population: Population,
    scoring: Scoring,
    voter: Voter,
    gate: Gate | UnnoisedGate,
    store: Store,
    watch: Watcher,
    selected: tuple[Selected, ...] = (),
) -> tuple[Selected, ...]:
    """Run all generations with candidates and return the survivors of the last. Resumes from what `store` and `gate`
    hold. What comes before them, if anything, is `label_shares.ask_label_counts`.

    Args:
        selected: the survivors of the run that this one goes on from; without them the first generation is that of
            RANDOM_API.

    Returns: in rank order within each label. Of fewer generations than planned if crashes burned slots.

    Raises:
        BudgetExhausted: no generation could be measured.
        NothingMade: before the first reservation, if next to nothing of the first generation could be written, or
            rendered and embedded.
    """
    k = config.privacy.votes_per_record
    generations = Generations(config.candidate_generations, population, scoring, gate, store)
    for t, stored, measured in generations:
        if measured is None:
            watch.generation(t, "candidates")
            made = stored or (population.variation_api(t, selected) if selected else population.random_api())
            ahead = partial(voter.show, t, votes_per_record=k)
            scored = scoring.embed(made) if config.evolution.num_themes(t) else scoring.embed(made, ahead)
            question = question_of(t, scored, config.evolution, config.runtime.seed, vocabulary_of(config, t))
            generations.keep(t, scored, question, selected)
            watch.generation(t, "votes")
            histogram = dp_nn_histogram(t, question.asked, k, voter, gate, watch)
            measured = Measured(scored.candidates, histogram, question.themes, question.kin)
        candidates, histogram, themes, _ = measured
        parents, selected = selected, select(candidates, histogram, themes, config.evolution, config.runtime.seed)
        generations.finish(t, measured, parents, selected)
    return selected
