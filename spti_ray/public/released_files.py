"""Reads a release that somebody else may have written: its manifest, and no file outside of its folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spti_ray.config.reading import parse_json
from spti_ray.io.files import is_inside
from spti_ray.public.release import CERTIFICATE, MANIFEST, MODELS_KEY, is_release_file


class ManifestDamaged(ValueError):
    """Manifest or certificate is none of a release, or names what is none of its images; one line says which."""


def read_manifest(release: Path, columns: Iterable[str] = ("file", "sha256", "text", "label")) -> pa.Table:
    """The manifest of the release in a folder, with at least `columns`, without a null in them.

    Raises ManifestDamaged if it can't be read or lacks one, or if an image that it names lies outside of the release.
    """
    path = release / MANIFEST
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise ManifestDamaged(f"{path}: there is no manifest, so there is no finished release here") from None
    except (OSError, ValueError, pa.ArrowException):
        raise ManifestDamaged(f"{path}: can't be read as Parquet; restore the release") from None
    for name in ("file", *columns):
        # Names may be there twice, which makes the column nobody's.
        known = table.schema.get_all_field_indices(name)
        if len(known) != 1 or table.column(known[0]).null_count:
            raise ManifestDamaged(f"{path}: has no column {name} with a value for each image; restore the release")
        if name in ("file", "sha256", "text", "label") and not _is_text(table.schema.field(known[0]).type):
            raise ManifestDamaged(f"{path}: its column {name} is no text; restore the release")
    files = table["file"].to_pylist()
    if len(set(files)) != len(files):
        raise ManifestDamaged(f"{path}: names an image twice; restore the release")
    for file in files:
        if not (is_release_file(file) and is_inside(release, file)):
            raise ManifestDamaged(f"{path}: names {file[:80]!r}, which is none of the release's images")
    return table


def read_certificate(release: Path) -> dict[str, Any] | None:
    """What the release's privacy.json says, unchecked; None if there is none. ManifestDamaged if it is no object."""
    path = release / CERTIFICATE
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise ManifestDamaged(f"{path}: can't be read as a certificate; restore the release")
    return found


def models_in(table: pa.Table) -> dict[str, Mapping[str, Any]]:
    """What each role ran, as the manifest's metadata say; nothing of what can't be understood."""
    try:
        found = parse_json((table.schema.metadata or {}).get(MODELS_KEY, b"{}"))
    except ValueError:
        return {}
    return {role: of for role, of in found.items() if isinstance(of, dict)} if isinstance(found, dict) else {}


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
