"""The configuration: pydantic v2 models read from YAML. Unknown keys fail.

Everything in a configuration is public: it is written to the run folder, the certificate and the report.
`privacy`, `dataset`, `data`, `evolution`, `prompts` and `release` say *what* is computed and are fixed by a run's first
start, as are the ledger and the engines' models. Only where and how wide it runs may change between two starts
(`config_load.pinned`).
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator, model_validator

from spti_ray.endpoints import normal_endpoint
from spti_ray.types import SINGLE_LABEL, Space, split_by_share

Role = Literal["writer", "captioner", "renderer", "image_embedder", "text_embedder"]
ROLES: tuple[Role, ...] = ("writer", "captioner", "renderer", "image_embedder", "text_embedder")

Method = Literal["spti", "pe-image", "random", "captions", "dp-finetune"]


class Section(BaseModel):
    """Base of all sections: immutable, strict about unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


class DataConfig(Section):
    """Where the private images are.

    Labels of a folder of images, of zip files and of LMDB databases are the first folders in them, but for a folder
    whose `metadata.jsonl` or `metadata.csv` has columns, beside the `file_name` of each image. The columns of
    WebDataset are extensions of a sample's members, or keys of its `json`. A path in a column is looked for beside the
    file that has the column.
    """

    path: str = Field(
        description="A folder of images; Parquet, WebDataset tar or zip files, LMDB databases: one, or a folder of "
        "them; what `save_to_disk` of `datasets` wrote. Local or s3://, gs://, abfs:// (LMDB: local). "
        "`bundled:stickers` is the sample set."
    )
    image_column: str = Field(
        default="image", description="Column of encoded bytes, of paths, or of structs {bytes, path}."
    )
    label_column: str | None = Field(default=None, description="Column with the label; needed with evolution.labels.")
    group_column: str | None = Field(default=None, description="Column that names the group (privacy.unit: group).")
    max_pixels: int = Field(default=64_000_000, ge=1, description="Larger images are refused (decompression bombs).")


