"""The file of one noised histogram. Rule held here: it is whole, and tied to its charge by content.

An Arrow file named by the SHA-256 of its bytes; differentially private, so safe to show and store.

Layout: `<folder>/NN/histogram-<sha256>.arrow`, NN the generation. Columns `candidate_id` (string) and `noisy_count`
(int64), K rows in candidate order. The schema's metadata repeats the reservation, so the file's content, and not its
name, says which charge paid for it. A file under its final name is always complete: it is written under a temporary
name, synced, renamed, and its folder synced.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow  # pyright: ignore[reportMissingTypeStubs]
from pyarrow import ipc  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from spti_ray.io.files import TEMPORARY, atomic_file, fsync_folder
from spti_ray.types import CountArray, NoisyHistogram

pa: Any = pyarrow  # ships no types
arrow_file: Any = ipc

_NAME = re.compile(r"histogram-([0-9a-f]{64})\.arrow")


class ArtifactError(RuntimeError):
    """A histogram's file is missing, altered or of another reservation; one line says which and what to do."""


@dataclass(frozen=True)
class Metadata:
    """The schema's metadata: the reservation that the histogram answers. All of it is public."""

    run: str
    generation: int
    slot: int
    candidates_sha256: str
    sigma: float
    votes_per_record: int
    noise: str
    private: bool
    code_version: str


def write(
    folder: Path,
    metadata: Metadata,
    candidate_ids: tuple[str, ...],
    noisy_K: CountArray,
    fault: Callable[[str], None] = lambda point: None,
) -> Path:
    """Write a noised histogram to a file.

    Args:
        folder: the run's `generations` folder.
        noisy_K: int64 [K], the noised counts in the order of `candidate_ids`.
        fault: the gate's hook for crash tests, called with "in_artifact" before the file gets its name.

    Returns:
        The file's path, once it is on disk.

    Raises:
        OSError: nothing was written, and no temporary file is left.
    """
    schema = pa.schema(
        [("candidate_id", pa.string()), ("noisy_count", pa.int64())],
        metadata={f"spti.{name}": _text(value) for name, value in asdict(metadata).items()},
    )
    table = pa.table([pa.array(candidate_ids, pa.string()), pa.array(noisy_K, pa.int64())], schema=schema)
    sink = pa.BufferOutputStream()
    with arrow_file.new_file(sink, schema) as writer:
        writer.write_table(table)
    data = sink.getvalue().to_pybytes()

    parent = folder / f"{metadata.generation:02d}"
    parent.mkdir(parents=True, exist_ok=True)
    for created in (folder.parent, folder):  # the new folders' own names must be durable before the ledger cites them
        fsync_folder(created)
    path = parent / f"histogram-{hashlib.sha256(data).hexdigest()}.arrow"
    with atomic_file(path) as file:
        file.write(data)
        file.flush()
        fault("in_artifact")
    return path


def read(path: Path) -> tuple[Metadata, NoisyHistogram]:
    """Read a histogram back, with the reservation that it answers.

    Raises:
        ArtifactError: the file can't be read, or its bytes do not match its name.
    """
    name = _NAME.fullmatch(path.name)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"can't read histogram {path}: {error.strerror}") from None
    if name is None or hashlib.sha256(data).hexdigest() != name[1]:
        raise ArtifactError(
            f"histogram {path} was altered: its content does not match its name; restore it from a copy"
        )
    try:
        table = arrow_file.open_file(pa.BufferReader(data)).read_all()
        stored = cast(dict[bytes, bytes], table.schema.metadata or {})
        values = {
            field.name: (field.type, stored[f"spti.{field.name}".encode()].decode()) for field in fields(Metadata)
        }
        metadata = Metadata(**{name: _value(annotation, text) for name, (annotation, text) in values.items()})
        candidate_ids = tuple(cast(list[str], table["candidate_id"].to_pylist()))
        counts_K = np.asarray(table["noisy_count"].to_numpy(), dtype=np.int64)
    except (pa.ArrowException, KeyError, ValueError):
        raise ArtifactError(f"histogram {path} is not an artifact of this program") from None
    histogram = NoisyHistogram(
        generation=metadata.generation,
        candidate_ids=candidate_ids,
        counts_K=counts_K,
        sigma=metadata.sigma,
        candidates_sha256=metadata.candidates_sha256,
        artifact_sha256=name[1],
    )
    return metadata, histogram


def charged_last(paths: Iterable[Path]) -> tuple[Metadata, NoisyHistogram]:
    """Of a generation's files the committed one, read back: a slot that was burned may have left a file of its own, and
    the committed one is of the slot charged last.

    Raises:
        ArtifactError: as `read`.
    """
    return max((read(path) for path in paths), key=lambda found: found[0].slot)


def path_of(folder: Path, generation: int, sha256: str) -> Path:
    """Where the histogram with this SHA-256 is, or would be."""
    return folder / f"{generation:02d}" / f"histogram-{sha256}.arrow"


def complete(folder: Path, generation: int) -> list[Path]:
    """The generation's complete files. Syncs their folder, in case a crash came between a rename and its sync."""
    parent = folder / f"{generation:02d}"
    if not parent.is_dir():
        return []
    fsync_folder(parent)
    return sorted(path for path in parent.iterdir() if _NAME.fullmatch(path.name))


def generations(folder: Path) -> list[int]:
    """The generations that have a folder."""
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit()) if folder.is_dir() else []


def remove_temporary(folder: Path) -> None:
    """Remove what a crash left half-written; only the run's one driver may call this."""
    for path in folder.glob(f"*/{TEMPORARY}*"):
        path.unlink(missing_ok=True)


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _value(annotation: Any, text: str) -> Any:
    """The inverse of `_text`, for a field whose annotation is this text."""
    if annotation == "bool":
        return {"True": True, "False": False}[text]
    return {"str": str, "int": int, "float": float}[annotation](text)
