"""Who a client certificate says its holder is: a SPIFFE ID (X509-SVID), else a DNS or mail name.

That the certificate is one of ours is proved before, by the TLS library, against the authority
the policy names; here it is only read. The common name is never looked at: it is free text.
"""

from __future__ import annotations

import re

from cryptography import x509

from penstock.caller.identity import Identity, MtlsCheck, NotProvedError
from penstock.exchange import Workload

# The SPIFFE standard: an ID has at most 2048 bytes, its trust domain 255, in these characters.
SPIFFE_BYTES_MAX = 2048
TRUST_DOMAIN_MAX = 255
_SPIFFE = re.compile(r"spiffe://([a-z0-9._-]+)((?:/[A-Za-z0-9._-]+)*)")
# What Istio and SPIRE's Kubernetes registrar name a pod: namespace and service account.
_KUBERNETES = re.compile(r"/ns/([^/]+)/sa/([^/]+)")
# Certificates of people and services name a handful; more is not ours to choose from.
NAMES_MAX = 64


def identity_of(der: bytes, check: MtlsCheck) -> Identity:
    """Who holds this certificate.

    Raises:
        NotProvedError: it names nobody, or nobody the policy lets in.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise NotProvedError("the client certificate names nobody (no subjectAltName)") from None
    except ValueError:
        raise NotProvedError("the client certificate cannot be read") from None
    expires_at = certificate.not_valid_after_utc.timestamp()
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if any(uri.lower().startswith("spiffe:") for uri in uris):
        if len(uris) != 1:  # X509-SVID, section 2: exactly one, so that nobody has to choose
            raise NotProvedError("the client certificate has more than one URI name")
        spiffe = spiffe_id(uris[0])
        admit(spiffe, check)
        return Identity(spiffe, expires_at=expires_at, spiffe=spiffe, workload=workload_of(spiffe))
    others = names.get_values_for_type(x509.DNSName) + names.get_values_for_type(x509.RFC822Name)
    for name in others[:NAMES_MAX]:
        if admitted(name, check):
            return Identity(name, expires_at=expires_at)
    if not others:
        raise NotProvedError("the client certificate names nobody (no SPIFFE ID, DNS or mail name)")
    raise NotProvedError("no name of the client certificate is one of callers.mtls.names")


def spiffe_id(uri: str) -> str:
    """``uri`` when it is a SPIFFE ID of a workload.

    Raises:
        NotProvedError: it is none.
    """
    found = _SPIFFE.fullmatch(uri) if len(uri) <= SPIFFE_BYTES_MAX else None
    if found is None or len(found[1]) > TRUST_DOMAIN_MAX or not found[2]:
        raise NotProvedError("the client certificate's SPIFFE ID is malformed")
    if any(segment in (".", "..") for segment in found[2].split("/")):
        raise NotProvedError("the client certificate's SPIFFE ID is malformed")
    return uri


def workload_of(spiffe: str) -> Workload:
    """What a SPIFFE ID tells of the pod: with Kubernetes' form its namespace and account."""
    path = "/" + spiffe.removeprefix("spiffe://").partition("/")[2]
    found = _KUBERNETES.fullmatch(path)
    return Workload(namespace=found[1], service_account=found[2]) if found else Workload()


def admit(name: str, check: MtlsCheck) -> None:
    """Raises NotProvedError when the policy does not let ``name`` in."""
    if not admitted(name, check):
        raise NotProvedError("the client certificate's SPIFFE ID is not one of callers.mtls.names")


def admitted(name: str, check: MtlsCheck) -> bool:
    """True when a pattern of the policy matches, or there are none."""
    return not check.names or any(like(pattern, name) for pattern in check.names)


def like(pattern: str, name: str) -> bool:
    """``*`` stands for any text, everything else for itself. Linear in both lengths' product."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == name
    *middle, last = rest
    if not name.startswith(first) or len(name) < len(first) + len(last):
        return False
    at, end = len(first), len(name) - len(last)
    for piece in middle:
        found = name.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return name.endswith(last)