class DatasetConfig(Section):
    """The registered dataset whose lifetime budget this run spends from."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", description="Given by an administrator.")
    lifetime_epsilon: float | None = Field(
        default=None, gt=0, description="Budget of all runs on this dataset together, fixed at its first registration."
    )
    registration: Literal["first_run", "required"] = Field(
        default="first_run",
        description="Who registers it: the first run, or only `spti ledger register`, so that a mistyped id is refused "
        "instead of opening a fresh budget.",
    )


class PrivacyConfig(Section):
    epsilon: float = Field(
        gt=0, allow_inf_nan=True, description="At most 100; `inf`: no noise, and so no privacy (allow_not_private)."
    )
    delta: float = Field(gt=0, lt=0.5, description="From policy, never from the size of the private set.")
    votes_per_record: int = Field(
        default=1, ge=1, le=1000, description="k: distinct candidates that get +1 from a record."
    )
    unit: Literal["record", "group"] = Field(default="record", description="What one vote vector protects.")
    spare_slots: int = Field(
        default=0, ge=0, le=100, description="Extra queries paid for at planning, used when a crash burns a generation."
    )
    allow_not_private: bool = Field(
        default=False,
        description="Needed for `method: captions` and for epsilon inf, which make images for internal use only.",
    )
    trusted_endpoints: tuple[str, ...] = Field(
        default=(),
        description="HTTP endpoints that may be shown private images (their operators see them); the certificate says "
        "so. Engines at any other are refused where they would see private content.",
    )

    @field_validator("trusted_endpoints")
    @classmethod
    def _addresses(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(normal_endpoint(url) for url in urls)

    @field_validator("epsilon", mode="after")
    @classmethod
    def _within_reach(cls, epsilon: float) -> float:
        if epsilon > 100 and not math.isinf(epsilon):
            raise ValueError("input should be less than or equal to 100, or inf for no noise at all")
        return epsilon

    @field_serializer("epsilon", when_used="json")
    def _as_text(self, epsilon: float) -> float | str:
        """JSON has no infinity."""
        return "inf" if math.isinf(epsilon) else epsilon


class LabelConfig(Section):
    name: str = Field(min_length=1)
    share: float = Field(
        default=1.0, gt=0, description="Share of candidates and images; public, never counted from data."
    )
    hint: str | None = Field(default=None, description="How prompts name it; the label's name by default.")


class VariationConfig(Section):
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
    generations: int = Field(ge=1, le=1000, description="T: noised histograms, and so privacy charges.")
    candidates: int = Field(ge=1, le=1_000_000, description="K: texts voted on in each generation.")
    voting: Literal["image", "caption", "joint"] = "image"
    joint_image_weight: float = Field(
        default=0.5, ge=0, le=1, description="Weight of the image similarity in joint voting."
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
    labels: tuple[LabelConfig, ...] = Field(default=(), description="Public label list; empty: one population.")
    variation: VariationConfig = VariationConfig()
    image_variation: ImageVariationConfig = ImageVariationConfig()

    @field_validator("labels")
    @classmethod
    def _unique(cls, labels: tuple[LabelConfig, ...]) -> tuple[LabelConfig, ...]:
        names = [label.name for label in labels]
        if len(set(names)) != len(names):
            raise ValueError("label names must differ from one another")
        return labels

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.labels) or (SINGLE_LABEL,)

    def quota(self, total: int) -> dict[str, int]:
        """`total` candidates or images split over the labels by their public shares."""
        shares = [label.share for label in self.labels] or [1.0]
        return dict(zip(self.label_names, split_by_share(total, shares), strict=True))

    def survivors_per_label(self) -> dict[str, int]:
        """How many candidates of each label are selected in a generation: the share, and at least one."""
        quota = self.quota(self.candidates)
        return {label: min(count, max(1, round(count * self.survivors))) for label, count in quota.items()}

    def image_strength(self, generation: int) -> float:
        """Strength of the image variations that are born in `generation`, falling in equal steps.

        1 is the first; variations for the release come after the last generation, with its strength.
        """
        degrees = self.image_variation
        done = 1.0 if generation >= self.generations else (generation - 1) / max(1, self.generations - 2)
        return (1 - done) * degrees.first_strength + done * degrees.last_strength

    @property
    def spaces(self) -> dict[Space, float]:
        """Voting spaces and their weights."""
        if self.voting == "image":
            return {"image": 1.0}
        if self.voting == "caption":
            return {"text": 1.0}
        return {"image": self.joint_image_weight, "text": 1.0 - self.joint_image_weight}


class RephraseExample(Section):
    text: str
    new: str


class FillExample(Section):
    blanks: str = Field(description="The text with `_` for each masked word.")
    filled: str


class PromptsConfig(Section):
    """Public prompts. All of it is written by people who have not looked at the private images."""

    domain: str = Field(description="What the images are, in a few words: 'stickers of things'.")
    attributes: dict[str, tuple[str, ...]] = Field(
        default={}, description="Lists from which RANDOM_API draws one value each; keys are shown to the writer."
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
    exclude_words: tuple[str, ...] = Field(default=(), description="A text with one of these words is dropped.")
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
        if any(not values for values in self.attributes.values()):
            raise ValueError("an attribute list is empty")
        return self


class ReleaseConfig(Section):
    images: int = Field(ge=1, le=100_000_000, description="Images in the release; more cost no privacy.")
    images_per_text: int = Field(default=1, ge=1, le=1000)
    texts: Literal["voted", "varied"] = Field(
        default="voted", description="varied: fresh variations of the voted texts (pe-image: images) are released."
    )


class FinetuneConfig(Section):
    """Method `dp-finetune`: DP-SGD on the renderer's UNet, to compare with. All of it is public."""

    mode: Literal["lora", "full"] = "lora"
    rank: int = Field(default=4, ge=1, description="Of the adapters (mode lora).")
    targets: tuple[str, ...] = Field(
        default=("to_q", "to_k", "to_v", "to_out.0"), description="Modules of the UNet that get adapters."
    )
    records_estimate: int = Field(
        default=1000,
        ge=1,
        description="Order of magnitude of the records (or groups), publicly known: the true number is private. A "
        "wrong one changes the size of batches, not the guarantee.",
    )
    batch_size: int = Field(default=250, ge=1, description="Expected records per step, if the estimate is right.")
    steps: int = Field(default=60, ge=1, le=100_000)
    spare_steps: int = Field(default=3, ge=0, le=10_000, description="Paid for, and used by steps that a crash loses.")
    draws: int = Field(default=2, ge=1, le=256, description="Noises and times per record, averaged before clipping.")
    clip_norm: float = Field(default=0.03, gt=0)
    learning_rate: float = Field(default=0.01, gt=0)
    average_decay: float = Field(default=0.95, ge=0, lt=1, description="Per step, of the averaged weights.")
    records_at_once: int = Field(default=16, ge=1, description="Whose gradients are in memory together.")
    save_every_s: float = Field(default=120.0, ge=0)


