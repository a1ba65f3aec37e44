"""Dollars, from prices that were given: what nobody priced is named, not guessed."""

from __future__ import annotations

from collections.abc import Sequence

from spti_ray.config import EngineConfig
from spti_ray.config.loading import ConfigError
from spti_ray.models.endpoint_options import Prices, price
from spti_ray.models.factory import endpoint_of
from spti_ray.planning.costs.estimate import Estimate, Pools

Priced = dict[str, float]
"""US dollars by what they buy: an hour of a `gpu`, of one kind of GPU (`H100`) or of a `cpu`; an endpoint's `image`."""


def parse_prices(texts: Sequence[str]) -> Priced:
    """Prices written as `gpu=2.5`, `H100=3.2`, `cpu=0.04` or `image=0.02`.

    Raises:
        ConfigError: one is not written like that, or is no amount.
    """
    prices: Priced = {}
    for text in texts:
        name, _, amount = text.partition("=")
        try:
            prices[name.strip()] = float(amount)
        except ValueError:
            raise ConfigError(f"--price {text}: write it as gpu=2.5, in US dollars") from None
        if not name.strip() or not 0 <= prices[name.strip()] < float("inf"):
            raise ConfigError(f"--price {text}: write it as gpu=2.5, in US dollars")
    return prices


def gpu_price(prices: Priced, engine: EngineConfig) -> float | None:
    """The price of an hour of a GPU for `engine`: of the first priced kind that it accepts, else of any `gpu`."""
    return next((prices[kind] for kind in (*engine.accelerators, "gpu") if kind in prices), None)


def dollars_of(found: Estimate, pools: Pools, prices: Priced) -> tuple[dict[str, float], tuple[str, ...]]:
    """What a run on these pools would cost.

    Args:
        found: the estimate.
        pools: one of its pools. Machines are paid for as long as they are held.
        prices: as given.

    Returns:
        (US dollars by what they are for, what has no price).
    """
    dollars: dict[str, float] = {}
    unpriced: list[str] = []
    for role, hours in pools.held_gpu_h.items():
        each = prices.get("gpu") if role == "shard" else gpu_price(prices, found.engines.of(role))
        if each is None:
            unpriced.append(f"GPUs of the {role}")
        else:
            dollars["GPUs"] = dollars.get("GPUs", 0.0) + hours * each
    if "cpu" in prices:
        dollars["CPUs"] = pools.held_cpu_h * prices["cpu"]
    for work in found.roles:
        if endpoint_of(work.engine) is None:
            continue
        if work.role == "writer":
            given = work.engine.options.get("prices")
            if given:
                tokens = found.tokens
                dollars["tokens"] = price(Prices.model_validate(given), tokens.prompt, 0, tokens.output)
            else:
                unpriced.append("tokens (options.prices of the writer)")
        elif work.role == "renderer" and "image" in prices:
            dollars["images"] = work.items * prices["image"]
        else:
            unpriced.append(f"calls of the {work.role}'s endpoint")
    return dollars, tuple(unpriced)
