"""Frozen public values that are passed between the parts of spti-ray.

Axis legend, used as suffixes of array names:

    K  candidates of one generation, in id order      P  private records
    E  embedding dimension                            S  shards
    H  W  C  image height, width, channels            B  micro-batch

Everything here is a plain value: no engine, no Ray, no file handling.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Operator = Literal["random", "rephrase", "fill", "image"]
"""How a candidate was made. `random`: RANDOM_API. The others are VARIATION_API: `rephrase` and `fill` change the
parent's text; `image` keeps the text, and the render is a variation of the parent's render."""

Space = Literal["image", "text"]
"""Where candidates and private records are compared: by embeddings of images, or of texts (private: of captions)."""

Role = Literal["writer", "captioner", "renderer", "image_embedder", "text_embedder"]
"""What an engine is for."""

ROLES: tuple[Role, ...] = ("writer", "captioner", "renderer", "image_embedder", "text_embedder")

SIMULATED = "SIMULATED"
"""What simulated engines, which test what is around engines, have as the name of their model."""

PNG_LEVEL = 6
"""How hard a PNG is compressed where nothing else is said: what all builds did that had no setting for it."""

DRAFT_PNG_LEVEL = 0
"""Of images that are made to be voted on: most of them are embedded once and never released."""

FloatArray = npt.NDArray[np.float32]
CountArray = npt.NDArray[np.int64]
ImageArray = npt.NDArray[np.uint8]

EMBEDDING_SCALE = 2**14
"""The length of embeddings in whole numbers, as the private side has them (int16)."""

SINGLE_LABEL = "all"
"""The label that every candidate and record has when the configuration names no labels."""


@dataclass(frozen=True)
class Candidate:
    """One public text to vote for (method `pe-image`: one public image, with the text that it was first rendered from).

    `id` orders candidates and breaks ties; it is unique within a run (`g02-00017` was born in generation 2).
    `parent_id` names the candidate that this one is a variation of; None for RANDOM_API.
    `is_cut` says that its text had more tokens than the renderer reads.
    """

    id: str
    text: str
    label: str
    generation: int
    parent_id: str | None = None
    operator: Operator = "random"
    is_cut: bool = False


@dataclass(frozen=True)
class Candidates:
    """The population of one generation, strictly ordered by id (axis K)."""

    items: tuple[Candidate, ...]

    def __post_init__(self) -> None:
        ids = [candidate.id for candidate in self.items]
        if any(a >= b for a, b in zip(ids, ids[1:], strict=False)):
            raise ValueError("candidates must be strictly ordered by id")

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.items)

    @property
    def labels(self) -> tuple[str, ...]:
        """The label of each candidate (axis K)."""
        return tuple(candidate.label for candidate in self.items)


@dataclass(frozen=True)
class ScoredCandidates:
    """Candidates with their embeddings in the voting spaces.

    `embeddings_KE` maps a space to L2-normalised float32 [K, E]; `weights` maps the same spaces to non-negative weights
    (image voting: {"image": 1.0}; joint voting: both spaces).
    """

    candidates: Candidates
    embeddings_KE: dict[Space, FloatArray]
    weights: dict[Space, float]

    def __post_init__(self) -> None:
        if not self.embeddings_KE or set(self.embeddings_KE) != set(self.weights):
            raise ValueError("embeddings and weights must name the same voting spaces")
        for space, matrix_KE in self.embeddings_KE.items():
            if matrix_KE.ndim != 2 or len(matrix_KE) != len(self.candidates):
                raise ValueError(f"{space} embeddings must have one row per candidate")

    def only(self, wanted_K: Sequence[bool]) -> ScoredCandidates:
        """The candidates for which `wanted_K` is true, with their embeddings."""
        return ScoredCandidates(
            Candidates(tuple(c for c, wanted in zip(self.candidates, wanted_K, strict=True) if wanted)),
            {space: matrix_KE[np.array(wanted_K, dtype=np.bool_)] for space, matrix_KE in self.embeddings_KE.items()},
            self.weights,
        )

    def sha256(self) -> str:
        """A hash of candidates, embeddings and weights, which ties votes, reservation and histogram to each other."""
        digest = hashlib.sha256()
        digest.update(
            json.dumps(
                [[c.id, c.label, c.text] for c in self.candidates], ensure_ascii=False, separators=(",", ":")
            ).encode()
        )
        for space in sorted(self.embeddings_KE):
            matrix_KE = np.ascontiguousarray(self.embeddings_KE[space], dtype=np.float32)
            digest.update(f"|{space}:{self.weights[space]!r}:{matrix_KE.shape}|".encode())
            digest.update(matrix_KE.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class NoisyHistogram:
    """The noised counts (int64 [K], in the order of `candidate_ids`) of one generation.

    Differentially private, so safe to show and store. `sigma` is the noise's scale in votes.
    """

    generation: int
    candidate_ids: tuple[str, ...]
    counts_K: CountArray
    sigma: float
    candidates_sha256: str
    artifact_sha256: str = ""

    def of(self, candidate_id: str) -> int:
        """The noised count of one candidate."""
        return int(self.counts_K[self.candidate_ids.index(candidate_id)])


@dataclass(frozen=True)
class Selected:
    """A selected candidate. `share` weighs how many children or images it gets; `count` is its noised count."""

    candidate: Candidate
    count: int
    share: int


@dataclass(frozen=True)
class WriteRequest:
    """A prompt for a writer, of which `n` completions are wanted. Public text only."""

    prompt: str
    n: int
    seed: int
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ("\n",)


@dataclass(frozen=True)
class Completions:
    """The writer's answer to one request."""

    texts: tuple[str, ...]
    """`n` raw texts; an empty one stands for none."""
    num_tokens: int = 0
    """Output tokens of all texts."""
    dollars: float = 0.0
    """What an endpoint charges for them, in US dollars."""
    problem: str = ""
    """Why texts are missing, in public words."""
    truncated: tuple[bool, ...] = ()
    """For each text, whether the limit of tokens ended it; empty if it ended none."""


