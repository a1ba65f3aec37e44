"""Signed C2PA manifests in images, by the library `c2pa` (specification 2.x, https://spec.c2pa.org).

A manifest binds what is said to the image's bytes, so it is the last thing that is written into one. Without the
library's thumbnail, which is larger than small images. Its time of signing is not proved: no timestamp is asked for.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

from spti_ray import __version__
from spti_ray.config.loading import ConfigError
from spti_ray.provenance.credentials import Credentials
from spti_ray.provenance.png_chunks import NotPng, has_manifest_store
from spti_ray.provenance.statement import SOURCE_TYPE

ASSERTION = "org.spti-ray.release"
"""The label of the assertion with the fields of the image's statement."""

_FORMAT = "image/png"
_UNTRUSTED, _EXPIRED = "signingCredential.untrusted", "signingCredential.expired"
_USAGES = ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1")
"""Extended key usages of signers: email protection, document signing (RFC 9336), and C2PA's own."""

_TINY = bytes.fromhex(
    "89504e470d0a1a0a0000000d494844520000000100000001080000000"
    "03a7e9b550000000a49444154789c6360000000020001487fd8820000000049454e44ae426082"
)
"""A PNG of one pixel."""


class SigningFailed(RuntimeError):
    """An image could not be signed; one line. Whatever the signer itself said is not repeated."""


@dataclass(frozen=True)
class Manifest:
    """What is in an image's active C2PA manifest, and whether it holds.

    `altered`: why signature or bytes do not hold; empty if they do. `trusted`: whether the signer leads to one of the
    certificates that were given. `expired`: its certificate has expired, and no timestamp says that it was signed
    before. `signer`: the certificate's common name. `said`: the fields of `ASSERTION`. `created`: the source type of
    its action `c2pa.created`.
    """

    altered: str
    trusted: bool
    expired: bool
    signer: str
    said: Mapping[str, Any]
    created: str


class ImageSigner:
    """Signs images of one release. Its threads may be several.

    Args:
        credentials: who signs.
        said: the fields of the statement, which the image has as XMP too.
        renderer: name and revision of the model that rendered the image.
    """

    def __init__(self, credentials: Credentials, said: Mapping[str, str], renderer: tuple[str, str]) -> None:
        name, version = renderer
        agent = {"name": name or "renderer"} | ({"version": version} if version else {})
        created = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE, "softwareAgent": agent}
        self._said = dict(said)
        self._definition = json.dumps(
            {
                "claim_generator_info": [{"name": "spti-ray", "version": __version__}],
                "format": _FORMAT,
                "assertions": [
                    {"label": "c2pa.actions", "data": {"actions": [created]}},
                    {"label": ASSERTION, "data": self._said},
                ],
            }
        )
        self.credentials = credentials
        self._own = threading.local()

    def sign(self, png: bytes) -> bytes:
        """The PNG with its manifest. Two signatures of the same image differ.

        Raises:
            SigningFailed: the signer or the library failed.
        """
        import c2pa

        signed = io.BytesIO()
        self._own.failed = ""
        try:
            with c2pa.Builder(self._definition, context=_context()) as builder:
                builder.sign(self._signer(), _FORMAT, io.BytesIO(png), signed)
        except c2pa.C2paError as error:
            raise SigningFailed(
                f"an image could not be signed ({self._own.failed or _line(error)}); once that is mended, the same "
                "command goes on with the run"
            ) from None
        return signed.getvalue()

    def has_signed(self, png: bytes) -> bool:
        """Whether the image has an intact manifest that says what this signer would."""
        try:
            found = read_manifest(png) if has_manifest_store(png) else None
        except NotPng:
            return False
        return found is not None and not found.altered and not found.expired and found.said == self._said

    def _signer(self) -> Any:
        """The library's signer of this thread."""
        import c2pa

        found = getattr(self._own, "signer", None)
        if found is None:
            algorithm = getattr(c2pa.C2paSigningAlg, self.credentials.algorithm)
            found = c2pa.Signer.from_callback(self._called, algorithm, self.credentials.chain)
            self._own.signer = found
        return found

    def _called(self, data: bytes) -> bytes:
        """The signature; none if the signer fails, of which the library would log and hide what it says."""
        try:
            return self.credentials.sign(data)
        except Exception as error:  # noqa: BLE001 it is anybody's
            self._own.failed = f"the signer raised {type(error).__name__}"
            return b""


def check_credentials(credentials: Credentials) -> None:
    """Sign a tiny image, which shows what the library will not have of a certificate, and whether the signer answers.

    Raises:
        ConfigError: it can't be signed; one line.
    """
    try:
        ImageSigner(credentials, {}, ("", "")).sign(_TINY)
    except SigningFailed as error:
        raise ConfigError(
            f"release.provenance.certificate: {str(error).partition(';')[0]}; C2PA takes an end-entity certificate, "
            "chain after it, with key usage digitalSignature, an extended key usage of e-mail protection, document "
            "signing or C2PA, and an authority key identifier"
        ) from None


def can_read_manifests() -> bool:
    """Whether the library is installed."""
    return find_spec("c2pa") is not None


def read_manifest(png: bytes, anchors: str | None = None) -> Manifest | None:
    """Read and check an image's active manifest. Nothing is fetched.

    Args:
        png: a PNG that anybody may have written.
        anchors: certificates in PEM that a signer must lead to; None for none.

    Returns:
        What is in it; None if it has none.
    """
    import c2pa

    try:
        reader = c2pa.Reader.try_create(_FORMAT, io.BytesIO(png), context=_context(anchors))
        if reader is None:
            return None
        with reader:
            document = json.loads(reader.json())
    except (c2pa.C2paError, ValueError) as error:
        return Manifest(_line(error), trusted=False, expired=False, signer="", said={}, created="")
    active = document.get("manifests", {}).get(document.get("active_manifest"), {})
    results = document.get("validation_results", {}).get("activeManifest", {})
    failures = {str(failure.get("code")) for failure in results.get("failure", ())}
    broken = sorted(failures - {_UNTRUSTED, _EXPIRED})
    if not broken and document.get("validation_state") not in ("Valid", "Trusted") and _EXPIRED not in failures:
        broken = ["not valid"]
    assertions = {one.get("label"): one.get("data") for one in active.get("assertions", ())}
    return Manifest(
        altered=", ".join(broken),
        trusted=_UNTRUSTED not in failures,
        expired=_EXPIRED in failures,
        signer=str(active.get("signature_info", {}).get("common_name", "")),
        said=assertions.get(ASSERTION) or {},
        created=_created(assertions),
    )


def _created(assertions: Mapping[str, Any]) -> str:
    actions = next((data for label, data in assertions.items() if str(label).startswith("c2pa.actions")), None) or {}
    return next(
        (str(a.get("digitalSourceType", "")) for a in actions.get("actions", ()) if a.get("action") == "c2pa.created"),
        "",
    )


@cache
def _context(anchors: str | None = None) -> Any:
    """The library's settings: no thumbnail, nothing fetched, and the key usages that signers have."""
    import c2pa

    trust = {"trust_config": "\n".join(_USAGES)} | ({"trust_anchors": anchors} if anchors else {})
    return c2pa.Context.from_dict(
        {
            "builder": {"thumbnail": {"enabled": False}},
            "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
            "trust": trust,
        }
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
