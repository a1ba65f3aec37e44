"""How many themes, candidates, votes and generations suit a publicly stated number of records: `spti plan --recommend`.

What is recommended comes from simulations of the whole loop (`tests/statistical/test_recommend.py`) and from runs on
sets that no result is reported for (docs/results.md): one vote on themes, few generations more that are voted on
candidate by candidate, and far more candidates than themes. Its figures are those of `planning/vote_model.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from spti_ray.config import Config, EvolutionConfig, Role
from spti_ray.config.loading import ConfigError
from spti_ray.config.method_traits import shards_vote
from spti_ray.dp.calibration import calibrate
from spti_ray.planning.plan import WORKABLE_SIGNAL
from spti_ray.planning.vote_model import selection_under_noise, shares_under_noise
from spti_ray.planning.workload import work_of

AIM = 1.2
"""The signal of an average theme that is recommended. In simulations anything from 0.6 to 3 is nearly the best."""

GENERATIONS = 4
"""The first in themes: it finds the subjects. The others keep the variety that themes lose, and weak votes add up."""

SURVIVORS = 0.65
"""The best share in the ablations; what does not survive is replaced by children."""

CANDIDATES_PER_THEME = 8
"""Enough to draw from; more cost no privacy, and little was gained by them."""

_VOTES = (1, 2, 4)
"""More votes raise the signal as their square root, but the fourth nearest theme says less about a record."""

_FEWEST_THEMES, _FEWEST_CANDIDATES = 10, 50
"""Per label; below which variety is short, whatever the noise."""

_MOST = 14_000
"""The candidates of the paper's runs; more were never tried."""


@dataclass(frozen=True)
class Schedule:
    """What a recommendation is about. `themes`: of each generation with candidates; 0 where these are voted on one by
    one. `others`: generations without candidates, such as the one that asks for the labels' shares."""

    candidates: int
    themes: tuple[int, ...]
    votes_per_record: int
    survivors: float = SURVIVORS
    others: int = 0

    @property
    def generations(self) -> int:
        """All queries."""
        return len(self.themes) + self.others

    @property
    def is_possible(self) -> bool:
        """Whether there are fewer themes than candidates, without which settings are refused."""
        return max(self.themes) < self.candidates

    def of(self, evolution: EvolutionConfig) -> EvolutionConfig:
        """The settings with this schedule."""
        changed = {
            "candidates": self.candidates,
            "generations": self.generations,
            "survivors": self.survivors,
            "themes": levels_of(self.themes),
            "vocabulary": None,
        }
        return evolution.model_copy(update=changed)


@dataclass(frozen=True)
class Option:
    """One schedule and what it would do. All of it is public.

    `themes`: of each generation with candidates; 0 where these are voted on one by one. `signal`: votes of an average
    theme, or candidate, over sigma, in the first vote. `gain_kept`: what that vote gains (the true votes
    of what goes on, over the average), as a share of what it would gain without noise. `popular_survives`: probability
    that a theme or candidate with POPULAR times the average votes goes on. `engine_hours`: of one engine of each role;
    None without rates.
    """

    name: str
    candidates: int
    themes: tuple[int, ...]
    generations: int
    votes_per_record: int
    sigma: float
    signal: float
    gain_kept: float
    popular_survives: float
    texts: int
    renders: int
    engine_hours: dict[str, float] | None = None


