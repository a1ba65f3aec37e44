"""Checks the C2PA manifests in the images of a release: altered, signed by somebody who is not known, or expired.

Altered means that signature or bytes do not hold: that is a failure. That a signer leads to no certificate which the
reader named says nothing about the image, and is told; it fails only where certificates were named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from spti_ray.provenance.c2pa_manifests import Manifest, can_read_manifests, read_manifest
from spti_ray.provenance.credentials import TEST_NAME
from spti_ray.provenance.statement import SOURCE_TYPE
from spti_ray.public.datasheet import Signed
from spti_ray.release.checks import Check

_NAME = "release.provenance signatures"


class SignatureCheck:
    """Is shown the images one by one, and then tells whether all are signed and whole.

    Args:
        signed: who signed them, as the manifest says.
        said: what they say of themselves in XMP, by the fields of a statement.
        anchors: certificates in PEM that a signer must lead to; None for none.
    """

    def __init__(self, signed: Signed, said: Mapping[str, str], anchors: str | None = None) -> None:
        self._signed, self._anchors = signed, anchors
        self._said = {field: value for field, value in said.items() if field != "source_type"}
        self._can_check = can_read_manifests()
        self._wrong: list[str] = []
        self._signers: Counter[str] = Counter()
        self._untrusted = self._expired = 0

    def see(self, name: str, image: bytes) -> None:
        """Look at an image."""
        if not self._can_check:
            return
        found = read_manifest(image, self._anchors)
        if wrong := self._wrong_with(found):
            self._wrong.append(f"{name[:80]} ({wrong})")
        elif found is not None:
            self._signers[found.signer] += 1
            self._untrusted += not found.trusted
            self._expired += found.expired

    def _wrong_with(self, found: Manifest | None) -> str:
        if found is None:
            return "no manifest"
        if found.altered:
            return f"altered: {found.altered}"
        if found.created != SOURCE_TYPE or found.said != self._said:
            return "says something else than its XMP"
        return ""

    def checks(self) -> Iterator[Check]:
        """What is found."""
        if not self._can_check:
            detail = "not checked: it needs another library: pip install 'spti-ray[provenance]'"
            yield Check(_NAME, True, detail, open=True)
            return
        if self._wrong:
            yield Check(_NAME, False, f"{len(self._wrong)} image(s) do not hold: {self._wrong[:3]}")
            return
        count, signers = self._signers.total(), sorted(self._signers)
        yield Check(_NAME, True, f"{count} images signed by {', '.join(signers)}, not altered since")
        by_whom = f"{_NAME}: by whom"
        if self._anchors is not None:
            trusted = "each leads to a certificate of --trust"
            other = f"not altered, but {self._untrusted} image(s) lead to no certificate of --trust"
            yield Check(by_whom, not self._untrusted, other if self._untrusted else trusted)
        elif self._signed.is_test or TEST_NAME in signers:
            yield Check(by_whom, True, "a TEST certificate: it proves nothing about who signed", open=True)
        else:
            who = "not trusted by a list, since none was given: ask the signer for a certificate, and add --trust FILE"
            yield Check(by_whom, True, who, open=True)
        if self._expired:
            detail = (
                f"not altered, but the certificate in {self._expired} image(s) has expired since, and nothing proves "
                "that they were signed before"
            )
            yield Check(f"{_NAME}: when", True, detail, open=True)
