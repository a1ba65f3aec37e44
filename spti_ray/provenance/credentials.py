"""Whoever signs a release: a certificate with its chain, and what makes signatures with its key.

All that can be wrong with them is said before a run starts anything. No message repeats a key or what is in its file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spti_ray.config.loading import ConfigError
from spti_ray.config.provenance import TEST, ProvenanceConfig

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

Sign = Callable[[bytes], bytes]
"""From bytes to their signature, as COSE has it (RFC 9053): for ECDSA r and s one after the other, not DER."""

TEST_NAME = "spti-ray TEST, proves nothing"
"""The common name of a test certificate."""

_WHERE = "release.provenance"
_NEEDS = f"{_WHERE}.certificate: signing needs another library: pip install 'spti-ray[provenance]'"
_TEST_DAYS = 30
_EMAIL_PROTECTION = "1.3.6.1.5.5.7.3.4"

_CURVES = {"secp256r1": ("ES256", 32), "secp384r1": ("ES384", 48), "secp521r1": ("ES512", 66)}
"""Curves that C2PA has, each with its algorithm and the bytes of r and of s."""
_KEYS = "C2PA has ECDSA on P-256, P-384 and P-521, Ed25519, and RSA of 2,048 bits or more"


@dataclass(frozen=True)
class Credentials:
    """Who signs. `chain`: PEM, the signer's certificate first. `algorithm`: C2PA's name of it, such as ES256."""

    chain: str
    algorithm: str
    name: str
    """The certificate's common name, for people."""
    sign: Sign = field(repr=False)
    is_test: bool = False


def credentials_of(config: ProvenanceConfig, sign: Sign | None = None) -> Credentials | None:
    """Who signs a release by its settings, once the certificate and the key are found and fit each other.

    Args:
        config: the settings.
        sign: makes signatures in place of a key, such as a hardware module.

    Returns:
        The credentials; None where nothing is signed.

    Raises:
        ConfigError: they can't be used; one line that names the setting.
    """
    if config.certificate is None:
        if sign is not None:
            raise ConfigError(f"sign: is given, but {_WHERE}.certificate names no certificate of its key")
        return None
    if not config.xmp:
        raise ConfigError(
            f"{_WHERE}.certificate: signs what the images' XMP says, and those of this run have none; leave xmp: true, "
            "and begin anew a run that a version without XMP began"
        )
    try:
        import c2pa  # noqa: F401
        import cryptography  # noqa: F401
    except ImportError:
        raise ConfigError(_NEEDS) from None
    has_key = config.key_file is not None or config.key_env is not None
    if sign is not None and (has_key or config.certificate == TEST):
        raise ConfigError(f"sign: is given, and {_WHERE} has a key too; leave one of them out")
    if config.certificate == TEST:
        return _for_tests()
    chain = _chain(Path(config.certificate))
    _check_order(chain, config.certificate)
    _check_dates(chain[0], config.certificate)
    algorithm = _algorithm(chain[0].public_key())
    if sign is None:
        if not has_key:
            raise ConfigError(
                f"{_WHERE}: names a certificate and no key; set key_file or key_env, or give sign from Python"
            )
        where, pem = _key_text(config)
        sign = _signs(_key(where, pem, chain, config.certificate), algorithm)
    from cryptography.hazmat.primitives.serialization import Encoding

    pems = "".join(one.public_bytes(Encoding.PEM).decode() for one in chain)
    return Credentials(pems, algorithm, _name(chain[0]), sign)


def _chain(file: Path) -> list[Certificate]:
    from cryptography import x509

    try:
        chain = x509.load_pem_x509_certificates(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"{_WHERE}.certificate: {file}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{_WHERE}.certificate: {file}: holds no certificate in PEM") from None
    return chain


def _check_order(chain: Sequence[Certificate], file: str) -> None:
    """Refuse a chain in which a certificate comes after the one that has signed it: the signer's own is to be first.

    One with a certificate in between missing, or with another chain's, has no order. The library judges it.
    """
    for at, certificate in enumerate(chain):
        before = next((earlier for earlier in chain[:at] if _is_signed_by(certificate, earlier)), None)
        if before is not None:
            raise ConfigError(
                f"{_WHERE}.certificate: {file}: the chain is in the wrong order: the certificate of "
                f"{_name(before)!r} comes before that of {_name(certificate)!r}, which it has signed; put the signer's "
                "own certificate first, and after each the one that signed it"
            )


