"""Frozen values that travel between the parts of spti-ray.

Axis legend, used as suffixes of array names:

    K  candidates of one generation, in id order      P  private records
    E  embedding dimension                            S  shards
    H  W  C  image height, width, channels            B  micro-batch

Everything here is a plain value: no engine, no Ray, no file handling. `Votes` is the only type
that carries private information; it refuses to be printed or pickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NoReturn

import numpy as np
import numpy.typing as npt

Operator = Literal["random", "rephrase", "fill", "image"]
"""How a candidate came to be; `image`: its render is a variation of its parent's, and its text is its parent's."""

Space = Literal["image", "text"]

FloatArray = npt.NDArray[np.float32]
CountArray = npt.NDArray[np.int64]
ImageArray = npt.NDArray[np.uint8]

VotesWire = tuple[str, int, str, int, bytes, int]
"""`Votes` on their way from a shard to the driver."""

SINGLE_LABEL = "all"
"""The label that every candidate and record has when the configuration names no labels."""


@dataclass(frozen=True)
class Candidate:
    """One public text (`pe-image`: one public image, with the text that it was first rendered from) to vote for.

    `id` orders candidates and breaks ties; it is unique within a run (`g02-00017`: born in generation 2).
    `parent_id` is the candidate that it is a variation of, None for RANDOM_API.
    """

    id: str
    text: str
    label: str
    generation: int
    parent_id: str | None = None
    operator: Operator = "random"


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
        return tuple(candidate.label for candidate in self.items)


@dataclass(frozen=True)
class ScoredCandidates:
    """Candidates with their embeddings in the voting space(s).

    `embeddings_KE` maps a space to L2-normalised float32 rows, one per candidate; `weights` maps the same
    spaces to non-negative weights (image voting: {"image": 1.0}; joint voting: both).
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
        """Some of the candidates, with their embeddings."""
        return ScoredCandidates(
            Candidates(tuple(c for c, wanted in zip(self.candidates, wanted_K, strict=True) if wanted)),
            {space: matrix_KE[np.array(wanted_K, dtype=np.bool_)] for space, matrix_KE in self.embeddings_KE.items()},
            self.weights,
        )

    def sha256(self) -> str:
        """The hash that ties votes, reservation and histogram to exactly these candidates and embeddings."""
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
class Query:
    """What a shard is asked, and what its votes answer: a run's generation, for exactly these candidates. Public."""

    run: str
    generation: int
    candidates_sha256: str


@dataclass(frozen=True, repr=False)
class Votes:
    """Clean votes of one shard on one query: PRIVATE. Only the gate may read `counts_K`.

    Has no printing repr and can't be pickled; an actor hands it over with `to_wire`, the driver's voter
    rebuilds it with `from_wire` and passes it straight to the gate.
    """

    query: Query
    shard_id: int
    counts_K: CountArray
    max_total: int
    """Upper bound on sum(counts_K): votes per unit times the units of the shard. Private too: it tells N."""

    def __repr__(self) -> str:
        return "<Votes: private>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("Votes are private and are never pickled")

    def to_wire(self) -> VotesWire:
        """The tuple that crosses from a shard's actor to the driver's memory, and nowhere else."""
        raw = np.ascontiguousarray(self.counts_K, dtype="<i8").tobytes()
        return self.query.run, self.query.generation, self.query.candidates_sha256, self.shard_id, raw, self.max_total

    @classmethod
    def from_wire(cls, wire: VotesWire) -> Votes:
        run, generation, candidates_sha256, shard_id, raw, max_total = wire
        counts_K = np.frombuffer(raw, dtype="<i8").astype(np.int64, copy=False)
        return cls(Query(run, generation, candidates_sha256), shard_id, counts_K, max_total)


@dataclass(frozen=True)
class NoisyHistogram:
    """What the gate releases for one generation: differentially private, safe to show and store."""

    generation: int
    candidate_ids: tuple[str, ...]
    counts_K: CountArray
    sigma: float
    candidates_sha256: str
    artifact_sha256: str = ""

    def of(self, candidate_id: str) -> int:
        return int(self.counts_K[self.candidate_ids.index(candidate_id)])


@dataclass(frozen=True)
class WriteRequest:
    """One prompt for a writer; `n` completions are wanted. Public text only."""

    prompt: str
    n: int
    seed: int
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ("\n",)


@dataclass(frozen=True)
class Completions:
    """The writer's answer to one request: `n` raw texts, the number of output tokens of all of them, and what an
    endpoint takes for them in US dollars. An empty text is none; `problem` then says why, in public words. `cut` says
    of each text whether the limit of tokens ended it; empty where it ended none."""

    texts: tuple[str, ...]
    num_tokens: int = 0
    dollars: float = 0.0
    problem: str = ""
    cut: tuple[bool, ...] = ()


@dataclass(frozen=True)
class RenderBatch:
    """Images to make in one call of a renderer, each from its text and its seed. Public input only.

    With `images`, one PNG per text, each is a variation of its image; `strength` in (0, 1] is how far from it.
    """

    texts: tuple[str, ...]
    seeds: tuple[int, ...]
    images: tuple[bytes, ...] = field(default=(), repr=False)
    strength: float = 0.0

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.seeds) or (self.images and len(self.images) != len(self.texts)):
            raise ValueError("a batch has a seed, and an image to vary or none, for each text")

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class RenderedImage:
    """One public image: PNG bytes of the render of candidate `candidate_id`, variant `variant`, with its seed."""

    candidate_id: str
    variant: int
    seed: int
    png: bytes = field(repr=False)


@dataclass(frozen=True)
class ReleaseItem:
    """One image of the release. `file` is relative to the release folder: `images/00000.png`."""

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
    """A 63-bit seed from public parts (run seed, generation, candidate, variant). Never used for DP noise."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def split_by_share(total: int, shares: Sequence[float]) -> list[int]:
    """Split `total` into whole numbers proportional to `shares` (largest remainder, ties to the first)."""
    weight = sum(shares)
    exact = [total * share / weight for share in shares]
    counts = [int(value) for value in exact]
    order = sorted(range(len(shares)), key=lambda i: (counts[i] - exact[i], i))
    for i in order[: total - sum(counts)]:
        counts[i] += 1
    return counts
