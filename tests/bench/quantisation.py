"""What rounding vectors to whole numbers moves, by how fine they are: `python -m tests.bench.quantisation`.

Made-up vectors, among the hardest that votes meet: candidates in pairs that are 1.5e-4 apart in cosine, as renders of
nearly the same text are, and records anywhere between the two of a pair. Compared are the votes of float64 vectors.
"""

import numpy as np

from spti_ray.private.products import EXACT_FLOAT
from spti_ray.private.views import SCALE

WIDTH = 2048
"""Dimensions, as of Inception's features."""

APART = 1.5e-4
"""1 - cosine of the two candidates of a pair."""


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def pairs(count: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors for each pair, float64 [count, WIDTH]."""
    first, other = unit(draw.normal(size=(count, WIDTH))), draw.normal(size=(count, WIDTH))
    aside = unit(other - (other * first).sum(axis=1, keepdims=True) * first)
    return first, (1 - APART) * first + np.sqrt(1 - (1 - APART) ** 2) * aside


def nearest(records: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    return (records @ candidates.T).argmax(axis=1)


def moved(bits: int, records: np.ndarray, candidates: np.ndarray, votes: np.ndarray) -> float:
    """The share of votes that are others by vectors of length 2**bits, rounded."""
    rounded = [np.rint(np.ldexp(vectors, bits)) for vectors in (records, candidates)]
    return float((nearest(*rounded) != votes).mean())


def moved_by_float32(records: np.ndarray, candidates: np.ndarray, votes: np.ndarray) -> float:
    """The share of votes that are others in float32, the arithmetic of FAISS' flat index."""
    return float((nearest(records.astype(np.float32), candidates.astype(np.float32)) != votes).mean())


def measured(num_records: int = 20_000, num_pairs: int = 20, seed: int = 0) -> dict[str, float]:
    """Shares of votes that move, by how vectors are rounded."""
    draw = np.random.default_rng(seed)
    first, second = pairs(num_pairs, draw)
    pair, place = draw.integers(num_pairs, size=num_records), draw.random((num_records, 1))
    records, candidates = unit((1 - place) * first[pair] + place * second[pair]), np.concatenate([first, second])
    votes = nearest(records, candidates)
    found = {f"{bits} bits": moved(bits, records, candidates, votes) for bits in (14, 16, 18, 20, 24)}
    return found | {"float32": moved_by_float32(records, candidates, votes)}


def most_records(bits: int) -> int:
    """Records of one unit, times the weights, whose sums stay exact in float64."""
    norm = 2**bits + np.sqrt(WIDTH) + 1
    return int(EXACT_FLOAT / norm**2)


if __name__ == "__main__":
    assert SCALE == 2**14
    for name, share in measured().items():
        exact = f"; exact up to {most_records(int(name.split()[0])):,} records of a unit" if "bits" in name else ""
        print(f"{name}: {100 * share:.3f} % of votes move{exact}")