def _is_signed_by(certificate: Certificate, authority: Certificate) -> bool:
    if certificate.issuer != authority.subject or certificate == authority:
        return False
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # noqa: BLE001 a key or signature of any kind, also of one that is not known
        return False
    return True


def _check_dates(certificate: Certificate, file: str) -> None:
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc <= now:
        raise ConfigError(
            f"{_WHERE}.certificate: {file}: expired on {certificate.not_valid_after_utc:%Y-%m-%d}; name a valid one"
        )
    if certificate.not_valid_before_utc > now:
        raise ConfigError(
            f"{_WHERE}.certificate: {file}: not valid before {certificate.not_valid_before_utc:%Y-%m-%d}; name a valid "
            "one, or check the clock"
        )


def _algorithm(public_key: Any) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(public_key, ed25519.Ed25519PublicKey):
        return "ED25519"
    if isinstance(public_key, rsa.RSAPublicKey) and public_key.key_size >= 2048:
        return "PS256"
    if isinstance(public_key, ec.EllipticCurvePublicKey) and public_key.curve.name in _CURVES:
        return _CURVES[public_key.curve.name][0]
    raise ConfigError(f"{_WHERE}.certificate: its key is of a kind that can't sign images; {_KEYS}")


def _key_text(config: ProvenanceConfig) -> tuple[str, bytes]:
    """Where the key is, for people, and its PEM."""
    if config.key_env is not None:
        where, pem = f"{_WHERE}.key_env: {config.key_env}", os.environ.get(config.key_env, "").encode()
        if not pem:
            raise ConfigError(f"{where}: no such environment variable where the driver runs, or it is empty")
        return where, pem
    where = f"{_WHERE}.key_file: {config.key_file}"
    try:
        return where, Path(str(config.key_file)).read_bytes()
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror}") from None


def _key(where: str, pem: bytes, chain: Sequence[Certificate], file: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise ConfigError(f"{where}: the key has a password; give it without one, or sign from Python") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{where}: holds no private key in PEM") from None
    mine = next((at for at, certificate in enumerate(chain) if certificate.public_key() == key.public_key()), None)
    if mine is None:
        raise ConfigError(f"{where}: is not the key of the certificate; name that one")
    if mine:
        raise ConfigError(
            f"{_WHERE}.certificate: {file}: the chain is in the wrong order: the key's own certificate, that of "
            f"{_name(chain[mine])!r}, is number {mine + 1} in it; put it first"
        )
    return key


def _signs(key: Any, algorithm: str) -> Sign:
    """What signs with a private key."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

    if algorithm == "ED25519":
        return key.sign
    if algorithm == "PS256":
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256().digest_size)
        return lambda data: key.sign(data, pss, hashes.SHA256())
    length = next(length for name, length in _CURVES.values() if name == algorithm)
    digest = {"ES256": hashes.SHA256, "ES384": hashes.SHA384, "ES512": hashes.SHA512}[algorithm]()

    def sign(data: bytes) -> bytes:
        r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
        return r.to_bytes(length, "big") + s.to_bytes(length, "big")

    return sign


def _name(certificate: Certificate) -> str:
    from cryptography.x509.oid import NameOID

    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else certificate.subject.rfc4514_string()


def _for_tests() -> Credentials:
    """A key and a certificate that nobody vouches for, in this process's memory alone."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import NameOID

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    attributes = [(NameOID.COMMON_NAME, TEST_NAME), (NameOID.ORGANIZATION_NAME, "nobody")]
    name = x509.Name([x509.NameAttribute(kind, value) for kind, value in attributes])
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign"),
        False,
    )
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=_TEST_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, encipher_only=False, decipher_only=False, **usage), critical=True
        )
        .add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(_EMAIL_PROTECTION)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(Encoding.PEM).decode()
    return Credentials(pem, "ES256", TEST_NAME, _signs(key, "ES256"), is_test=True)
