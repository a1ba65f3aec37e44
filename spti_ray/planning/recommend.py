"""How many candidates, votes and generations suit a publicly stated number of records (`spti plan --recommend`).

Pure functions of public settings. The figures rest on a model of one selection, which is stated here and tested against
simulations in `tests/statistical/test_recommend.py`:

* The records' votes are spread over the candidates exponentially: a candidate's votes are `x` times the average, with
  x ~ Exp(1). Real votes are mostly more uneven, which is easier.
* Noise adds z / signal to x, with z ~ N(0, 1), where `signal` = N * k / (n * sigma): the votes of an average candidate,
  in standard deviations of the noise.
* With labels, records are spread over them as the public shares say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from spti_ray.config import Config, Role
from spti_ray.config.loading import ConfigError
from spti_ray.dp.calibration import calibrate
from spti_ray.io.text_table import Column, text_table
from spti_ray.planning.plan import WORKABLE_SIGNAL
from spti_ray.planning.workload import work_of

AIM = 0.5
"""The signal that is recommended. Above the bare minimum, since only an order of magnitude is stated."""

POPULAR = 3.0
"""How many times the average number of votes a popular candidate has."""

_GENERATIONS = (10, 8, 6, 4)
"""Tried in this order. In simulations of the whole loop, fewer are worse at any noise, and 16 are no better than 8."""

_VOTES = (1, 2, 4)
"""More votes raise the signal as their square root, but the fourth nearest candidate says less about a record."""

_FEWEST = 50
"""Candidates per label below which variety is short, whatever the noise."""

_MOST = 14_000
"""The candidates of the paper's runs; more were never tried."""


@dataclass(frozen=True)
class Option:
    """One schedule and what it would do. All of it is public.

    `signal`: votes of an average candidate over sigma. `gain_kept`: what one selection gains (survivors' true votes
    over the average), as a share of what it would gain without noise. `popular_survives`: probability that a candidate
    with POPULAR times the average votes is selected. `engine_hours`: of one engine of each role; None without rates.
    """

    name: str
    candidates: int
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


def selection_under_noise(signal: float, survivors: float) -> tuple[float, float]:
    """What noise leaves of one selection, under the model at the top of this file, in the limit of many candidates.

    Without noise the survivors are those with x > ln(1 / survivors), and their mean is ln(1 / survivors) above the
    average.

    Args:
        signal: votes of an average candidate over sigma.
        survivors: the share of candidates that is selected.

    Returns:
        (gain kept, probability that a popular candidate survives); (0, 1) for a share of 1, which selects nothing.
    """
    # Imported here: SciPy takes a second.
    import numpy as np
    from scipy.special import ndtr
    from scipy.stats import exponnorm

    if survivors >= 1:
        return 0.0, 1.0
    cut = float(exponnorm.isf(survivors, signal, scale=1 / signal))
    middles = (np.arange(20_000) + 0.5) / 20_000
    x = -np.log1p(-middles)
    mean_of_survivors = float((x * ndtr((x - cut) * signal)).mean()) / survivors
    return (mean_of_survivors - 1) / -math.log(survivors), float(ndtr((POPULAR - cut) * signal))


