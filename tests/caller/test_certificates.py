"""Who a client certificate names: SPIFFE IDs to the letter of the standard, else DNS and mail."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from penstock.caller.certificates import identity_of, like
from penstock.caller.identity import Identity, MtlsCheck, NotProvedError
from penstock.exchange import Workload

KEY = ec.generate_private_key(ec.SECP256R1())
ANY = MtlsCheck("ca.pem")


def certificate(*names: x509.GeneralName) -> bytes:
    """In DER, for an hour, signed by itself: signatures are the TLS library's affair."""
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "admin")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
    )
    if names:
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return made.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


def test_a_spiffe_id_names_the_workload() -> None:
    """In the form Kubernetes uses, namespace and service account. It ends with the certificate."""
    found = identity_of(certificate(uri("spiffe://prod.example/ns/shop/sa/checkout")), ANY)
    assert found.user == found.spiffe == "spiffe://prod.example/ns/shop/sa/checkout"
    assert found.workload == Workload(namespace="shop", service_account="checkout")
    now = datetime.datetime.now(datetime.UTC).timestamp()
    assert found.holds(now + 3500) and not found.holds(now + 3700)


def test_another_form_names_no_pod() -> None:
    """And not ours either: the proxy's own workload is not the caller's."""
    found = identity_of(certificate(uri("spiffe://prod.example/batch")), ANY)
    assert found.workload == Workload()


@pytest.mark.parametrize(
    "name",
    [
        "spiffe://prod.example",  # a trust domain, no workload
        "spiffe://prod.example/",
        "spiffe://Prod.Example/a",
        "SPIFFE://prod.example/a",
        "spiffe://prod.example:80/a",
        "spiffe://user@prod.example/a",
        "spiffe://prod.example/a?b=c",
        "spiffe://prod.example/a#b",
        "spiffe://prod.example/a//b",
        "spiffe://prod.example/a/",
        "spiffe://prod.example/a/../b",
        "spiffe://prod.example/./a",
        "spiffe://prod.example/a%2Fb",
        "spiffe:///a",
        "spiffe://" + "a" * 256 + "/a",
        "spiffe://prod.example/" + "a" * 2048,
    ],
)
def test_a_malformed_spiffe_id_proves_nothing(name: str) -> None:
    with pytest.raises(NotProvedError, match="malformed"):
        identity_of(certificate(uri(name)), ANY)


def test_two_uris_are_one_too_many() -> None:
    """Nobody has to choose which of two names counts."""
    two = certificate(uri("spiffe://prod.example/a"), uri("https://prod.example/b"))
    with pytest.raises(NotProvedError, match="more than one"):
        identity_of(two, ANY)


def test_other_names_serve_where_there_is_no_spiffe_id() -> None:
    """DNS before mail; the common name never."""
    both = certificate(x509.RFC822Name("ada@example.org"), x509.DNSName("shop.internal"))
    assert identity_of(both, ANY).user == "shop.internal"
    assert identity_of(both, MtlsCheck("ca.pem", ("*@example.org",))).user == "ada@example.org"
    assert identity_of(both, ANY).workload is None
    with pytest.raises(NotProvedError, match="names nobody"):
        identity_of(certificate(), ANY)
    with pytest.raises(NotProvedError, match="names nobody"):
        identity_of(certificate(uri("https://example.org/ada")), ANY)
    with pytest.raises(NotProvedError, match="names"):
        identity_of(both, MtlsCheck("ca.pem", ("*.example.org",)))


def test_only_names_of_the_policy_are_let_in() -> None:
    check = MtlsCheck("ca.pem", ("spiffe://prod.example/ns/shop/sa/*", "spiffe://other/*"))
    assert identity_of(certificate(uri("spiffe://prod.example/ns/shop/sa/web")), check).spiffe
    for name in ("spiffe://prod.example/ns/hr/sa/web", "spiffe://prod.example.org/ns/shop/sa/web"):
        with pytest.raises(NotProvedError, match="not one of"):
            identity_of(certificate(uri(name)), check)


@pytest.mark.parametrize("content", [b"", b"\x30\x82", b"certificate" * 100])
def test_what_is_no_certificate_proves_nothing(content: bytes) -> None:
    with pytest.raises(NotProvedError, match="cannot be read"):
        identity_of(content, ANY)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("a", "a", True),
        ("a", "ab", False),
        ("*", "", True),
        ("a*", "ab", True),
        ("*b", "ab", True),
        ("a*b", "ab", True),
        ("ab*ba", "aba", False),  # the ends may not overlap
        ("a*b*c", "axbxbxc", True),
        ("a*x*x*c", "axc", False),
        ("a.c", "abc", False),
    ],
)
def test_patterns(pattern: str, name: str, matches: bool) -> None:
    assert like(pattern, name) is matches


def test_two_proofs_are_one_identity() -> None:
    """The user of the header on the workload of the certificate, until the first of them ends."""
    held = Identity("spiffe://a/b", expires_at=5.0, spiffe="spiffe://a/b", workload=Workload("w"))
    both = Identity("ada", {"groups": ["x"]}, 9.0, "token").on(held)
    assert (both.user, both.spiffe, both.expires_at) == ("ada", "spiffe://a/b", 5.0)
    assert both.workload == Workload("w") and both.token == "token"
    assert Identity("ada").on(held).expires_at == 5.0
    assert Identity("ada").on(None) == Identity("ada")
