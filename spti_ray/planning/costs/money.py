"""Prices, as given: nothing costs anything that nobody priced."""

from __future__ import annotations

from collections.abc import Sequence

from spti_ray.config import EngineConfig
from spti_ray.config.loading import ConfigError
from spti_ray.models.endpoint_options import Prices, price
from spti_ray.models.factory import endpoint_of
from spti_ray.planning.costs.estimate import Estimate, Pools

Priced = dict[str, float]
"""US dollars: of an hour of a `gpu`, of one by its kind (`H100`), of a `cpu`; of an `image` of an endpoint."""


def parse_prices(texts: Sequence[str]) -> Priced:
    """`gpu=2.5`, `H100=3.2`, `cpu=0.04`, `image=0.02`. Raises ConfigError."""
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
    """Of an hour of a GPU of the kind that the engine wishes for, else of any."""
    return next((prices[kind] for kind in (*engine.accelerators, "gpu") if kind in prices), None)


def dollars_of(found: Estimate, pools: Pools, prices: Priced) -> tuple[dict[str, float], tuple[str, ...]]:
    """(US dollars by what they are for, what has no price). Machines are paid while they are held."""
    dollars: dict[str, float] = {}
    unpriced: list[str] = []
    for role, hours in pools.held_gpu_h.items():
        each = gpu_price(prices, found.engines.of(role))
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
