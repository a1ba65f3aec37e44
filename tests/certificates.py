"""Certificates and keys for tests of signing, made when they are asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

EMAIL, SERVER = "1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.1"


def made(
    key: Any,
    name: str = "Example Signer",
    usage: str | None = EMAIL,
    days: tuple[float, float] = (-1, 30),
    issuer: tuple[x509.Certificate, Any] | None = None,
    is_authority: bool = False,
) -> x509.Certificate:
    """A certificate of `key`, valid from so many days after now to so many, signed by itself or by `issuer`."""
    now, subject = datetime.now(UTC), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer[1] if issuer else key
    bits = {"key_cert_sign": is_authority} | dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, encipher_only=False, decipher_only=False, **bits), critical=True
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(usage)]), critical=False)
    return builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def pem_of(*certificates: x509.Certificate) -> str:
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)


def key_pem(key: Any, password: str = "") -> bytes:
    closed = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, closed)


def written(folder: Path, key: Any = None, **more: Any) -> dict[str, str]:
    """A certificate and its key as files in `folder`, and the settings that name them."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    certificate, key_file = folder / "signer.pem", folder / "signer.key"
    certificate.write_text(pem_of(made(key, **more)))
    key_file.write_bytes(key_pem(key))
    return {"certificate": str(certificate), "key_file": str(key_file)}
