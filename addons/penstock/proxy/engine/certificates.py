"""The installation's certificate authority and the files clients trust it by.

One EC P-256 authority per state directory, made on first use. ``ca.pem`` is its
certificate, ``ca-bundle.pem`` the public roots and the authority (several client
variables replace the public roots, so they need both). The private key is only ever in
``ca-key.pem``, mode 0600. Files appear whole or not at all, and two processes that start
at once agree on one authority.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Longer than an installation lives between two starts, shorter than a forgotten root.
AUTHORITY_LIFETIME = timedelta(days=1825)
# An authority this close to its end is replaced at start, never while running.
AUTHORITY_RENEWAL = timedelta(days=30)
# Clocks of pods and laptops differ; a certificate valid "from now" would be refused.
CLOCK_TOLERANCE = timedelta(days=2)


@dataclass(slots=True, frozen=True)
class Authority:
    """The signing pair. Its repr never shows the key (cryptography's objects hide it)."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


@dataclass(slots=True, frozen=True)
class Certificates:
    """What ``prepare`` leaves in the state directory; ``upstream_roots`` None means certifi."""

    authority: Authority
    ca: Path
    bundle: Path
    upstream_roots: Path | None


def prepare(state_dir: Path, upstream_ca: Path | None = None) -> Certificates:
    """Load or make the authority and write the trust files; call before a port opens.

    ``upstream_ca`` is a PEM file of further roots for upstream servers. Raises ValueError
    when it holds no certificate, OSError when the state directory cannot be written.
    """
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    roots = Path(certifi.where()).read_bytes()
    extra = _further_roots(upstream_ca) if upstream_ca else b""
    with _exclusive(state_dir / "ca.lock"):
        authority = _load(state_dir / "ca-key.pem") or _make(state_dir / "ca-key.pem")
        certificate = authority.certificate.public_bytes(serialization.Encoding.PEM)
        _write(state_dir / "ca.pem", certificate, 0o644)
        _write(state_dir / "ca-bundle.pem", roots + extra + certificate, 0o644)
        upstream_roots = None
        if extra:
            # Named by content: processes with different further roots may share the directory.
            digest = hashlib.sha256(roots + extra).hexdigest()[:16]
            upstream_roots = state_dir / f"upstream-roots-{digest}.pem"
            _write(upstream_roots, roots + extra, 0o644)
    return Certificates(
        authority, state_dir / "ca.pem", state_dir / "ca-bundle.pem", upstream_roots
    )


def _further_roots(path: Path) -> bytes:
    pem = path.read_bytes()
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ValueError(f"{path} holds no readable PEM certificate") from error
    return b"".join(
        certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates
    )


def make_authority(now: datetime | None = None) -> Authority:
    """A fresh authority, with the key usage and identifiers strict verifiers ask for (RFC 5280)."""
    now = now or datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # The serial in the name keeps two installations apart in one trust store.
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Penstock"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Penstock local CA {serial % 2**32:08x}"),
        ]
    )
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .serial_number(serial)
        .public_key(public)
        .not_valid_before(now - CLOCK_TOLERANCE)
        .not_valid_after(now + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(key, certificate)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def make_leaf(
    authority: Authority,
    key: ec.EllipticCurvePublicKey,
    names: list[x509.GeneralName],
    lifetime: timedelta,
    now: datetime | None = None,
) -> x509.Certificate:
    """A server certificate for ``names`` over ``key``, signed by the authority."""
    now = now or datetime.now(UTC)
    issuer_id = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return (
        x509.CertificateBuilder()
        # The subject stays empty: names live in subjectAltName, critical then (RFC 5280 4.2.1.6).
        .subject_name(x509.Name([]))
        .issuer_name(authority.certificate.subject)
        .serial_number(x509.random_serial_number())
        .public_key(key)
        .not_valid_before(now - CLOCK_TOLERANCE)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id.value),
            critical=False,
        )
        .sign(authority.key, hashes.SHA256())
    )


def _make(path: Path) -> Authority:
    authority = make_authority()
    pem = authority.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + authority.certificate.public_bytes(serialization.Encoding.PEM)
    _write(path, pem, 0o600)
    return authority


def _load(path: Path) -> Authority | None:
    """The authority in ``path``; None when there is none or it is about to expire."""
    try:
        pem = path.read_bytes()
    except FileNotFoundError:
        return None
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        path.chmod(0o600)
    try:
        key = serialization.load_pem_private_key(pem, None)
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise ValueError(f"{path} is not a private key with its certificate") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} must hold an elliptic-curve key")
    if key.public_key() != certificate.public_key():
        raise ValueError(f"{path}: key and certificate do not belong together")
    if certificate.not_valid_after_utc - datetime.now(UTC) < AUTHORITY_RENEWAL:
        return None
    return Authority(key, certificate)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replace ``path`` atomically, unless it already holds ``content`` (read-only mounts)."""
    if path.exists() and path.read_bytes() == content:
        return
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Hold an advisory lock; the kernel frees it when the process dies."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