def recommend(config: Config, private_records: int, rates: Mapping[Role, float] | None = None) -> Recommendation:
    """Recommend a schedule: the most generations, then the fewest votes per record, that leave a signal of AIM with at
    least 50 candidates per label; then as many candidates as leave that signal.

    Args:
        config: the configuration, whose other settings stay.
        private_records: a publicly stated order of magnitude of the records; never counted from data.
        rates: items per second of one engine, by role; without them no hours are given.

    Raises:
        ConfigError: no noise can be certified for the epsilon and delta.
    """
    if private_records < 1:
        raise ConfigError(f"--private-records: must be at least 1, not {private_records}")
    fewest = _fewest(config)
    schedule, warning = None, None
    for generations, votes in product(_GENERATIONS, _VOTES):
        sigma = _sigma(config, generations, votes)
        most = private_records * votes / (AIM * sigma) if sigma else 0
        if most >= fewest:
            schedule = (min(_rounded(most), max(_MOST, fewest)), generations, votes)
            break
    if schedule is None:
        generations, votes = _GENERATIONS[-1], _VOTES[-1]
        schedule = (fewest, generations, votes)
        needed = AIM * fewest * (_sigma(config, generations, votes) or math.inf) / votes
        warning = f"so few records can't outvote the noise at epsilon {config.privacy.epsilon:g}: " + (
            f"{fewest} candidates ask for about {_rounded_up(needed)} records, or for a larger epsilon"
            if math.isfinite(needed)
            else "it is too small to be planned for"
        )
    candidates, generations, votes = schedule
    evolution, privacy = config.evolution, config.privacy
    wanted: dict[str, tuple[int, int, int]] = {
        "recommended": schedule,
        "as configured": (evolution.candidates, evolution.generations, privacy.votes_per_record),
        "half the generations": (candidates, generations // 2, votes),
        "twice the generations": (candidates, 2 * generations, votes),
        "half the candidates": (max(fewest, candidates // 2), generations, votes),
        "twice the candidates": (2 * candidates, generations, votes),
        "twice the votes": (candidates, generations, 2 * votes),
    }
    options = [
        _option(name, config, private_records, *other, rates)
        for name, other in wanted.items()
        if name in ("recommended", "as configured") or (other != schedule and _sigma(config, other[1], other[2]))
    ]
    return Recommendation(private_records, tuple(options), warning)


def recommendation_lines(found: Recommendation) -> list[str]:
    """The recommendation for people: a table, what its columns mean, and how to take it over."""
    best = found.best
    hours = sorted({role for option in found.options for role in option.engine_hours or {}})
    figures = ("candidates", "generations", "votes", "sigma", "signal", "gain kept", f"{POPULAR:g}x survives")
    headings = (*figures, "texts", "renders", *(f"{role} h" for role in hours))
    columns = (Column(), *(Column(heading, is_number=True) for heading in headings))
    rows: list[tuple[str, ...]] = []
    for option in found.options:
        rows.append(
            (
                option.name,
                str(option.candidates),
                str(option.generations),
                str(option.votes_per_record),
                f"{option.sigma:.2f}",
                f"{option.signal:.2f}",
                f"{100 * option.gain_kept:.0f} %",
                f"{100 * option.popular_survives:.0f} %",
                str(option.texts),
                str(option.renders),
                *(f"{(option.engine_hours or {}).get(role, 0):.2f}" for role in hours),
            )
        )
    lines = [
        f"For about {found.private_records} private records, as stated publicly:",
        "",
        *text_table(columns, rows),
        "",
        f"signal        votes of an average candidate over sigma; keep it above {WORKABLE_SIGNAL:g}",
        "gain kept     what one selection gains in votes, as a share of what it would gain without noise",
        f"{POPULAR:g}x survives   chance that a candidate with {POPULAR:g} times the average votes is selected",
        "Half the generations: less noise, fewer steps. Twice the candidates: more variety, more work, less signal.",
        "A model: votes are spread exponentially over the candidates. Real votes are mostly more uneven.",
    ]
    if hours:
        lines.append("h             hours of work for one engine of the role, at the measured rates")
    if found.warning:
        lines.append(f"WARNING       {found.warning}")
    lines.append(
        f"To take it    --set evolution.candidates={best.candidates} --set evolution.generations={best.generations} "
        f"--set privacy.votes_per_record={best.votes_per_record}"
    )
    return lines


def _option(
    name: str,
    config: Config,
    private_records: int,
    candidates: int,
    generations: int,
    votes: int,
    rates: Mapping[Role, float] | None,
) -> Option:
    sigma = _sigma(config, generations, votes)
    if sigma is None:
        raise ConfigError(
            f"privacy.epsilon: no noise can be certified for epsilon {config.privacy.epsilon:g} at delta "
            f"{config.privacy.delta:g} and {generations} generations: ask for a larger epsilon or delta"
        )
    signal = private_records * votes / (candidates * sigma)
    evolution = config.evolution.model_copy(update={"candidates": candidates, "generations": generations})
    gain, popular = selection_under_noise(signal, sum(evolution.survivors_per_label().values()) / candidates)
    texts, renders = work_of(config.model_copy(update={"evolution": evolution}))
    option = Option(name, candidates, generations, votes, sigma, signal, gain, popular, texts, renders)
    if not rates:
        return option
    items: dict[Role, int] = {"writer": texts, "renderer": renders + config.release.images, "image_embedder": renders}
    hours: dict[str, float] = {role: count / rates[role] / 3600 for role, count in items.items() if rates.get(role)}
    return replace(option, engine_hours=hours)


def _sigma(config: Config, generations: int, votes: int) -> float | None:
    """The standard deviation of a schedule's noise, in votes; None if it can't be certified."""
    privacy = config.privacy
    try:
        return calibrate(privacy.epsilon, privacy.delta, votes, generations, privacy.spare_slots).sigma
    except ValueError:
        return None


def _fewest(config: Config) -> int:
    """The fewest candidates of which every label, by its public share, has at least `_FEWEST`."""
    shares = [label.share for label in config.evolution.labels] or [1.0]
    return math.ceil(_FEWEST * sum(shares) / min(shares))


def _rounded(count: float) -> int:
    """Down to two digits: more would pretend to a precision that nobody has."""
    scale = 10 ** max(0, math.floor(math.log10(count)) - 1)
    return int(count // scale * scale)


def _rounded_up(count: float) -> int:
    scale = 10 ** max(0, math.floor(math.log10(count)) - 1)
    return math.ceil(count / scale) * scale
