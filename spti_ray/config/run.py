"""A whole run, and what its settings as a whole say about it."""

from __future__ import annotations

import math
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from spti_ray.config.card import CardConfig
from spti_ray.config.data import DataConfig, DatasetConfig, LedgerConfig, PrivacyConfig
from spti_ray.config.engines import RuntimeConfig
from spti_ray.config.evolution import EvolutionConfig
from spti_ray.config.filters import FiltersConfig
from spti_ray.config.finetune import FinetuneConfig
from spti_ray.config.method_traits import (
    candidates_are_images,
    declaration_of,
    method_has_votes,
    why_not_private,
)
from spti_ray.config.prompts import PromptsConfig
from spti_ray.config.provenance import ProvenanceConfig
from spti_ray.config.section import Section
from spti_ray.methods import METHODS, Candidates, Protection
from spti_ray.types import PNG_LEVEL


def _registered(name: Any) -> Any:
    """Refuse what is no method, with the words that pydantic has for a `Literal`."""
    if isinstance(name, str) and name in METHODS:
        return name
    *others, last = (repr(known) for known in METHODS)
    raise PydanticCustomError(
        "literal_error", "Input should be {expected}", {"expected": f"{', '.join(others)} or {last}"}
    )


MethodName = Annotated[str, BeforeValidator(_registered), WithJsonSchema({"enum": list(METHODS), "type": "string"})]
"""The name of a registered method."""


class ReleaseConfig(Section):
    """How many images are released, of which texts, and what their data card says."""

    images: int = Field(ge=1, le=100_000_000, description="Images in the release; more cost no privacy.")
    images_per_text: int = Field(default=1, ge=1, le=1000)
    texts: Literal["voted", "varied"] = Field(
        default="voted", description="varied: fresh variations of the voted texts (pe-image: images) are released."
    )
    filters: FiltersConfig | None = Field(
        default=None, description="Renders that are not released, and replaced; none by default. No privacy is spent."
    )
    card: CardConfig = CardConfig()
    provenance: ProvenanceConfig = ProvenanceConfig()
    png_level: int = Field(
        default=PNG_LEVEL,
        ge=0,
        le=9,
        description="How hard released images are compressed, all without loss: 1 to 9 as in zlib; 0 takes a tenth of "
        "the time of 6, and some 2 to 50 % more room.",
    )


class OriginConfig(Section):
    """The finished run that this one starts from; `spti refine` writes it."""

    run: str = Field(min_length=1, description="Its id, from its run.yaml.")
    path: str = Field(min_length=1, description="Its folder.")
    rerender: bool = Field(
        default=False, description="Only render its texts: no vote, no charge, and the certificate is its own."
    )
    generation: int = Field(
        default=0, ge=0, description="Number of the first generation: it made those before, so no id comes twice."
    )