class LedgerConfig(Section):
    path: str = Field(
        default="ledger",
        description="Folder of the ledgers, one <dataset id>.jsonl each, or a URL such as s3://bucket/ledgers.",
    )


class EngineConfig(Section):
    """One role's engine. `kind` is a known name or `module:Class`; a new engine is one file and this line."""

    kind: str
    model: str = Field(default="", description="Hugging Face id, local folder or `bundled:NAME`.")
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    batch_size: int = Field(default=16, ge=1, description="Fixed and padded, so that a retried unit reproduces.")
    replicas: int = Field(default=1, ge=1, le=10_000, description="Actors that must be there for a run to start.")
    max_replicas: int | None = Field(
        default=None,
        le=10_000,
        description="Up to which number a pool grows while the run waits for it; `replicas` by default.",
    )
    num_cpus: float = Field(default=1.0, ge=0)
    num_gpus: float = Field(
        default=0.0, ge=0, description="Of one replica, all on one node; a fraction shares a GPU with other engines."
    )
    accelerators: tuple[str, ...] = Field(
        default=(), description="Kinds of GPU that will do, the best first, by Ray's names: [H100, L40S]; empty: any."
    )
    threads: int | None = Field(default=None, ge=1, description="CPU threads of one replica; all cores by default.")
    options: dict[str, Any] = Field(default={}, description="Engine-specific, checked by the engine.")

    @model_validator(mode="after")
    def _can_grow(self) -> EngineConfig:
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError(f"max_replicas {self.max_replicas} is smaller than replicas {self.replicas}")
        return self

    @field_validator("num_gpus")
    @classmethod
    def _one_device_or_whole_ones(cls, num_gpus: float) -> float:
        if num_gpus > 1 and num_gpus != int(num_gpus):
            raise ValueError(f"{num_gpus:g} GPUs would straddle devices: give a share of one, or a whole number")
        return num_gpus


class EnginesConfig(Section):
    writer: EngineConfig
    renderer: EngineConfig
    image_embedder: EngineConfig
    text_embedder: EngineConfig
    captioner: EngineConfig

    def of(self, role: Role) -> EngineConfig:
        return getattr(self, role)


class RuntimeConfig(Section):
    engines: Literal["embedded", "fake"] | dict[Role, dict[str, Any]] = Field(
        default="embedded", description="embedded, fake, or settings per role on top of the embedded ones."
    )
    seed: int = Field(default=0, ge=0, description="Public seed of texts and images; the DP noise has none.")
    shards: int = Field(default=2, ge=1, le=100_000, description="Actors that hold private records; public.")
    address: str | None = Field(default=None, description="Ray cluster to join; none starts a local one.")
    node_labels: dict[Role | Literal["shard"], dict[str, str]] = Field(
        default={}, description="Ray labels of the nodes that a role's engines (or the shards) may run on; empty: any."
    )
    placement_timeout_s: float = Field(default=300.0, gt=0)
    autoscaling: bool = Field(
        default=True,
        description="Whether nodes may still join the cluster at `address`. Off: a run of which an actor fits on none "
        "of the nodes that are there is refused at once.",
    )
    unit_attempts: int = Field(
        default=3, ge=1, description="How often a unit may fail by itself before it is given up."
    )
    unit_crashes: int = Field(
        default=3, ge=1, description="How often an engine may crash on a unit before the unit is given up."
    )
    unit_timeout_s: float = Field(
        default=1800.0, gt=0, description="An engine that takes longer over a unit is hung, and started anew."
    )
    in_flight_per_actor: int = Field(default=2, ge=1, le=1000)
    take_turns: tuple[Role, ...] = Field(
        default=(),
        description="[writer, renderer]: they share a GPU that only one of them uses at a time, while the other sleeps "
        "in the machine's memory. Empty: nobody sleeps.",
    )

    engine_metrics: bool = Field(
        default=True, description="Whether the writer publishes vLLM's own figures through Ray: tokens, cache, queue."
    )

    @field_validator("take_turns")
    @classmethod
    def _who_can_sleep(cls, roles: tuple[Role, ...]) -> tuple[Role, ...]:
        # An embedder or captioner is asked by the shards at any time, who know nothing of turns.
        if roles and set(roles) != {"writer", "renderer"}:
            raise ValueError(f"can be [writer, renderer] or empty: other roles serve shards (got {', '.join(roles)})")
        return roles


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
