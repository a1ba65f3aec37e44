"""Writes the release folder: the manifest, the Hugging Face metadata, the certificate, the datasheet and
`croissant.json`.

The images are in `folder/images` already. All that is written here is public or differentially private: the
configuration, the released texts, the models' names and the certificate. Each file is replaced atomically. So a release
that is written a second time, on resume, is the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spti_ray.config import ROLES, Config
from spti_ray.config.parsing import parse_json
from spti_ray.io.files import atomic_file, fsync_folder, sha256_of, write_atomic, write_table_atomic
from spti_ray.provenance.marks import BARE, Marks
from spti_ray.public.croissant import CROISSANT, croissant
from spti_ray.public.datasheet import Datasheet, Signed
from spti_ray.public.fallbacks import FallbackCounts
from spti_ray.public.filtered import Filtered, filtered_in, with_filtered
from spti_ray.public.finished_images import finish_images
from spti_ray.public.label_shares import LabelCounts
from spti_ray.types import ReleaseItem

MANIFEST, DATASHEET, CERTIFICATE = "manifest.parquet", "datasheet.md", "privacy.json"
"""Files beside the images of a release."""

MODELS_KEY = b"spti_ray.models"
"""Key of the manifest's Parquet metadata that holds the models (role -> {kind, model, revision}) as JSON."""

METHOD_KEY = b"spti_ray.method"
"""Key of the manifest's Parquet metadata that holds the configured method."""

RERENDERING_KEY = b"spti_ray.rerendering_of"
"""Key of the manifest's Parquet metadata that holds, of a re-rendering, the run whose texts were rendered."""

FALLBACKS_KEY = b"spti_ray.texts_written"
"""Key of the manifest's Parquet metadata that holds the counts of texts and of fallbacks, as JSON."""

LABEL_COUNTS_KEY = b"spti_ray.label_counts"
"""Key of the manifest's Parquet metadata that holds, with `evolution.label_shares: voted`, the noised number of records
of each label, as JSON."""

XMP_KEY = b"spti_ray.xmp"
"""Key of the manifest's Parquet metadata that holds the XMP of each image; not there if they have none."""

SIGNED_KEY = b"spti_ray.signed"
"""Key of the manifest's Parquet metadata that says, as JSON, who signed the images (`Signed`); not there if nobody."""

Models = Mapping[str, Mapping[str, str]]
"""The models by role: {kind, model, revision}."""


def write_release(
    folder: Path,
    config: Config,
    items: Sequence[ReleaseItem],
    models: Models,
    certificate: dict[str, Any] | None,
    fallbacks: FallbackCounts | None = None,
    label_counts: LabelCounts | None = None,
    filtered: Filtered | None = None,
    marks: Marks = BARE,
) -> None:
    """Write manifest.parquet, metadata.jsonl, croissant.json, datasheet.md and, with a certificate, privacy.json into
    `folder`.

    Without a certificate (the noise was simulated) an earlier privacy.json is removed, and the datasheet says that the
    release is not private.

    Args:
        folder: The release's folder, with the images.
        config: The run's configuration.
        items: One for each image.
        models: The models that the run used.
        certificate: The certificate, or None.
        fallbacks: How many texts are fallbacks.
        label_counts: The noised number of records of each label, where the shares of labels were voted for.
        filtered: What the filters of the release did, if it has any.
        marks: What each image says of itself, and who signs it.

    Raises:
        ValueError: two items name one file, or a file outside `images/`.
        FileNotFoundError: an item's image is not there.
        SigningFailed: an image could not be signed.
        DiskFull: no space left.
    """
    _check_files(folder, items)
    hashes = finish_images(folder, [item.file for item in items], marks)
    of = config.certified_run("")
    table = manifest(items, models, hashes, config.method, of)
    more = {FALLBACKS_KEY: fallbacks.document() if fallbacks else {}, LABEL_COUNTS_KEY: dict(label_counts or {})}
    told = {key: json.dumps(document, sort_keys=True).encode() for key, document in more.items() if document}
    if marks.packet is not None:
        told[XMP_KEY] = marks.packet.encode()
    if marks.signer is not None:
        who = marks.signer.credentials
        told[SIGNED_KEY] = json.dumps({"by": who.name, "test": who.is_test}, sort_keys=True).encode()
    if told:
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **told})
    write_table_atomic(folder / MANIFEST, with_filtered(table, filtered))
    with atomic_file(folder / "metadata.jsonl") as file:
        for item in items:
            # The imagefolder loader joins on `file_name`; seeds and ids stay in the manifest.
            row = {"file_name": item.file, "text": item.text, "label": item.label}
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    _write_documents(folder, config, items, certificate)


def rewrite_certificate(folder: Path, config: Config, certificate: dict[str, Any] | None) -> None:
    """Replace the certificate, the datasheet and `croissant.json` of a written release.

    Images, manifest and texts stay as they are.
    """
    _write_documents(folder, config, _items(folder), certificate)


def rewrite_card(folder: Path, config: Config, certificate: Mapping[str, Any] | None) -> None:
    """Replace the datasheet and `croissant.json` of a written release, whose other files stay as they are.

    Args:
        folder: The release's folder.
        config: The run's configuration, with another `release.card`.
        certificate: What is in the release's `privacy.json`; None if it has none.
    """
    _write_card(folder, config, _items(folder), certificate)


def fallbacks_in(table: pa.Table) -> FallbackCounts:
    """How many texts of the run are fallbacks, from the manifest's metadata."""
    return FallbackCounts.from_document(parse_json((table.schema.metadata or {}).get(FALLBACKS_KEY, b"{}")))