class Config(Section):
    """A whole run."""

    method: MethodName = Field(
        default=next(iter(METHODS)),
        description="; ".join(f"{method.name}: {method.help}" for method in METHODS.values()) + ".",
    )
    data: DataConfig
    dataset: DatasetConfig
    privacy: PrivacyConfig
    evolution: EvolutionConfig
    prompts: PromptsConfig
    release: ReleaseConfig
    finetune: FinetuneConfig = FinetuneConfig()
    ledger: LedgerConfig = LedgerConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    title: Annotated[str, Field(max_length=200)] = "DP synthetic images"
    origin: OriginConfig | None = Field(default=None, description="Of a run by `spti refine`: what it starts from.")

    @property
    def generation_numbers(self) -> range:
        """The generations by number. A run that goes on from another one goes on counting."""
        first = self.origin.generation if self.origin else 0
        return range(first, first + self.evolution.generations)

    @property
    def asks_label_shares(self) -> bool:
        """Whether its generation 0 asks how many records each label has; a run that goes on has its origin's shares."""
        return self.evolution.label_shares == "voted" and self.origin is None

    @property
    def candidate_generations(self) -> range:
        """The generations whose candidates are voted on, by number: all but that which asks for the labels' shares."""
        return self.generation_numbers[int(self.asks_label_shares) :]

    @property
    def rerenders(self) -> bool:
        """Whether it only renders what another run released: post-processing, in which nobody votes."""
        return self.origin is not None and self.origin.rerender

    def certified_run(self, run_id: str) -> str:
        """Whose votes the images of run `run_id` rest on, by the id that ledger and certificate know."""
        return self.origin.run if self.origin and self.rerenders else run_id

    @property
    def unit_in_words(self) -> str:
        """What one vote vector protects, as ledger and certificate name it: `record`, or `group (patient_id)`."""
        return "record" if self.privacy.unit == "record" else f"group ({self.data.group_column})"

    @model_validator(mode="after")
    def _plannable(self) -> Config:
        quota = self.evolution.quota(self.evolution.candidates)
        smallest = min(quota, key=lambda label: quota[label])
        k = self.privacy.votes_per_record
        if quota[smallest] < k:
            where = f" of label {smallest!r}" if self.evolution.labels else ""
            raise ValueError(
                f"privacy.votes_per_record is {k}, but evolution.candidates gives {quota[smallest]} candidates{where}"
            )
        first = self.evolution.first_with_candidates
        for level, count in enumerate(self.evolution.themes):
            for label, themes in self.evolution.themes_per_label(first + level).items():
                where = f" of label {label!r}" if self.evolution.labels else ""
                if not k <= themes < quota[label]:
                    raise ValueError(
                        f"evolution.themes: {count} gives {themes} themes{where}, which must be at least "
                        f"privacy.votes_per_record ({k}) and fewer than its {quota[label]} candidates"
                    )
        self._check_vocabulary()
        self._check_label_attributes()
        self._check_label_shares()
        with_candidates = self.generation_numbers.stop - self.evolution.first_with_candidates
        if len(self.evolution.themes) > with_candidates:
            but = " that have candidates" if self.evolution.first_with_candidates else ""
            raise ValueError(
                f"evolution.themes has {len(self.evolution.themes)} levels, more than the run's "
                f"{with_candidates} generations{but}: each level is one of them"
            )
        method, unprotected = declaration_of(self), why_not_private(self)
        if unprotected and not self.privacy.allow_not_private:
            setting = f"method: {method.name}" if method.protection is Protection.NONE else "privacy.epsilon: inf"
            raise ValueError(
                f"{setting} makes {unprotected}: that is NOT private; set privacy.allow_not_private: true to make "
                "images for internal use only"
            )
        if candidates_are_images(self) and self.evolution.voting != "image":
            raise ValueError(
                f"method is {method.name}, whose candidates are images, but evolution.voting is "
                f"{self.evolution.voting}; set evolution.voting: image"
            )
        has_certificate = method.protection in (Protection.GATE, Protection.NOT_NEEDED)
        if self.origin and (not has_certificate or math.isinf(self.privacy.epsilon)):
            raise ValueError("origin: what has no certificate starts from no release")
        if self.privacy.unit == "group" and not self.data.group_column:
            raise ValueError("privacy.unit is group, but data.group_column is not set")
        return self

    def _check_vocabulary(self) -> None:
        """Raises ValueError if the first themes can't be the values of `evolution.vocabulary`."""
        evolution, name = self.evolution, self.evolution.vocabulary
        if name is None:
            return
        values = self.prompts.attributes.get(name)
        if values is None:
            known = ", ".join(self.prompts.attributes) or "none"
            raise ValueError(f"evolution.vocabulary: prompts.attributes has no list {name!r}; there are: {known}")
        if name == "subject" and evolution.labels:
            raise ValueError("evolution.vocabulary: labels take the place of the list 'subject'; name another list")
        if declaration_of(self).candidates is not Candidates.TEXTS or not method_has_votes(self):
            raise ValueError(f"evolution.vocabulary is for votes on texts, of which method {self.method} has none")
        twice = sorted(
            value
            for value, count in Counter(" ".join(value.casefold().split()) for value in values).items()
            if count > 1
        )
        if twice:
            raise ValueError(f"evolution.vocabulary: {name!r} has {twice[0]!r} twice; each theme is asked about once")
        wanted = len(values) * len(evolution.label_names)
        if evolution.themes[:1] != (wanted,):
            labels = f" for each of {len(evolution.labels)} labels" if evolution.labels else ""
            raise ValueError(
                f"evolution.vocabulary: {name!r} has {len(values)} values{labels}, so evolution.themes must begin with "
                f"{wanted}"
            )

    def _check_label_attributes(self) -> None:
        """Raises ValueError if there are lists of a label that is none, or in the place of the vocabulary."""
        evolution, own = self.evolution, self.prompts.label_attributes
        for name in own:
            if name not in {label.name for label in evolution.labels}:
                raise ValueError(f"prompts.label_attributes: {name!r} is none of evolution.labels")
        if evolution.vocabulary and any(evolution.vocabulary in lists for lists in own.values()):
            raise ValueError(f"evolution.vocabulary: {evolution.vocabulary!r} must be one list for all labels")

    def _check_label_shares(self) -> None:
        """Raise ValueError if voted shares of labels are asked for, and can't be had."""
        evolution, k = self.evolution, self.privacy.votes_per_record
        if evolution.label_shares != "voted":
            return
        where = "evolution.label_shares is voted, but"
        if not method_has_votes(self):
            raise ValueError(f"{where} with method: {self.method} nobody votes; leave it public, or use another method")
        if len(evolution.labels) < 2:
            raise ValueError(
                f"{where} evolution.labels names {len(evolution.labels) or 'no'} label{'s' * (not evolution.labels)}; "
                "name at least 2, or leave it public"
            )
        if not self.asks_label_shares:
            return
        if evolution.generations < 2:
            raise ValueError(
                f"{where} evolution.generations is {evolution.generations}, and the first of them asks for the shares "
                "alone; set at least 2"
            )
        if k > len(evolution.labels):
            raise ValueError(
                f"{where} privacy.votes_per_record ({k}) is larger than the number of labels "
                f"({len(evolution.labels)}), which are what its first generation votes on; lower it, or leave it public"
            )
