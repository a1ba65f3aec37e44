"""What the page's script is told: settings that stay, what may be chosen, tables of what a browser can't compute."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spti_ray.config import ROLES, Config, EngineConfig, Role
from spti_ray.config.loading import ConfigError
from spti_ray.config.method_traits import (
    candidates_are_images,
    declaration_of,
    is_charged,
    roles_needed,
    roles_shown_private,
    shards_vote,
)
from spti_ray.io.urls import redacted_in
from spti_ray.methods import Candidates
from spti_ray.models.endpoint_options import Prices
from spti_ray.models.factory import endpoint_of
from spti_ray.planning.costs.estimate import Estimate, hardware_of
from spti_ray.planning.costs.money import Priced
from spti_ray.planning.costs.rates import EngineRate
from spti_ray.planning.costs.report import Costs
from spti_ray.planning.costs.tokens import tokens_per_text
from spti_ray.planning.costs.training import Training, examples_of
from spti_ray.planning.plan import DROWNED_SIGNAL, WORKABLE_SIGNAL
from spti_ray.planning.vote_model import selection_under_noise, shares_under_noise
from spti_ray.planning.workload import phases

LEAST_EPSILON, MOST_EPSILON = 0.05, 50.0
LEAST_DELTA, MOST_DELTA = 1e-12, 1e-2
MOST_VOTES = 1000
"""Votes of a record over all queries. Within these bounds the page's noise is held against the planner's."""

_SIGNALS = tuple(10 ** (exponent / 20) for exponent in range(-60, 61))
"""From 0.001 to 1000, where what noise leaves of a vote is tabulated."""

_NOT_KINDS = ("gpu", "cpu", "image")
"""Prices that are of no kind of GPU."""


def page_values(config: Config, costs: Costs, summary: Mapping[str, Any], command: Sequence[str]) -> dict[str, Any]:
    """All that the page's script knows, as JSON values; public, like the configuration.

    Args:
        config: a configuration that can be planned.
        costs: its estimate; its rates and prices are the page's.
        summary: its `plan_summary`.
        command: the words of the command by which the planner says the same, without what is chosen on the page.

    Raises:
        ConfigError: nobody votes by it, or it is out of the page's bounds; one line.
    """
    _check(config)
    found, evolution, privacy = costs.found, config.evolution, config.privacy
    generations = _most_generations(config)
    roles: dict[Role, EngineConfig] = {role: found.engines.of(role) for role in _roles(config)}
    kinds = _kinds(found, tuple(roles), costs.prices)
    return {
        "command": [redacted_in(word) for word in command],
        "method": config.method,
        "unit": privacy.unit,
        "dataset": config.dataset.id,
        "lifetime": config.dataset.lifetime_epsilon,
        "spent": summary.get("lifetime_epsilon_spent"),
        "spareSlots": privacy.spare_slots,
        "labels": [label.name for label in evolution.labels],
        "shares": [label.share for label in evolution.labels] or [1.0],
        "asks": config.asks_label_shares,
        "first": evolution.first_with_candidates,
        "survivors": evolution.survivors,
        "keepSurvivors": evolution.keep_survivors,
        "lookahead": evolution.lookahead,
        "vocabulary": evolution.vocabulary,
        "spaces": list(evolution.spaces),
        "images": candidates_are_images(config),
        "holdSubject": config.prompts.hold_subject and declaration_of(config).candidates is Candidates.TEXTS,
        "imagesPerText": config.release.images_per_text,
        "releaseTexts": config.release.texts,
        "shards": config.runtime.shards,
        "shard": {"cpus": config.runtime.shard.num_cpus, "gpus": config.runtime.shard.num_gpus},
        "turns": list(config.runtime.take_turns),
        "fixedEngines": config.runtime.engines == "fake",
        "shown": list(roles_shown_private(config)),
        "roles": [role for role in roles_needed(config) if role in _always(config)],
        "engines": {role: _engine(found, config, role, kinds[role]) for role in roles},
        "kinds": kinds,
        "tokens": _tokens(config, generations),
        "training": _training(costs.training, found),
        "voteModel": _vote_model(evolution.survivors),
        "workable": WORKABLE_SIGNAL,
        "drowned": DROWNED_SIGNAL,
        "limits": _limits(config, generations),
        "chosen": {
            "epsilon": privacy.epsilon,
            "delta": privacy.delta,
            "votes": privacy.votes_per_record,
            "candidates": evolution.candidates,
            "generations": evolution.generations,
            "themes": list(evolution.themes),
            "images": config.release.images,
            "records": found.private_records,
            "pools": {role: {"replicas": e.replicas, "most": e.max_replicas} for role, e in roles.items()},
            "kinds": dict.fromkeys(roles),
            "prices": costs.prices,
        },
    }


def _check(config: Config) -> None:
    """Raises ConfigError where there is nothing to choose, or the page's noise was never held to the planner's."""
    if not shards_vote(config) or not is_charged(config):
        what = f"by method {config.method}" + (" at epsilon inf" if math.isinf(config.privacy.epsilon) else "")
        raise ConfigError(
            f"--html: {what} no votes are paid for, so the page would have nothing to choose; leave it out"
        )
    if config.release.filters:
        raise ConfigError(
            "--html: the page does not know release.filters, which are set; plan such a run without --html"
        )
    if config.origin:
        raise ConfigError("--html: is for new runs; what goes on from another one is planned without it")
    privacy, votes = config.privacy, config.privacy.votes_per_record
    queries = config.evolution.generations + privacy.spare_slots
    for name, value, least, most in (
        ("privacy.epsilon", privacy.epsilon, LEAST_EPSILON, MOST_EPSILON),
        ("privacy.delta", privacy.delta, LEAST_DELTA, MOST_DELTA),
        ("votes of a record in all generations", votes * queries, 1, MOST_VOTES),
    ):
        if not least <= value <= most:
            raise ConfigError(f"--html: {name} is {value:g}, and the page has {least:g} to {most:g}; plan without it")


def _limits(config: Config, generations: int) -> dict[str, list[float]]:
    """The least and the most of each setting on the page: usual ones, and the configuration's own."""
    evolution = config.evolution
    return {
        "epsilon": [LEAST_EPSILON, MOST_EPSILON],
        "delta": [LEAST_DELTA, MOST_DELTA],
        "votes": [1, _most_votes(config)],
        "generations": [1, generations],
        "candidates": [2, max(20_000, 2 * evolution.candidates)],
        "images": [1, max(20_000, 10 * config.release.images)],
        "records": [1, 10_000_000],
    }


