"""How candidates evolve: generations, votes, selection, variations, labels."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from spti_ray.config.section import Section
from spti_ray.types import SINGLE_LABEL, Space, split_by_share


class LabelConfig(Section):
    """A public label. Its candidates are voted on only by records with this label."""

    name: str = Field(min_length=1)
    share: float = Field(
        default=1.0,
        gt=0,
        description="Share of candidates and images; public, never counted from data (but see label_shares).",
    )
    hint: str | None = Field(default=None, description="How prompts name it; the label's name by default.")

    @property
    def text(self) -> str:
        """How prompts name it."""
        return self.hint or self.name


class VariationConfig(Section):
    """How texts are varied: rephrased, or with blanks that the writer fills in."""

    rephrase_share: float = Field(
        default=0.5, ge=0, le=1, description="Share of children by rephrasing; the rest fill blanks."
    )
    mask_share: float = Field(default=0.4, gt=0, lt=1, description="Share of the words that become blanks.")
    contrast: int = Field(
        default=0,
        ge=0,
        le=32,
        description="Prompts show so many texts that had the most noised votes in the last generation, and as many "
        "that had the least.",
    )
    temperature: float = Field(default=1.0, gt=0, le=5)
    top_p: float = Field(default=0.95, gt=0, le=1)


class ImageVariationConfig(Section):
    """How far image-to-image goes from the parent's image: Private Evolution's variation degree, which decreases."""

    first_strength: float = Field(default=0.9, gt=0, le=1, description="Of generation 1; at 1 nothing is left of it.")
    last_strength: float = Field(default=0.5, gt=0, le=1, description="Of the last generation.")

    @model_validator(mode="after")
    def _decreases(self) -> ImageVariationConfig:
        if self.last_strength > self.first_strength:
            raise ValueError(
                f"last_strength {self.last_strength:g} is larger than first_strength {self.first_strength:g}: "
                "variations must come nearer to their parents, not go further from them"
            )
        return self


class EvolutionConfig(Section):
    """How candidates evolve: generations, votes, selection and variation."""

    generations: int = Field(ge=1, le=1000, description="T: noised histograms, and so privacy charges.")
    candidates: int = Field(ge=1, le=1_000_000, description="K: texts voted on in each generation.")
    voting: Literal["image", "caption", "joint"] = "image"
    joint_image_weight: float = Field(
        default=0.5, ge=0, le=1, description="Weight of the image similarity in joint voting."
    )
    themes: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        default=(),
        description="In how many themes, groups of similar candidates, each of the first generations is voted on; "
        "later ones, and all if empty, candidate by candidate. With label_shares: voted the first is generation 1.",
    )
    vocabulary: str | None = Field(
        default=None,
        description="Name of a list of prompts.attributes: the first vote on themes is on its values, each of which "
        "stands for the candidates that were asked for with it; by default themes are clusters of embeddings.",
    )
    lookahead: int = Field(
        default=0, ge=0, le=64, description="L > 0: a candidate is the mean embedding of L variations."
    )
    selection: Literal["rank", "sample"] = "rank"
    shrinkage: Literal["none", "family"] = Field(
        default="none",
        description="family: selection goes by noised counts that are shrunk towards those of parent and siblings.",
    )
    survivors: float = Field(
        default=0.4, gt=0, le=1, description="Share of the candidates that are selected as parents."
    )
    keep_survivors: bool = Field(
        default=True, description="Survivors stay candidates; else their children replace them."
    )
    labels: tuple[LabelConfig, ...] = Field(
        default=(), description="Public label list, names or {name, share, hint}; empty: one population."
    )
    label_shares: Literal["public", "voted"] = Field(
        default="public",
        description="voted: generation 0 asks only how many records each label has, and the noised counts are the "
        "shares of all that follows; public: those of labels.",
    )
    variation: VariationConfig = VariationConfig()
    image_variation: ImageVariationConfig = ImageVariationConfig()

    @field_validator("labels", mode="before")
    @classmethod
    def _named(cls, labels: Any) -> Any:
        """`[cat, dog]` is short for `[{name: cat}, {name: dog}]`, which is what a run stores."""
        if not isinstance(labels, (list, tuple)):
            return labels
        return [{"name": label} if isinstance(label, str) else label for label in labels]

    @field_validator("labels")
    @classmethod
    def _unique(cls, labels: tuple[LabelConfig, ...]) -> tuple[LabelConfig, ...]:
        names = [label.name for label in labels]
        if len(set(names)) != len(names):
            raise ValueError("label names must differ from one another")
        return labels

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of the labels; one name that stands for all where there are no labels."""
        return tuple(label.name for label in self.labels) or (SINGLE_LABEL,)

    @property
    def first_with_candidates(self) -> int:
        """The number of the first generation whose candidates are voted on, which RANDOM_API makes."""
        return 1 if self.label_shares == "voted" else 0

    def quota(self, total: int) -> dict[str, int]:
        """How many of `total` images, or themes, each label gets by its share."""
        shares = [label.share for label in self.labels] or [1.0]
        return dict(zip(self.label_names, split_by_share(total, shares), strict=True))

    def candidates_per_label(self) -> dict[str, int]:
        """How many candidates of each label a generation has: its quota, and at least one.

        Public shares that give less are refused with the configuration; those that were voted can be any. A label
        without a candidate could have no image, even where its share of them is one.
        """
        quota = self.quota(self.candidates)
        for label in [label for label, count in quota.items() if not count]:
            richest = max(quota, key=lambda name: quota[name])
            if quota[richest] > 1:
                quota[richest] -= 1
                quota[label] = 1
        return quota

    def survivors_per_label(self) -> dict[str, int]:
        """How many candidates of each label are selected in a generation: the share, and at least one."""
        quota = self.candidates_per_label()
        return {label: min(count, max(1, round(count * self.survivors))) for label, count in quota.items()}

    def themes_per_label(self, generation: int) -> dict[str, int]:
        """How many themes of each label a generation is voted on in; empty if it is candidate by candidate."""
        number = self.num_themes(generation)
        if number and self.vocabulary and generation == self.first_with_candidates:
            # Each label has all values.
            return dict.fromkeys(self.label_names, number // len(self.label_names))
        # The share of a label, if it was voted, may be too small for a theme of its own.
        return {label: max(1, count) for label, count in self.quota(number).items()} if number else {}

    def asked(self, generation: int) -> int:
        """How many themes or candidates a generation is voted on in; how many labels, if it asks for their shares."""
        if generation < self.first_with_candidates:
            return len(self.labels)
        return self.num_themes(generation) or self.candidates

    def num_themes(self, generation: int) -> int:
        """How many themes a generation is voted on in, or 0; `themes` begins with the first that has candidates."""
        level = generation - self.first_with_candidates
        return self.themes[level] if 0 <= level < len(self.themes) else 0

    def image_strength(self, generation: int, generations: int | None = None) -> float:
        """Strength of the image variations that are made for `generation`, which falls in equal steps.

        Args:
            generation: 1 is the first with variations. Those for the release come after the last generation and have
                its strength.
            generations: How many there are with candidates; all by default.
        """
        degrees, total = self.image_variation, generations or self.generations
        done = 1.0 if generation >= total else (generation - 1) / max(1, total - 2)
        return (1 - done) * degrees.first_strength + done * degrees.last_strength

    @property
    def spaces(self) -> dict[Space, float]:
        """The embedding spaces in which candidates are voted on, and their weights, which sum to 1."""
        if self.voting == "image":
            return {"image": 1.0}
        if self.voting == "caption":
            return {"text": 1.0}
        return {"image": self.joint_image_weight, "text": 1.0 - self.joint_image_weight}