@dataclass(frozen=True)
class RenderBatch:
    """Images to make in one call of a renderer, each from its text and its seed. Public input only.

    With `images`, one PNG per text, each is a variation of its image; `strength` in (0, 1] is how far from it.
    `png_level`: how hard the PNGs of the results are compressed, see `models.pixels`; the pixels are the same.
    """

    texts: tuple[str, ...]
    seeds: tuple[int, ...]
    images: tuple[bytes, ...] = field(default=(), repr=False)
    strength: float = 0.0
    png_level: int = PNG_LEVEL

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.seeds) or (self.images and len(self.images) != len(self.texts)):
            raise ValueError("a batch has a seed, and an image to vary or none, for each text")

    def __len__(self) -> int:
        return len(self.texts)


class StoredImage(Protocol):
    """A public image, as PNG, that need not be in the memory of this process: it may be in Ray's object store."""

    @property
    def num_bytes(self) -> int: ...

    def read(self) -> bytes | memoryview:
        """The PNG. It may have to come from another machine, so the driver's thread does not ask for it.

        Raises:
            ImageLost: it was lost with the machine that it was on.
        """
        ...


class ImageLost(Exception):
    """An image was lost with the machine that it was on."""


Image = bytes | StoredImage
"""A public image as PNG: here, or somewhere else. `io.images` reads both."""


class ImageBatch(list[Image]):
    """The images that an embedder gets in one call."""


@dataclass(frozen=True)
class RenderedImage:
    """One public image: the render of a candidate as PNG. A candidate has several renders, `variant` numbers them."""

    candidate_id: str
    variant: int
    seed: int
    png: Image = field(repr=False)


@dataclass(frozen=True)
class ReleaseItem:
    """One image of the release. `file` is relative to the release's folder, such as `images/00000.png`."""

    file: str
    text: str
    label: str
    seed: int
    generation: int
    """The generation in which the text was born."""
    candidate_id: str
    parent_id: str | None
    variant: int


def derive_seed(*parts: str | int) -> int:
    """A 63-bit seed from public parts, such as run seed, generation, candidate and variant. Never used for DP noise."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def split_by_share(total: int, shares: Sequence[float]) -> list[int]:
    """Split `total` into integers proportional to `shares`, by the largest remainder; ties go to the first."""
    weight = sum(shares)
    exact = [total * share / weight for share in shares]
    counts = [int(value) for value in exact]
    order = sorted(range(len(shares)), key=lambda i: (counts[i] - exact[i], i))
    for i in order[: total - sum(counts)]:
        counts[i] += 1
    return counts
