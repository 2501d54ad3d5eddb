"""Certificates for tests, made by the real ``openssl``: an authority and what it signs."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PROGRAM = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(PROGRAM is None, reason="openssl is not installed")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.own = Pair(folder / f"{name}.pem", folder / f"{name}.key")
        made = ["-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        self._make(self.own, *made, "-days", "2")

    @property
    def pem(self) -> Path:
        """Its certificate."""
        return self.own.certificate

    def sign(self, name: str, names: str, usage: str = "serverAuth,clientAuth") -> Pair:
        """A certificate with these alternative names (openssl's way of writing them)."""
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        self._make(
            pair,
            *("-subj", f"/CN={name}", "-days", "1"),
            *("-CA", str(self.own.certificate), "-CAkey", str(self.own.key)),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
            *("-addext", f"extendedKeyUsage={usage}"),
            *(("-addext", f"subjectAltName={names}") if names else ()),
        )
        return pair

    def expired(self, name: str, uri: str) -> Pair:
        """One that was valid until a minute ago; ``openssl req`` cannot say that."""
        now = datetime.now(UTC)
        authority = x509.load_pem_x509_certificate(self.pem.read_bytes())
        signer = serialization.load_pem_private_key(self.own.key.read_bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        made = (
            x509.CertificateBuilder(authority.subject, x509.Name([]), key.public_key(), 2)
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now - timedelta(minutes=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=True
            )
            .sign(signer, hashes.SHA256())
        )
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        pair.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
        return pair

    def _make(self, pair: Pair, *options: str) -> None:
        assert PROGRAM is not None  # see needs_openssl
        kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        out = ("-keyout", str(pair.key), "-out", str(pair.certificate))
        command = [PROGRAM, "req", "-x509", *kind, *out, *options]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
