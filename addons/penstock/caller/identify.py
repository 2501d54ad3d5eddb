"""Put together who makes a call. Pure: the environment, the kernel and the key are arguments.

It never keeps a password, a token or a key: credentials leave as keyed fingerprints.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from penstock.caller.agent import agent_of, clean_user_agent, session_of
from penstock.caller.credentials import OVERLONG, credential_fingerprints, fingerprint, proxy_user
from penstock.caller.identity import Identity
from penstock.exchange import Caller, Process, Workload

_NO_WORKLOAD = Workload()
# Longer tokens are no JWTs that servers take.
TOKEN_CHARACTERS_MAX = 16 * 1024


def identify_caller(
    headers: Mapping[str, str],
    *,
    fingerprint_key: bytes,
    path: str = "/",
    workload: Workload = _NO_WORKLOAD,
    proxy_authorization: str | None = None,
    process: Process | None = None,
    identity: Identity | None = None,
) -> Caller:
    """The caller of a request with these ``headers`` (lower-case names) and ``path`` (with query).

    ``proxy_authorization`` is the header of the CONNECT request where there was one; without
    it the request's own is read. ``fingerprint_key`` is the installation's secret, 16 to 64
    bytes. ``identity`` is what the caller proved: then nothing it merely claims names the
    user. An MCP session id is as good as a token to whoever holds it: only its fingerprint
    is kept.
    """
    session = session_of(headers)
    mcp_session = headers.get("mcp-session-id")
    if session is None and mcp_session:
        session = "mcp:" + fingerprint(mcp_session, fingerprint_key)
    if identity is not None:
        user = identity.user
    else:
        user = proxy_user(proxy_authorization or headers.get("proxy-authorization"))
    credentials = credential_fingerprints(headers, path, fingerprint_key)
    return Caller(
        workload=workload if identity is None else identity.workload or workload,
        user=user,
        agent=agent_of(headers),
        session=session,
        process=process,
        user_agent=clean_user_agent(headers),
        credential=next((one for one in credentials if one != OVERLONG), None),
        credentials=credentials,
        claims=identity.claims if identity is not None else {},
        spiffe=identity.spiffe if identity is not None else None,
        audiences=audiences_of(headers.get("authorization", "")),
    )


def audiences_of(authorization: str) -> tuple[str, ...] | None:
    """Whom a bearer token (a JWT) says it is for; None for what is none. Nothing is verified.

    The server verifies; here it only matters that it is not sent to somebody else.
    """
    scheme, _, token = authorization.partition(" ")
    parts = token.strip().split(".")
    if scheme.lower() != "bearer" or len(parts) != 3 or len(token) > TOKEN_CHARACTERS_MAX:
        return None
    payload = parts[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return None
    if not isinstance(claims, dict):
        return None
    said = claims.get("aud")
    given = said if isinstance(said, list) else [said]
    return tuple(one for one in given if isinstance(one, str))
