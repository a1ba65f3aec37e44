"""Checks what the images of a release say of themselves, against its manifest, its certificate and its ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from spti_ray.dp.entries import Entry
from spti_ray.dp.history import opened_first
from spti_ray.provenance.png_chunks import NotPng, xmp_of
from spti_ray.provenance.statement import PROTECTED, SOURCE_TYPE, figures_of
from spti_ray.provenance.xmp import NotRead, readable, said_in
from spti_ray.public.release import SIGNED_KEY, XMP_KEY, signed_in
from spti_ray.release.checks import Check, find_field
from spti_ray.release.verify_signatures import SignatureCheck

_NAME = "release.provenance"


class ProvenanceCheck:
    """Is shown the images one by one, and then tells whether they say what they must.

    A release whose manifest says nothing of XMP is one of an earlier build, or was made without it.

    Args:
        table: the manifest.
        document: the certificate.
        entries: the ledger up to the certificate's head; None where there is no ledger.
        anchors: certificates in PEM that whoever signed the images must lead to; None for none.
    """

    def __init__(
        self,
        table: pa.Table,
        document: Mapping[str, Any],
        entries: Sequence[Entry] | None = None,
        anchors: str | None = None,
    ) -> None:
        metadata = table.schema.metadata or {}
        xmp, self._is_signed = metadata.get(XMP_KEY), SIGNED_KEY in metadata
        self._packet = None if xmp is None else xmp.decode(errors="replace")
        self._document, self._entries, self._anchors = document, entries, anchors
        try:
            self._said = said_in(self._packet or "")
        except NotRead:
            self._said = None
        signed = signed_in(metadata)
        self._signatures = SignatureCheck(signed, self._said, anchors) if signed and self._said is not None else None
        self._seen = 0
        self._wrong: list[str] = []

    def see(self, name: str, image: bytes) -> None:
        """Look at an image, of which it is known already whether it is the manifest's."""
        if self._packet is None:
            return
        if self._signatures is not None:
            self._signatures.see(name, image)
        self._seen += 1
        try:
            holds = xmp_of(image) == self._packet
        except NotPng:
            holds = False
        if not holds:
            self._wrong.append(name[:80])

    def checks(self) -> Iterator[Check]:
        """What is found: of the images, of what they say, and of who signed it."""
        if self._packet is not None:
            yield from self._of_xmp()
        if self._signatures is not None:
            yield from self._signatures.checks()
        elif self._is_signed:
            yield Check(f"{_NAME} signatures", False, "the manifest names a signer, but not what was signed")
        elif self._anchors is not None:
            yield Check(f"{_NAME} signatures", False, "not signed, but --trust asks for signatures")

    def _of_xmp(self) -> Iterator[Check]:
        detail = f"{self._seen} images say in XMP that they are synthetic, and how they were made"
        if self._wrong:
            detail = f"not what the manifest says, or nothing: {self._wrong[:3]}"
        yield Check(f"{_NAME} in XMP", not self._wrong, detail)
        said = self._said
        try:
            epsilon, delta, unit = figures_of(self._document)
        except (KeyError, TypeError, ValueError):
            said, epsilon, delta, unit = None, "", "", ""
        if said is None:
            yield Check(_NAME, False, "what it says can't be read, or the certificate lacks what it must say")
            return
        wanted = {
            "source_type": SOURCE_TYPE,
            "method": find_field(self._document, "release.method"),
            "protection": PROTECTED,
            "epsilon": epsilon,
            "delta": delta,
            "unit": readable(unit),
            "run": find_field(self._document, "run.id"),
        }
        if self._entries is not None:
            wanted["ledger_entry"] = opened_first(self._entries, str(wanted["run"]))
        for field, value in wanted.items():
            equal = said.get(field) == value
            other = f"says {said.get(field, 'nothing')}, but it is {value}"
            yield Check(f"{_NAME}.{field}", equal, str(value) if equal else other)