def signed_in(metadata: Mapping[bytes, bytes]) -> Signed | None:
    """Who signed the images, from the manifest's metadata; None if nobody did, or it can't be read."""
    try:
        found = parse_json(metadata[SIGNED_KEY])
        return Signed(str(found["by"]), found["test"] is True)
    except (KeyError, TypeError, ValueError):
        return None


def release_section(folder: Path) -> dict[str, Any]:
    """The certificate's section `release`, made from the files: the manifest's hash, and what the manifest says.

    The manifest names each image by its hash, so the certificate names all images.
    """
    path = folder / MANIFEST
    metadata = pq.read_metadata(path)
    # Releases of earlier versions do not name their method.
    keys = {"method": METHOD_KEY, "rerendering_of": RERENDERING_KEY}
    kept = metadata.metadata or {}
    said = {name: kept[key].decode() for name, key in keys.items() if key in kept}
    return {"images": metadata.num_rows, "manifest_sha256": sha256_of(path)} | said


def _items(folder: Path) -> list[ReleaseItem]:
    """What the manifest says of each image."""
    names = [field.name for field in fields(ReleaseItem)]
    return [ReleaseItem(**row) for row in pq.read_table(folder / MANIFEST, columns=names).to_pylist()]


def _write_documents(
    folder: Path, config: Config, items: Sequence[ReleaseItem], certificate: dict[str, Any] | None
) -> None:
    if certificate is None:
        # A certificate that an earlier write left would be a false claim.
        (folder / CERTIFICATE).unlink(missing_ok=True)
        fsync_folder(folder)
    else:
        certificate = certificate | {"release": release_section(folder)}
        text = json.dumps(certificate, indent=2, ensure_ascii=False, allow_nan=False)
        write_atomic(folder / CERTIFICATE, text + "\n")
    _write_card(folder, config, items, certificate)


def _write_card(
    folder: Path, config: Config, items: Sequence[ReleaseItem], certificate: Mapping[str, Any] | None
) -> None:
    table = pq.read_schema(folder / MANIFEST).empty_table()
    metadata = table.schema.metadata or {}
    models: Models = parse_json(metadata.get(MODELS_KEY, b"{}"))
    counts: LabelCounts = parse_json(metadata.get(LABEL_COUNTS_KEY, b"{}"))
    sheet = Datasheet(
        folder,
        config,
        items,
        models,
        certificate,
        fallbacks_in(table),
        counts,
        filtered_in(table),
        has_xmp=XMP_KEY in metadata,
        signed=signed_in(metadata),
    )
    classes = sorted({item.label for item in items})
    is_private = certificate is not None
    write_atomic(folder / CROISSANT, croissant(config, sheet, classes, folder / MANIFEST, is_private))
    write_atomic(folder / DATASHEET, sheet.markdown())


def manifest(
    items: Sequence[ReleaseItem], models: Models, hashes: Sequence[str], method: str, rerendering_of: str = ""
) -> pa.Table:
    """The manifest: one row per image, with the SHA-256 of its file and the model and revision of each public role.

    The schema's metadata has all models, the method and, of a re-rendering, the run whose texts were rendered.

    Args:
        items: One for each image.
        models: The models that the run used.
        hashes: The SHA-256 of each image's file, in hexadecimal.
        method: The run's method.
        rerendering_of: Of a re-rendering, the run whose texts were rendered.
    """
    columns: dict[str, pa.Array] = {
        "file": pa.array([item.file for item in items], pa.string()),
        "sha256": pa.array(hashes, pa.string()),
        "text": pa.array([item.text for item in items], pa.string()),
        "label": pa.array([item.label for item in items], pa.string()),
        "seed": pa.array([item.seed for item in items], pa.int64()),
        "variant": pa.array([item.variant for item in items], pa.int32()),
        "generation": pa.array([item.generation for item in items], pa.int32()),
        "candidate_id": pa.array([item.candidate_id for item in items], pa.string()),
        "parent_id": pa.array([item.parent_id for item in items], pa.string()),
    }
    for role in sorted(models, key=_role_order):
        for key in ("model", "revision"):
            columns[f"{role}_{key}"] = pa.array([models[role].get(key, "")] * len(items), pa.string())
    table = pa.table(columns)
    plain = {role: dict(identity) for role, identity in models.items()}
    said = {MODELS_KEY: json.dumps(plain, sort_keys=True).encode(), METHOD_KEY: method.encode()}
    if rerendering_of:
        said[RERENDERING_KEY] = rerendering_of.encode()
    return table.replace_schema_metadata(said)


def _role_order(role: str) -> tuple[int, str]:
    """Sort key: renderer and writer first, since they made what is released; then the configuration's order."""
    first = ("renderer", "writer", *ROLES)
    return (first.index(role) if role in first else len(first), role)


def is_release_file(name: str) -> bool:
    """Whether a manifest may name this file: directly in `images/`, and not hidden."""
    parent, _, leaf = name.partition("/")
    return parent == "images" and bool(leaf) and "/" not in leaf and not leaf.startswith(".")


def _check_files(folder: Path, items: Sequence[ReleaseItem]) -> None:
    names = {item.file for item in items}
    if len(names) != len(items):
        raise ValueError("two release items name the same image file")
    for name in names:
        if not is_release_file(name):
            raise ValueError(f"release item {name!r}: expected images/NAME.png")
    images = folder / "images"
    there = {f"images/{entry.name}" for entry in os.scandir(images)} if images.is_dir() else set()
    missing = sorted(names - there)
    if missing:
        raise FileNotFoundError(f"{folder / missing[0]}: image of the release is missing ({len(missing)} in all)")
