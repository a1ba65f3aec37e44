"""The artifact of one noised histogram: an Arrow file, named by the SHA-256 of its bytes, safe to show and store.

Layout: `<folder>/NN/histogram-<sha256>.arrow`, NN the generation. Columns `candidate_id` (string) and `noisy_count`
(int64), K rows in candidate order; the schema's metadata repeats the reservation, so that the file is tied to its
charge by content and not by its name. A file under its final name is always complete: it is written under a
temporary name, synced, renamed, and its folder synced.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow  # pyright: ignore[reportMissingTypeStubs]
from pyarrow import ipc  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from spti_ray.io.files import atomic_file, fsync_folder
from spti_ray.types import CountArray, NoisyHistogram

pa: Any = pyarrow  # ships no types
arrow_file: Any = ipc

_NAME = re.compile(r"histogram-([0-9a-f]{64})\.arrow")
_TEMPORARY = ".tmp-*"


class ArtifactError(RuntimeError):
    """An artifact is missing, altered or of another reservation; one line says which file and what to do."""


@dataclass(frozen=True)
class Label:
    """What the schema's metadata says: the reservation that the histogram answers. All of it is public."""

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
    label: Label,
    candidate_ids: tuple[str, ...],
    noisy_K: CountArray,
    fault: Callable[[str], None] = lambda point: None,
) -> Path:
    """Write the artifact and return its path once it is on disk. OSError leaves no temporary file behind.

    `fault` is the gate's hook for crash tests, called with "in_artifact" before the file gets its name.
    """
    schema = pa.schema(
        [("candidate_id", pa.string()), ("noisy_count", pa.int64())],
        metadata={f"spti.{name}": _text(value) for name, value in asdict(label).items()},
    )
    table = pa.table([pa.array(candidate_ids, pa.string()), pa.array(noisy_K, pa.int64())], schema=schema)
    sink = pa.BufferOutputStream()
    with arrow_file.new_file(sink, schema) as writer:
        writer.write_table(table)
    data = sink.getvalue().to_pybytes()

    parent = folder / f"{label.generation:02d}"
    parent.mkdir(parents=True, exist_ok=True)
    for created in (folder.parent, folder):  # the new folders' own names must be durable before the ledger cites them
        fsync_folder(created)
    path = parent / f"histogram-{hashlib.sha256(data).hexdigest()}.arrow"
    with atomic_file(path) as file:
        file.write(data)
        file.flush()
        fault("in_artifact")
    return path


def read(path: Path) -> tuple[Label, NoisyHistogram]:
    """The label and histogram of an artifact whose bytes match its name; ArtifactError otherwise."""
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
        metadata = cast(dict[bytes, bytes], table.schema.metadata or {})
        label = Label(**{f.name: _value(f.type, metadata[f"spti.{f.name}".encode()].decode()) for f in fields(Label)})
        candidate_ids = tuple(cast(list[str], table["candidate_id"].to_pylist()))
        counts_K = np.asarray(table["noisy_count"].to_numpy(), dtype=np.int64)
    except (pa.ArrowException, KeyError, ValueError):
        raise ArtifactError(f"histogram {path} is not an artifact of this program") from None
    histogram = NoisyHistogram(
        generation=label.generation,
        candidate_ids=candidate_ids,
        counts_K=counts_K,
        sigma=label.sigma,
        candidates_sha256=label.candidates_sha256,
        artifact_sha256=name[1],
    )
    return label, histogram


def path_of(folder: Path, generation: int, sha256: str) -> Path:
    return folder / f"{generation:02d}" / f"histogram-{sha256}.arrow"


def complete(folder: Path, generation: int) -> list[Path]:
    """The generation's complete artifacts, made durable if a crash came between their rename and its sync."""
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
    for path in folder.glob(f"*/{_TEMPORARY}"):
        path.unlink(missing_ok=True)


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _value(annotation: Any, text: str) -> Any:
    """The inverse of `_text` for a field with this (string) annotation."""
    if annotation == "bool":
        return {"True": True, "False": False}[text]
    return {"str": str, "int": int, "float": float}[annotation](text)
