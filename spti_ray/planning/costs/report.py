"""The costs of a run before it runs, for people and as JSON: every figure an estimate, with where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

from spti_ray.config import Config
from spti_ray.config.method_traits import shards_vote, trains
from spti_ray.io.text_table import Column, text_table
from spti_ray.planning.costs.cpu_stages import SOURCE, CpuStage
from spti_ray.planning.costs.estimate import Estimate, Pools, RoleWork, estimate
from spti_ray.planning.costs.measured import load_rates
from spti_ray.planning.costs.money import Priced, dollars_of, gpu_price, parse_prices
from spti_ray.planning.costs.rates import Measurement, where
from spti_ray.planning.costs.storage import Stored, storage_of
from spti_ray.planning.costs.training import Training, training_of

_WIDTH = 120

NOT_IN_IT = (
    "texts that are asked for again, starting Ray, loading models, reading the records, votes and noise, moving data"
)


@dataclass(frozen=True)
class Costs:
    """A run's estimate, what it stores, what DP training would take instead, and the prices that were given."""

    found: Estimate
    storage: tuple[Stored, ...]
    training: Training | None
    prices: Priced

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values, for `spti plan --json`."""
        found = self.found
        return {
            "estimate": f"nothing was run; not in it: {NOT_IN_IT}",
            "private_records": found.private_records,
            "phases": [
                {"name": phase.name, "items": {role: phase.items(role) for role in phase.streams}}
                for phase in found.phases
            ],
            "roles": {work.role: _role(work) for work in found.roles},
            "tokens": {name: round(count) for name, count in asdict(found.tokens).items()},
            "pools": [self._pools(pools) for pools in found.pools],
            "cpu_stages": [asdict(stage) for stage in found.cpu_stages],
            "storage": [asdict(stored) for stored in self.storage],
            "training": _training(self.training) if self.training else None,
        }

    def _pools(self, pools: Pools) -> dict[str, Any]:
        dollars, unpriced = dollars_of(self.found, pools, self.prices)
        return asdict(pools) | {"dollars": dollars, "unpriced": unpriced}

    def line(self) -> str:
        """The whole in one line."""
        found = self.found
        hours = sum(work.engine_h or 0.0 for work in found.roles)
        known = "" if found.is_whole else ", as far as it is known"
        return (
            f"costs       an estimate: {_hours(hours)} of engines, {_hours(self._gpu_h)} of GPUs{known}; "
            f"{_bound(found.pools[0])} {_hours(found.pools[0].wall_h)}; --costs says what of, and whose rates these are"
        )

    @property
    def _gpu_h(self) -> float:
        return sum(work.gpu_h or 0.0 for work in self.found.roles)

    def lines(self) -> list[str]:
        """For people: a table of the roles, totals, storage, training and the source of each rate."""
        found = self.found
        return [
            "Costs, estimated from public settings; nothing was run.",
            *wrap(f"Not in it: {NOT_IN_IT}.", _WIDTH),
            "",
            *text_table(_COLUMNS, (_row(work) for work in found.roles)),
            "",
            *(part for line in self._explained() for part in wrap(line, _WIDTH, subsequent_indent=" " * 12)),
        ]

    def _explained(self) -> list[str]:
        found = self.found
        return [
            *self._totals(),
            *(_headed("CPU", _cpu(stage)) for stage in found.cpu_stages),
            *((_headed("CPU", f"rates: {SOURCE}"),) if found.cpu_stages else ()),
            *(_headed("storage", _stored(stored)) for stored in self.storage),
            *(self._training() if self.training else ()),
            *(_headed("rate", _source(work)) for work in found.roles if work.rate),
            *(_headed("UNKNOWN", line) for line in _unknown(found)),
        ]

    def _totals(self) -> list[str]:
        found, lines = self.found, list[str]()
        if found.tokens.output:
            tokens = found.tokens
            lines.append(
                f"tokens      about {_count(tokens.prompt)} of prompts, about {_count(tokens.output)} of texts "
                f"(at most {_count(tokens.most_output)}): 4 characters, or 3/4 of a word, a token; texts of the length "
                "asked for"
            )
        for pools in found.pools:
            size = ", ".join(f"{count} {role}" for role, count in pools.engines.items())
            waits = f", waiting for the {' and '.join(pools.waits_for)}" if pools.waits_for else ""
            held = sum(pools.held_gpu_h.values())
            lines.append(
                f"wall time   {_bound(pools)} {_hours(pools.wall_h)} {pools.name} ({size}){waits}"
                + (f"; {_hours(held)} of GPUs held" if held else "")
            )
            dollars, unpriced = dollars_of(found, pools, self.prices)
            if dollars:
                parts = ", ".join(f"{what} {amount:,.2f}" for what, amount in dollars.items())
                lines.append(f"dollars     {_bound(pools)} {sum(dollars.values()):,.2f} {pools.name}: {parts}")
            if unpriced:
                lines.append(
                    f"dollars     left out: {', '.join(unpriced)}; give --price (gpu=2.5, H100=3.2, image=0.02)"
                )
        return lines

    def _training(self) -> list[str]:
        training, found = self.training, self.found
        assert training is not None
        price = gpu_price(self.prices, found.engines.renderer)
        lines = ["training    by DP-SGD instead (method: dp-finetune), and then the images of the release:"]
        for index, schedule in enumerate(training.schedules):
            lines.append(f"            {schedule.name}: {_count(schedule.examples)} examples, forward and back")
            if training.hours:
                hours = training.hours[index]
                gpus = f" of {training.gpus:g} GPU(s)" if training.gpus else " of one engine"
                dollars = _span((h * training.gpus * price for h in hours), "{:,.2f}") if price else ""
                lines[-1] += f": {_span(hours)} h{gpus}" + (f", {dollars} dollars" if dollars else "")
            if training.ratios:
                most = "at most " if training.is_bound else ""
                lines[-1] += f"; {most}{_span(training.ratios[index])} times as much work as this run"
            lines += [f"            assumed: {line}" for line in schedule.assumed]
        if training.even_at:
            passes = ""
            if found.private_records:
                passes = (
                    f", {_span(count / found.private_records for count in training.even_at)} passes over the records"
                )
            least = "(at least) " if training.is_bound else ""
            lines.append(
                f"savings     the run saves work against any training of more than {least}"
                f"{_span(training.even_at, '{:,.0f}')} examples{passes}"
            )
        lines += [f"            assumed: {line}" for line in training.assumed]
        if training.rate:
            lines.append(f"            rate: {_measurement(training.rate)}")
        if training.needed and shards_vote(found.config):
            lines.append(f"            to compare all of it, this is needed: {'; '.join(training.needed)}")
        return lines


def costs_of(
    config: Config, rates: Sequence[Path] = (), prices: Sequence[str] = (), private_records: int | None = None
) -> Costs:
    """Estimate a configuration's costs.

    Args:
        config: the configuration.
        rates: finished runs, what `spti bench` left, or files of rates; the first that has a rate counts.
        prices: such as `gpu=2.5`, in US dollars an hour.
        private_records: how many records there are, as stated publicly; never counted.

    Raises:
        ConfigError: rates or prices that can't be read.
    """
    found = estimate(config, load_rates(tuple(rates)), private_records)
    training = training_of(found) if shards_vote(config) or trains(config) else None
    return Costs(found, storage_of(found), training, parse_prices(prices))


def _role(work: RoleWork) -> dict[str, Any]:
    return {
        "engine": work.name,
        "items": work.items,
        "units": work.batches,
        "private_items": work.private_items,
        "engine_h": work.engine_h,
        "gpu_h": work.gpu_h,
        "rate": work.rate.model_dump(mode="json") if work.rate else None,
        "assumed": work.assumed,
    }


def _training(training: Training) -> dict[str, Any]:
    rate = training.rate.model_dump(mode="json") if training.rate else None
    return vars(training) | {"rate": rate, "schedules": [asdict(schedule) for schedule in training.schedules]}


_COLUMNS = (
    *(Column("role"), Column("engine")),
    *(Column(heading, is_number=True) for heading in ("items", "units", "private", "of engines", "of GPUs")),
)


def _row(work: RoleWork) -> list[str]:
    private = "?" if work.private_items is None else str(work.private_items)
    engines, gpus = ("unknown" if hours is None else _hours(hours) for hours in (work.engine_h, work.gpu_h))
    return [work.role, work.name, str(work.items), str(work.batches), private, engines, gpus]


def _unknown(found: Estimate) -> list[str]:
    lines = [
        f"the {work.role}'s rate: none is known of {work.name} {where(work.engine)}; measure "
        "it (spti bench --config CONFIG --only engines), or give --rates a run's folder or a file of rates"
        for work in found.unknown
    ]
    if any(work.private_items is None for work in found.roles):
        lines.append("work on the private images: give --private-records, a publicly stated order of magnitude")
    return lines


def _source(work: RoleWork) -> str:
    assert work.rate is not None
    each = 1 / work.rate.seconds(work.engine)[0]
    unit = "output tokens" if work.rate.of == "tokens" else "items"
    assumed = f"; assumed: {'; '.join(work.assumed)}" if work.assumed else ""
    return f"{work.role}: {each:.4g} {unit}/s{assumed}; {_measurement(work.rate)}"


def _measurement(rate: Measurement) -> str:
    return f"{rate.measured}; on {rate.hardware}. {rate.source}"


def _bound(pools: Pools) -> str:
    """Whether the run takes at least this; else rates are of other GPUs, or of one item at a time."""
    return "at least" if pools.is_least else "about"


def _cpu(stage: CpuStage) -> str:
    return f"{_hours(stage.cpu_s / 3600)} of one core beside the {stage.role}: {stage.what}, {_count(stage.images)}"


def _stored(stored: Stored) -> str:
    size = "unknown" if stored.bytes is None else _bytes(stored.bytes)
    return f"{size} {stored.what} in {stored.where} ({stored.how})"


def _headed(what: str, text: str) -> str:
    """A line whose text begins at the column of `subsequent_indent`."""
    return f"{what:<12}{text}"


def _hours(hours: float) -> str:
    """With its unit: hours, minutes or seconds."""
    for size, unit in ((1.0, "h"), (1 / 60, "min"), (1 / 3600, "s")):
        if hours >= size or unit == "s":
            return f"{hours / size:.3g} {unit}" if hours else "0"
    raise AssertionError


def _count(number: float) -> str:
    return f"{round(number):,}"


def _bytes(number: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            return f"{number:.3g} {unit}"
        number /= 1000
    raise AssertionError


def _span(ends: Any, form: str | None = None) -> str:
    least, most = ((form or ("{:,.0f}" if end >= 100 else "{:.3g}")).format(end) for end in ends)
    return least if least == most else f"{least} to {most}"