@dataclass(frozen=True)
class Recommendation:
    """The recommended option first, then what is configured, then alternatives around the recommendation."""

    private_records: int
    options: tuple[Option, ...]
    warning: str | None = None
    more: tuple[str, ...] = ()
    """Further settings that it needs, as `a.b=value`."""

    @property
    def best(self) -> Option:
        """The recommended option."""
        return self.options[0]

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values, for `spti plan --json`."""
        return {
            "private_records": self.private_records,
            "workable_signal": WORKABLE_SIGNAL,
            "options": [asdict(option) for option in self.options],
            "warning": self.warning,
        }


def recommend(config: Config, private_records: int, rates: Mapping[Role, float] | None = None) -> Recommendation:
    """Recommend a schedule: at first as many themes as leave a signal of AIM, then eight candidates a theme.

    Records vote more than once only where fewer than ten themes a label would be left.

    Args:
        config: the configuration, whose other settings stay.
        private_records: a publicly stated order of magnitude of the records; never counted from data.
        rates: items per second of one engine, by role; without them no hours are given.

    Raises:
        ConfigError: no noise can be certified for the epsilon and delta.
    """
    if not shards_vote(config):
        raise ConfigError(f"--recommend: by method {config.method} nobody votes, so there is no schedule to recommend")
    if private_records < 1:
        raise ConfigError(f"--private-records: must be at least 1, not {private_records}")
    fewest = _fewest(config, _FEWEST_THEMES)
    best, warning = None, None
    for votes in _VOTES:
        sigma = _sigma(config, GENERATIONS + config.asks_label_shares, votes)
        themes = private_records * votes / (AIM * sigma) if sigma else 0
        if themes >= fewest:
            best = _with_candidates(config, _rounded(themes), votes)
            break
    if best is None:
        best = _with_candidates(config, fewest, _VOTES[-1])
        needed = AIM * fewest * (_sigma(config, best.generations, _VOTES[-1]) or math.inf) / _VOTES[-1]
        warning = f"so few records can't outvote the noise at epsilon {config.privacy.epsilon:g}: " + (
            f"{fewest} themes ask for about {_rounded_up(needed)} records, or for a larger epsilon"
            if math.isfinite(needed)
            else "it is too small to be planned for"
        )
    evolution, level = config.evolution, best.themes[0]
    share = sum(evolution.survivors_per_label().values()) / evolution.candidates
    levels = tuple(evolution.num_themes(number) for number in config.candidate_generations)
    wanted = {
        "recommended": best,
        "as configured": Schedule(
            evolution.candidates, levels, config.privacy.votes_per_record, share, config.asks_label_shares
        ),
        "half the themes": replace(best, themes=first_in(level // 2)),
        "twice the themes": replace(best, themes=first_in(2 * level)),
        "no themes": replace(best, themes=first_in(0)),
        "themes throughout": replace(best, themes=(level,) * GENERATIONS),
        "half the candidates": replace(best, candidates=best.candidates // 2),
        "twice the generations": replace(best, themes=(*best.themes, *first_in(0))),
        "twice the votes": replace(best, votes_per_record=2 * best.votes_per_record),
    }
    options = [
        _option(name, config, private_records, other, rates)
        for name, other in wanted.items()
        if name in ("recommended", "as configured")
        or (other != best and other.is_possible and _sigma(config, other.generations, other.votes_per_record))
    ]
    more = ("evolution.vocabulary=null",) if evolution.vocabulary else ()
    return Recommendation(private_records, tuple(options), warning, more)


def _option(
    name: str, config: Config, private_records: int, schedule: Schedule, rates: Mapping[Role, float] | None
) -> Option:
    sigma = _sigma(config, schedule.generations, schedule.votes_per_record)
    if sigma is None:
        raise ConfigError(
            f"privacy.epsilon: no noise can be certified for epsilon {config.privacy.epsilon:g} at delta "
            f"{config.privacy.delta:g} and {schedule.generations} generations: ask for a larger epsilon or delta"
        )
    votes = schedule.votes_per_record
    evolution = schedule.of(config.evolution)
    signal = private_records * votes / ((schedule.themes[0] or schedule.candidates) * sigma)
    if schedule.themes[0]:
        gain, popular = shares_under_noise(signal)
    else:
        kept = sum(evolution.survivors_per_label().values()) / schedule.candidates
        gain, popular = selection_under_noise(signal, kept)
    texts, renders = work_of(config.model_copy(update={"evolution": evolution}))
    option = Option(
        name, schedule.candidates, schedule.themes, schedule.generations, votes, sigma, signal, gain, popular, texts,
        renders,
    )  # fmt: skip
    if not rates:
        return option
    items: dict[Role, int] = {"writer": texts, "renderer": renders + config.release.images, "image_embedder": renders}
    hours: dict[str, float] = {role: count / rates[role] / 3600 for role, count in items.items() if rates.get(role)}
    return replace(option, engine_hours=hours)


def levels_of(themes: tuple[int, ...]) -> tuple[int, ...]:
    """`evolution.themes` of a schedule's: without the generations that are voted on one by one."""
    return tuple(count for count in themes if count)


def first_in(themes: int) -> tuple[int, ...]:
    """The recommended generations, of which the first is voted on in so many themes."""
    return (themes, *(0,) * (GENERATIONS - 1))


def _with_candidates(config: Config, themes: int, votes: int) -> Schedule:
    """The schedule with so many themes, or fewer if there would be too many candidates."""
    most = max(_MOST, _fewest(config, _FEWEST_CANDIDATES))
    candidates = min(most, max(_fewest(config, _FEWEST_CANDIDATES), CANDIDATES_PER_THEME * themes))
    level = min(themes, candidates // 2)
    return Schedule(candidates, first_in(level), votes, others=int(config.asks_label_shares))


def _sigma(config: Config, generations: int, votes: int) -> float | None:
    """The standard deviation of a schedule's noise, in votes; None if it can't be certified."""
    privacy = config.privacy
    try:
        return calibrate(privacy.epsilon, privacy.delta, votes, generations, privacy.spare_slots).sigma
    except ValueError:
        return None


def _fewest(config: Config, per_label: int) -> int:
    """The fewest of which every label, by its public share, has at least `per_label`."""
    shares = [label.share for label in config.evolution.labels] or [1.0]
    return math.ceil(per_label * sum(shares) / min(shares))


def _rounded(count: float) -> int:
    """Down to two digits: more would pretend to a precision that nobody has."""
    scale = 10 ** max(0, math.floor(math.log10(count)) - 1)
    return int(count // scale * scale)


def _rounded_up(count: float) -> int:
    scale = 10 ** max(0, math.floor(math.log10(count)) - 1)
    return math.ceil(count / scale) * scale
