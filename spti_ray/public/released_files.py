"""Reads the manifest and certificate of a release that somebody else may have written, without trusting them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spti_ray.config.parsing import parse_json
from spti_ray.io.files import is_inside
from spti_ray.public.release import CERTIFICATE, LABEL_COUNTS_KEY, MANIFEST, MODELS_KEY, is_release_file


class ManifestDamaged(ValueError):
    """The manifest or the certificate can't be used, or names files that are not the release's images; one line."""


def read_manifest(release: Path, columns: Iterable[str] = ("file", "sha256", "text", "label")) -> pa.Table:
    """Read a release's manifest.

    Args:
        release: The release's folder.
        columns: Columns that must be there, without nulls.

    Returns:
        The manifest, with one row per image.

    Raises:
        ManifestDamaged: it can't be read, lacks a column, or names an image twice or outside of the release.
    """
    path = release / MANIFEST
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise ManifestDamaged(f"{path}: there is no manifest, so there is no finished release here") from None
    except (OSError, ValueError, pa.ArrowException):
        raise ManifestDamaged(f"{path}: can't be read as Parquet; restore the release") from None
    for name in ("file", *columns):
        # Parquet allows two columns with one name; it is not clear which one counts.
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
    """Read a release's privacy.json, whose content is not checked; None if there is none.

    Raises:
        ManifestDamaged: it is not a JSON object.
    """
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
    """The models by role from the manifest's metadata; what can't be read is left out."""
    try:
        found = parse_json((table.schema.metadata or {}).get(MODELS_KEY, b"{}"))
    except ValueError:
        return {}
    return {role: of for role, of in found.items() if isinstance(of, dict)} if isinstance(found, dict) else {}


def label_counts_in(table: pa.Table) -> dict[str, int]:
    """The noised number of records of each label from the manifest's metadata; empty if it has none, or no such."""
    try:
        found = parse_json((table.schema.metadata or {}).get(LABEL_COUNTS_KEY, b"{}"))
    except ValueError:
        return {}
    if not isinstance(found, dict) or not all(type(count) is int for count in found.values()):
        return {}
    return found


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
