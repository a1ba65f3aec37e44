"""Reads a release for export: the images that its manifest names, and its documents. Nothing else is read.

Folders of runs that are not private or not certified are refused, by the mark in them and by where they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from spti_ray.config.parsing import parse_json
from spti_ray.io.files import sha256_of
from spti_ray.public.croissant import CroissantDamaged, read_croissant
from spti_ray.public.release import CERTIFICATE, DATASHEET, MANIFEST
from spti_ray.public.released_files import ManifestDamaged, read_manifest
from spti_ray.runs.folder import NOT_CERTIFIED, NOT_PRIVATE

CARD = "README.md"
"""The datasheet's name in an export, where hubs show it and read its head. An export that is exported again has it."""

Row = Mapping[str, Any]


class NotExported(ValueError):
    """There is nothing that can be exported, or no place for it; one line says why. Nothing was written."""


@dataclass(frozen=True)
class Released:
    """A release on disk.

    `table`: its manifest, one row per image. `documents`: what is put beside the data, by its name in an export, and
    its name in the release; in the order in which they are written: the certificate, which vouches for the rest, is
    last. `croissant`: its `croissant.json`, of which an export has one of its own; releases of earlier versions have
    none.
    """

    folder: Path
    table: pa.Table
    documents: Mapping[str, str]
    croissant: Mapping[str, Any] | None = None

    def rows(self) -> list[Row]:
        """The manifest's rows, in its order."""
        return self.table.to_pylist()

    def images(self) -> Iterator[tuple[Row, bytes]]:
        """Each row and its image's file as it is, one by one. Raises NotExported if it is not what the row names."""
        for row in self.rows():
            yield row, self.image(row)

    def image(self, row: Row) -> bytes:
        """The image's file. Raises NotExported if it is not what the row names."""
        path = self.folder / row["file"]
        try:
            # Another kind of file, such as a FIFO, may never end.
            content = path.read_bytes() if path.is_file() else b""
        except OSError:
            content = b""
        if hashlib.sha256(content).hexdigest() != row["sha256"]:
            raise NotExported(f"{path}: missing, or not the image of the manifest; run spti verify")
        return content

    def size(self, row: Row) -> int:
        """The size of the image's file in bytes; 0 if it is missing."""
        path = self.folder / row["file"]
        return path.stat().st_size if path.is_file() else 0


def read_release(directory: Path) -> Released:
    """Read the release in `directory`, which is its folder or its run's.

    Raises:
        NotExported: there is none that may be exported; one line.
    """
    folder = (directory / "release" if (directory / "release").is_dir() else directory).resolve()
    if _is_internal(folder) or any((folder / mark).exists() for mark in (NOT_PRIVATE, NOT_CERTIFIED)):
        raise NotExported(f"{directory}: internal, and never exported; only a release is")
    if not directory.exists():
        raise NotExported(f"{directory}: there is no such folder; name a run's, or a release's")
    if not (folder / MANIFEST).is_file():
        raise NotExported(f"{directory}: holds no finished run and no release (no {MANIFEST})")
    try:
        table = read_manifest(folder)
    except ManifestDamaged as error:
        raise NotExported(f"{directory}: its {MANIFEST} is none of a release ({error}); run spti verify") from None
    sheet = DATASHEET if (folder / DATASHEET).is_file() else CARD
    named = {MANIFEST: MANIFEST, "report.html": "report.html", CARD: sheet, CERTIFICATE: CERTIFICATE}
    documents = {name: own for name, own in named.items() if (folder / own).is_file()}
    if CARD not in documents:
        raise NotExported(f"{directory}: no {DATASHEET}, the release is not finished; run the same spti run again")
    if CERTIFICATE in documents and not _is_certificate_of(folder):
        raise NotExported(f"{directory}: {CERTIFICATE} is not that of the {MANIFEST} beside it; run spti verify")
    try:
        return Released(folder, table, documents, read_croissant(folder))
    except CroissantDamaged as error:
        raise NotExported(str(error)) from None


def _is_internal(folder: Path) -> bool:
    """Whether a folder is inside a run's folder `internal`; `folder` is resolved, so that links do not hide it."""
    return any(path.name == "internal" and (path.parent / "run.yaml").exists() for path in (folder, *folder.parents))


def _is_certificate_of(folder: Path) -> bool:
    try:
        named = parse_json((folder / CERTIFICATE).read_bytes())["release"]["manifest_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return named == sha256_of(folder / MANIFEST)