def _most_votes(config: Config) -> int:
    return max(4, config.privacy.votes_per_record)


def _most_generations(config: Config) -> int:
    within = MOST_VOTES // _most_votes(config) - config.privacy.spare_slots
    return max(config.evolution.generations, min(50, within))


def _always(config: Config) -> tuple[Role, ...]:
    """The roles that it needs however many themes there are."""
    bare = config.evolution.model_copy(update={"themes": ()})
    return roles_needed(config.model_copy(update={"evolution": bare}))


def _roles(config: Config) -> tuple[Role, ...]:
    """The roles that it may need: texts are also compared where they have themes."""
    holds = config.prompts.hold_subject and declaration_of(config).candidates is Candidates.TEXTS
    needed = (*_always(config), *(("text_embedder",) if holds else ()))
    return tuple(role for role in ROLES if role in needed)


def _kinds(found: Estimate, roles: Sequence[Role], prices: Priced) -> dict[Role, list[str]]:
    """Kinds of GPU that one may ask for: of the settings, of the prices, and those on which its model was measured."""
    names: dict[Role, list[str]] = {}
    for role in roles:
        engine = found.engines.of(role)
        known = [rate for rate in (*found.rates.given.rates, *found.rates.published.rates) if rate.is_of(role, engine)]
        wanted = (*engine.accelerators, *prices, *(rate.hardware for rate in known)) if engine.num_gpus else ()
        # Ray's names of kinds are single words; hardware in words is none.
        names[role] = [name for name in wanted if name not in _NOT_KINDS and re.fullmatch(r"[A-Z][\w-]*", name)]
    # Who takes turns on a GPU must ask for one kind.
    turns = found.config.runtime.take_turns
    shared = [name for role in turns for name in names[role]]
    return {role: list(dict.fromkeys(shared if role in turns else names[role])) for role in roles}


def _engine(found: Estimate, config: Config, role: Role, kinds: Sequence[str]) -> dict[str, Any]:
    engine = found.engines.of(role)
    prices = engine.options.get("prices") if role == "writer" else None
    given = Prices.model_validate(prices) if prices else None
    asked = {"": engine} | {kind: engine.model_copy(update={"accelerators": (kind,)}) for kind in kinds}
    return {
        "name": f"{engine.kind} {engine.model}",
        "batchSize": engine.batch_size,
        "gpus": engine.num_gpus,
        "cpus": engine.num_cpus,
        "accelerators": list(engine.accelerators),
        "hardware": hardware_of(config, engine, role),
        "isEndpoint": endpoint_of(engine) is not None,
        "prices": [given.input, given.output] if given else None,
        "rates": {kind: _rate(found.rates.of(role, each), each) for kind, each in asked.items()},
    }


def _rate(rate: EngineRate | None, engine: EngineConfig) -> dict[str, Any] | None:
    """Seconds of one item or output token, and whose rate that is."""
    if rate is None:
        return None
    each, assumed = rate.seconds(engine)
    told = {"hardware": rate.hardware, "measured": rate.measured, "source": rate.source, "assumed": list(assumed)}
    return {"each": each, "of": rate.of} | told


def _tokens(config: Config, generations: int) -> list[list[list[float]]]:
    """By phase and stream of texts: mean tokens of a prompt, of a text, and the most of a text."""
    longest = config.evolution.model_copy(update={"generations": generations + 1})
    made = phases(config.model_copy(update={"evolution": longest}))[:-1]
    # Of a shorter run the release takes the place of a generation, and its texts have that one's lengths.
    streams = [len(phase.streams.get("writer", ())) for phase in made]
    return [[[t.prompt, t.output, t.most_output] for t in texts] for texts in tokens_per_text(config, streams)]


def _training(training: Training | None, found: Estimate) -> dict[str, Any]:
    """What does not depend on what is chosen; a schedule has examples, or passes over the records."""
    assert training is not None, "who votes is compared with training"
    recipes = found.rates.published.recipes
    rate = training.rate
    return {
        "perS": rate.per_s if rate else None,
        "slower": list(rate.slower) if rate else [1.0, 1.0],
        "rate": f"{rate.measured}; on {rate.hardware}. {rate.source}" if rate else None,
        "assumed": list(training.assumed),
        "schedules": [
            {"name": "as configured", "examples": examples_of(found.config), "passes": None},
            *({"name": recipe.name, "examples": None, "passes": recipe.passes} for recipe in recipes),
        ],
    }


def _vote_model(survivors: float) -> dict[str, Any]:
    """What noise leaves of one vote on themes, and of one on candidates, by its signal."""
    return {
        "signals": list(_SIGNALS),
        "themes": [_rounded(shares_under_noise(signal)) for signal in _SIGNALS],
        "candidates": [_rounded(selection_under_noise(signal, survivors)) for signal in _SIGNALS],
    }


def _rounded(figures: tuple[float, float]) -> list[float]:
    return [round(float(np.nan_to_num(figure)), 5) for figure in figures]
