"""A whole run, and what its settings as a whole say about it."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from spti_ray.config.data import DataConfig, DatasetConfig, LedgerConfig, PrivacyConfig
from spti_ray.config.engines import RuntimeConfig
from spti_ray.config.evolution import EvolutionConfig
from spti_ray.config.finetune import FinetuneConfig
from spti_ray.config.prompts import PromptsConfig
from spti_ray.config.section import Section

Method = Literal["spti", "pe-image", "random", "captions", "dp-finetune"]


class ReleaseConfig(Section):
    """How many images are released, and of which texts."""

    images: int = Field(ge=1, le=100_000_000, description="Images in the release; more cost no privacy.")
    images_per_text: int = Field(default=1, ge=1, le=1000)
    texts: Literal["voted", "varied"] = Field(
        default="voted", description="varied: fresh variations of the voted texts (pe-image: images) are released."
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

    method: Method = Field(
        default="spti",
        description="spti: texts evolve; pe-image: images evolve (Private Evolution, the same renderer and gate); "
        "random: generation 0, without private data; captions: renders of private captions, NOT private; dp-finetune: "
        "DP-SGD on the renderer's model, uncertified.",
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
    def rerenders(self) -> bool:
        """Whether it only renders what another run released: post-processing, in which nobody votes."""
        return self.origin is not None and self.origin.rerender

    def certified_run(self, run_id: str) -> str:
        """Whose votes the images of run `run_id` rest on, by the id that ledger and certificate know."""
        return self.origin.run if self.origin and self.rerenders else run_id

    @property
    def uses_private_data(self) -> bool:
        return self.method != "random" and not self.rerenders

    @property
    def has_shards(self) -> bool:
        """Whether shards hold the private images; a trainer holds them all by itself."""
        return self.uses_private_data and self.method != "dp-finetune"

    @property
    def not_private(self) -> str:
        """Why nothing protects the private images in what this run makes; empty if something does."""
        if self.method == "captions":
            return "renders of captions of the private images"
        if self.uses_private_data and math.isinf(self.privacy.epsilon):
            return f"images by {self.method} without noise (epsilon inf)"
        return ""

    @property
    def uncertified(self) -> str:
        """What this run makes at its epsilon in float arithmetic, which no certificate can vouch for; else empty."""
        if self.method == "dp-finetune" and not self.not_private:
            return f"dp-finetune at epsilon {self.privacy.epsilon:g}, uncertified"
        return ""

    @property
    def stays_inside(self) -> bool:
        """Whether all that it makes is internal: there is no release."""
        return bool(self.not_private or self.uncertified)

    @property
    def is_charged(self) -> bool:
        """Whether it spends from the dataset's budget, and so gets a certificate."""
        return self.uses_private_data and not self.stays_inside

    @property
    def are_images(self) -> bool:
        """Whether candidates are images; else they are texts."""
        return self.method == "pe-image"

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
        if self.not_private and not self.privacy.allow_not_private:
            setting = "method: captions" if self.method == "captions" else "privacy.epsilon: inf"
            raise ValueError(
                f"{setting} makes {self.not_private}: that is NOT private; set privacy.allow_not_private: true to make "
                "images for internal use only"
            )
        if self.are_images and self.evolution.voting != "image":
            raise ValueError(
                f"method is pe-image, whose candidates are images, but evolution.voting is {self.evolution.voting}; "
                "set evolution.voting: image"
            )
        if self.origin and (self.method in ("captions", "dp-finetune") or math.isinf(self.privacy.epsilon)):
            raise ValueError("origin: what has no certificate starts from no release")
        if self.privacy.unit == "group" and not self.data.group_column:
            raise ValueError("privacy.unit is group, but data.group_column is not set")
        return self
