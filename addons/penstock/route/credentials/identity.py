"""A short-lived signed statement of who is behind the call, for servers that believe the proxy.

A JSON Web Token (ES256) with the caller's name, its workload and the server's audience; nothing
else of the caller's claims. It lasts a minute. The key is derived from the installation's
secret, so proxies that share the secret sign alike; its public half is at the admin address,
``/.well-known/jwks.json``.
"""

from __future__ import annotations

import json
import secrets
from functools import cache
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from penstock.route.credentials.fetched import Fetched, SourceError
from penstock.route.credentials.spec import Spec

LIFE_SECONDS = 60
# A new one is made before that: the call has to arrive, and clocks differ.
RENEW_SECONDS = 30
ISSUER = "penstock"
# The order of P-256 (SEC 2, 2.4.2).
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def fetch(spec: Spec, now: float, subject: str | None = None, *, key: bytes) -> Fetched:
    """The statement about ``subject`` (JSON of its claims). SourceError where nobody is known."""
    from joserfc import jwt

    who: dict[str, Any] = json.loads(subject) if subject else {}
    if not who.get("sub"):
        raise SourceError("nobody is known behind the call: neither a proved user nor a workload")
    claims = {
        **who,
        "iss": spec.get("issuer") or ISSUER,
        "aud": spec.get("audience"),
        "iat": int(now),
        "exp": int(now) + LIFE_SECONDS,
        "jti": secrets.token_hex(12),
    }
    signing = _private(key)
    header = {"alg": "ES256", "typ": "JWT", "kid": signing.kid}
    token = jwt.encode(header, claims, signing, algorithms=["ES256"])
    return Fetched(token, now + RENEW_SECONDS, now + LIFE_SECONDS, waits=True)


def key_set(key: bytes) -> dict[str, Any]:
    """The public key, as a server that verifies fetches it (RFC 7517)."""
    public = _private(key).as_dict(private=False)
    return {"keys": [{**public, "use": "sig", "alg": "ES256"}]}


@cache
def _private(key: bytes) -> Any:
    from joserfc.jwk import ECKey

    number = int.from_bytes(key) % (_ORDER - 1) + 1
    made = ec.derive_private_key(number, ec.SECP256R1())
    pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    named = ECKey.import_key(pem)
    public = json.dumps(named.as_dict(private=False), sort_keys=True).encode()
    return ECKey.import_key(pem, {"kid": sha256(public).hexdigest()[:16]})
