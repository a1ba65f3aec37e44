"""What the writer is told: the domain, examples, and the lengths of texts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from spti_ray.config.section import Section


class RephraseExample(Section):
    """A text and a rephrasing of it, as the writer is shown them."""

    text: str
    new: str


class FillExample(Section):
    """A text with blanks and the text filled in, as the writer is shown them."""

    blanks: str = Field(description="The text with `_` for each masked word.")
    filled: str


class PromptsConfig(Section):
    """Public prompts. All of it is written by people who have not looked at the private images."""

    domain: str = Field(description="What the images are, in a few words: 'stickers of things'.")
    attributes: dict[str, tuple[str, ...]] = Field(
        default={}, description="Lists from which RANDOM_API draws one value each; keys are shown to the writer."
    )
    label_attributes: dict[str, dict[str, tuple[str, ...]]] = Field(
        default={},
        description="By label, lists for its texts alone: beside those of `attributes`, or in place of one of that "
        "name. A label's `subject` is the label itself.",
    )
    examples: tuple[str, ...] = Field(
        default=(), description="Texts in the wanted style, for RANDOM_API's few-shot block."
    )
    example_attributes: tuple[dict[str, str], ...] = Field(default=(), description="Attribute values of each example.")
    rephrase_examples: tuple[RephraseExample, ...] = ()
    fill_examples: tuple[FillExample, ...] = ()
    min_words: int = Field(default=2, ge=1)
    max_words: int = Field(default=16, ge=1)
    min_target_words: int | None = Field(
        default=None, ge=1, description="Least length that the writer is asked for; min_words by default."
    )
    length_deviation: float | None = Field(
        default=None,
        gt=0,
        description="Standard deviation, in words, of a child's target length from its parent's; "
        "by default a word or two.",
    )
    sentences: int = Field(default=1, ge=1, le=20, description="Sentences of an answer that are kept.")
    max_tokens: int | None = Field(
        default=None, ge=4, description="Most tokens of an answer; by default what its target length needs."
    )
    max_tokens_rendered: Annotated[int, Field(ge=8)] | Literal["window", "none"] = Field(
        default="window",
        description="Most tokens of a text, as the renderer's text encoder counts them: longer texts are cut before "
        "they are voted on. window: as many as the renderer reads, the larger number where it has two encoders; none: "
        "texts are not cut, and the encoder drops what is too much for it.",
    )
    exclude_words: tuple[str, ...] = Field(default=(), description="A text with one of these words is dropped.")
    hold_subject: bool = Field(
        default=False,
        description="Whether texts are held to their subject: prompts for variations name the label, and a text is "
        "asked for again if the text embedder puts it nearer to another label's name or, in a run "
        "with evolution.themes, nearer to several other kinds of texts than to its parent's.",
    )
    attempts: int = Field(default=3, ge=1, le=20, description="How often the writer is asked before the fallback.")

    @model_validator(mode="after")
    def _consistent(self) -> PromptsConfig:
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is larger than max_words {self.max_words}")
        if self.min_target_words is not None and not self.min_words <= self.min_target_words <= self.max_words:
            raise ValueError(
                f"min_target_words {self.min_target_words} is not between min_words {self.min_words} and "
                f"max_words {self.max_words}"
            )
        if self.example_attributes and len(self.example_attributes) != len(self.examples):
            raise ValueError("example_attributes must have one entry per example")
        own = self.label_attributes.values()
        if any(not values for lists in (self.attributes, *own) for values in lists.values()):
            raise ValueError("an attribute list is empty")
        if any("subject" in lists for lists in own):
            raise ValueError("label_attributes: the subject of a label is the label; name the list otherwise: kind")
        return self
