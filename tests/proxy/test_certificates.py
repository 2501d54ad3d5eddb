"""The installation's authority: strict, private, whole, and one per directory."""

from __future__ import annotations

import os
import ssl
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from penstock.proxy.engine import certificates
from penstock.proxy.engine.certificates import make_authority, make_leaf, prepare
from penstock.proxy.engine.tls import LEAVES_MAX, Leaves
from tests.proxy.raw import SOURCE, TestCa


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_key_is_for_its_owner_only(tmp_path: Path) -> None:
    """0600 whatever the umask; the files for clients are readable and hold no key."""
    old = os.umask(0)
    try:
        made = prepare(tmp_path / "state")
    finally:
        os.umask(old)
    assert mode(tmp_path / "state" / "ca-key.pem") == 0o600
    assert mode(made.ca) == mode(made.bundle) == 0o644
    assert b"PRIVATE" not in made.ca.read_bytes() + made.bundle.read_bytes()


def test_an_open_key_file_is_closed_again(tmp_path: Path) -> None:
    """A restored backup with loose permissions is mended at start."""
    prepare(tmp_path)
    (tmp_path / "ca-key.pem").chmod(0o644)
    prepare(tmp_path)
    assert mode(tmp_path / "ca-key.pem") == 0o600


def test_a_second_start_keeps_the_authority(tmp_path: Path) -> None:
    """Clients that trust it go on trusting it, and no file is touched."""
    first = prepare(tmp_path)
    before = first.ca.stat().st_mtime_ns, first.bundle.stat().st_mtime_ns
    second = prepare(tmp_path)
    assert second.authority.certificate == first.authority.certificate
    assert (second.ca.stat().st_mtime_ns, second.bundle.stat().st_mtime_ns) == before


def test_an_authority_near_its_end_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At start, never in the middle of a run."""
    monkeypatch.setattr(certificates, "AUTHORITY_LIFETIME", timedelta(days=20))
    old = prepare(tmp_path).authority.certificate
    monkeypatch.undo()
    new = prepare(tmp_path).authority.certificate
    assert new != old
    assert x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes()) == new


def test_the_authority_says_what_strict_verifiers_ask(tmp_path: Path) -> None:
    """Python 3.13 and Go refuse an authority without key usage and identifiers."""
    certificate = make_authority().certificate
    find = certificate.extensions.get_extension_for_class
    usage = find(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert not usage.value.digital_signature
    assert find(x509.BasicConstraints).value == x509.BasicConstraints(ca=True, path_length=0)
    key_id = find(x509.SubjectKeyIdentifier).value.digest
    assert find(x509.AuthorityKeyIdentifier).value.key_identifier == key_id


def test_leaves_do_not_carry_the_authority_s_key() -> None:
    """A leaf's key that leaks is not the authority's."""
    authority = make_authority()
    leaves = Leaves(authority)
    entry = leaves.get_cert(None, [x509.DNSName("a.example")])
    assert entry.cert.public_key() != authority.key.public_key()
    assert leaves.get_cert(None, [x509.DNSName("a.example")]) is entry


def test_leaves_are_bounded() -> None:
    """A client that asks for ever new names does not fill memory."""
    leaves = Leaves(make_authority())
    for number in range(LEAVES_MAX + 5):
        leaves.get_cert(None, [x509.DNSName(f"{number}.example")])
    assert len(leaves._entries) == LEAVES_MAX


def test_a_leaf_verifies_strictly(tmp_path: Path) -> None:
    """Handshake in memory under VERIFY_X509_STRICT, for a name and for an address."""
    authority = make_authority()
    key = ec.generate_private_key(ec.SECP256R1())
    import ipaddress

    names: list[x509.GeneralName] = [
        x509.DNSName("a.example"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.7")),
    ]
    leaf = make_leaf(authority, key.public_key(), names, timedelta(days=1))
    file = tmp_path / "leaf.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + leaf.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    client = ssl.create_default_context(
        cadata=authority.certificate.public_bytes(serialization.Encoding.PEM).decode()
    )
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in ("a.example", "192.0.2.7"):
        handshake(server, client, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client, "b.example")


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    left = client.wrap_bio(to_client, to_server, server_hostname=name)
    right = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (left, right):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue


def test_the_bundle_holds_public_roots_further_roots_and_ours(tmp_path: Path, ca: TestCa) -> None:
    """Variables that replace the public roots need all three in one file."""
    made = prepare(tmp_path, ca.pem)
    bundle = x509.load_pem_x509_certificates(made.bundle.read_bytes())
    public = x509.load_pem_x509_certificates(Path(certifi.where()).read_bytes())
    further = x509.load_pem_x509_certificates(ca.pem.read_bytes())
    assert bundle == [*public, *further, made.authority.certificate]
    assert made.upstream_roots is not None
    upstream = x509.load_pem_x509_certificates(made.upstream_roots.read_bytes())
    assert upstream == [*public, *further]  # ours is no root for upstream servers


@pytest.mark.parametrize("content", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nx\n"])
def test_a_useless_upstream_ca_is_an_error(tmp_path: Path, content: bytes) -> None:
    """Better no start than a start that trusts nothing new."""
    file = tmp_path / "roots.pem"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"roots\.pem holds no readable PEM certificate"):
        prepare(tmp_path / "state", file)


def test_a_damaged_or_foreign_key_file_is_an_error(tmp_path: Path) -> None:
    """It is not silently replaced: clients trust what was there."""
    file = tmp_path / "ca-key.pem"
    file.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"ca-key\.pem is not a private key with its certificate"):
        prepare(tmp_path)
    certificate = make_authority().certificate.public_bytes(serialization.Encoding.PEM)
    for key, message in (
        (rsa.generate_private_key(65537, 2048), "elliptic-curve"),
        (ec.generate_private_key(ec.SECP256R1()), "do not belong together"),
    ):
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate
        )
        with pytest.raises(ValueError, match=message):
            prepare(tmp_path)


def test_processes_that_start_at_once_agree_on_one_authority(tmp_path: Path) -> None:
    """Ten starts race for an empty directory; all name the same certificate."""
    code = (
        "import sys, pathlib; from penstock.proxy.engine.certificates import prepare;"
        "print(prepare(pathlib.Path(sys.argv[1])).authority.certificate.serial_number)"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "state")],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )
        for _ in range(6)
    ]
    serials = {process.communicate(timeout=60)[0].strip() for process in started}
    assert len(serials) == 1
    assert serials != {""}
    assert not list((tmp_path / "state").glob(".*"))  # no temporary files left


def test_clock_differences_are_tolerated() -> None:
    """A client whose clock is a day behind still accepts what was made now."""
    now = datetime.now(UTC)
    authority = make_authority(now)
    assert authority.certificate.not_valid_before_utc < now - timedelta(days=1)
