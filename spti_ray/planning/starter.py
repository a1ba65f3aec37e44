"""The text of a starter configuration (`spti init`), from drafted prompts and a few settings. Opens no data."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from spti_ray.config import Config, DatasetConfig
from spti_ray.config.loading import ConfigError, parse_config, parse_section
from spti_ray.io.urls import problem_of_address, problem_of_data
from spti_ray.planning.recommend import Schedule, first_in, levels_of, recommend
from spti_ray.public.drafting import Draft
from spti_ray.public.drafting_requests import MAX_WORDS, MIN_WORDS
from spti_ray.public.words import script_without_spaces

_PLACEHOLDER = "images"
_RUNTIME = {"engines": "embedded"}
_TEMPLATE = "TEMPLATE, written by no model: replace it by your own"


@dataclass(frozen=True)
class Wish:
    """What the user asked for. All of it is public; `data` is a path that is written down and never opened.

    `dataset`: the id whose budget is spent. `group`: the column of the groups, such as patients, that are the privacy
    units; `patients`: how many of them, and `private_records`: how many records, are publicly stated to be there.

    Raises:
        ConfigError: the domain, a label, a path or an address is nothing that a configuration may hold.
    """

    domain: str
    dataset: str
    labels: tuple[str, ...] = ()
    data: str | None = None
    epsilon: float = 1.0
    delta: float = 1e-6
    private_records: int | None = None
    group: str | None = None
    patients: int | None = None
    runtime: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if len(self.domain.split()) < 1 or not any(character.isalpha() for character in self.domain):
            raise ConfigError("DOMAIN: say in a few words what the images are, such as 'X-ray images of hands'")
        if len(self.domain.split()) > 12 or not self.domain.isprintable():
            raise ConfigError("DOMAIN: one line of at most 12 words, such as 'X-ray images of hands'")
        for text in (self.domain, *self.labels):
            if script := script_without_spaces(text):
                where = "DOMAIN" if text == self.domain else "--labels"
                raise ConfigError(
                    f"{where}: is in {script}, a script without spaces between words, which can't be counted yet; say "
                    "it in a language with spaces"
                )
        # It is written down, and the configuration is public.
        address = (self.runtime or {}).get("address")
        for problem in (problem_of_data(self.data or "", "--data"), problem_of_address(str(address or ""))):
            if problem:
                raise ConfigError(problem)
        if not all(label.strip() and label.isprintable() for label in self.labels):
            raise ConfigError("--labels: give names separated by commas, such as tumour,normal")
        try:
            parse_section(DatasetConfig, {"id": self.dataset})
        except ConfigError as error:
            raise ConfigError(f"--dataset: {error}") from None
        if not self.epsilon > 0:
            raise ConfigError(f"privacy.epsilon: {self.epsilon:g}: give a number above 0")
        if self.patients is not None and self.group is None:
            raise ConfigError("--patients: how many groups there are; name their column, as in --group patient_id")
        if self.private_records is not None and self.group is not None:
            raise ConfigError("--private-records: with --group a group votes once, so say how many: --patients")
        if self.group is not None and not (self.group.strip() and self.group.isprintable()):
            raise ConfigError("--group: give the name of a column, such as patient_id")

    @property
    def units(self) -> int | None:
        """How many votes are publicly stated to be there: of records, or of groups."""
        return self.private_records if self.group is None else self.patients


def starter(wish: Wish, draft: Draft, drafted_by: str | None) -> str:
    """The text of the YAML file, with comments.

    Args:
        wish: what the user asked for.
        draft: its prompts.
        drafted_by: name of the language model that wrote the draft; None if it is made of templates alone.

    Raises:
        ConfigError: the settings do not go together, such as labels that are named twice.
    """
    schedule, warning = _schedule(wish, draft)
    who = f"and by {drafted_by}, which was shown that line and nothing else" if drafted_by else "and from templates"
    head = (
        f"A starter configuration, written by `spti init` from one line ({wish.domain}) {who}. Read it, and change "
        "what you know better."
    )
    what = "records" if wish.group is None else "groups"
    known = f"for about {wish.units} {what}" if wish.units else "see `spti plan --recommend`"
    text = _template().render(
        wish=wish,
        draft=draft,
        head=textwrap.wrap(head, 116, break_on_hyphens=False),
        path=wish.data or _PLACEHOLDER,
        lifetime_epsilon=_float(2 * wish.epsilon),
        delta=_float(wish.delta),
        schedule=schedule,
        themes=list(levels_of(schedule.themes)),
        known=known,
        warning=textwrap.wrap(f"WARNING: {warning}", 114, break_on_hyphens=False) if warning else [],
        min_words=MIN_WORDS,
        max_words=MAX_WORDS,
        runtime=textwrap.indent(yaml.safe_dump(dict(wish.runtime or _RUNTIME), sort_keys=False).strip(), "  "),
    )
    parse_config(yaml.safe_load(text))
    return text


def schedule_warning(wish: Wish, draft: Draft) -> str | None:
    """What is wrong with any schedule for the stated number of records."""
    return _schedule(wish, draft)[1]


def _template() -> jinja2.Template:
    # YAML, not HTML: `_scalar` quotes what needs it.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "scalar": _scalar,
        "listed": _listed,
        "mapping": lambda values: "{" + ", ".join(f"{name}: {_scalar(value)}" for name, value in values.items()) + "}",
        "note": lambda line, note: f"{line:<28}  # {note}" if note else line,
        "mark": lambda _: _TEMPLATE,
        "marked": _marked,
    }
    return environment.get_template("starter.yaml.j2")


def _schedule(wish: Wish, draft: Draft) -> tuple[Schedule, str | None]:
    """What is recommended for the stated number of records, and a warning; without one, for some 600 at epsilon 1."""
    themes = first_in(max(80, 10 * len(wish.labels)))
    default = Schedule(max(640, 80 * len(wish.labels)), themes, votes_per_record=1)
    if wish.units is None:
        return default, None
    found = recommend(_bare(wish, draft, default), wish.units)
    return Schedule(found.best.candidates, found.best.themes, found.best.votes_per_record), found.warning


def _bare(wish: Wish, draft: Draft, schedule: Schedule) -> Config:
    """A configuration with what a recommendation depends on, and no more."""
    return parse_config(
        {
            "data": {"path": _PLACEHOLDER},
            "dataset": {"id": wish.dataset},
            "privacy": {"epsilon": wish.epsilon, "delta": wish.delta, "votes_per_record": schedule.votes_per_record},
            "evolution": {
                "candidates": schedule.candidates,
                "generations": schedule.generations,
                "labels": [{"name": label} for label in wish.labels],
            },
            "prompts": {"domain": wish.domain, "examples": draft.examples},
            "release": {"images": 1},
        }
    )


def _listed(values: Sequence[str], indent: int = 6) -> str:
    """A flow sequence over as many lines as it needs, none of which breaks a value apart."""
    margin = " " * indent
    lines, line = [], f"{margin}["
    for i, value in enumerate(values):
        item = _scalar(value) + ("]" if i == len(values) - 1 else ", ")
        if len(line) + len(item.rstrip()) > 118:
            lines.append(line.rstrip())
            line = f"{margin} "
        line += item
    return "\n".join([*lines, line])


def _marked(draft: Draft, name: str) -> str:
    if name in draft.templates:
        return _TEMPLATE
    return "some are TEMPLATES, written by no model: replace them" if f"some {name}" in draft.templates else ""


def _float(value: float) -> str:
    """As YAML 1.1 reads it as a number: with a point before the exponent."""
    text = f"{value:g}"
    return text if "." in text or "e" not in text else text.replace("e", ".0e")


def _scalar(value: str) -> str:
    """The value as a YAML scalar on one line, that can stand in a flow sequence too."""
    dumped = yaml.safe_dump([value], default_flow_style=True, width=10_000, allow_unicode=True).strip()
    return dumped[1:-1]
