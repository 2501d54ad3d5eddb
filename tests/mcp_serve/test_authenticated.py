"""Who may speak to the endpoint: proofs in Authorization, as the policy's ``callers`` says."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from penstock.caller.passwords import hashed
from penstock.gateway.clients.authenticated import IDENTITY, Authenticated
from tests.mcp_serve.conftest import Desk

POLICY = """
version: 1
name: callers
mode: MODE
callers:
  passwords: FOLDER/callers
  jwt: {issuer: "https://issuer.example", audience: [penstock], keys: FOLDER/keys.json}
rules: []
"""
KEY = RSAKey.generate_key(2048, {"kid": "k1"})


def token(**more: Any) -> str:
    claims = {"iss": "https://issuer.example", "aud": "penstock", "sub": "ada", "groups": ["a"]}
    return jwt.encode(
        {"alg": "RS256", "kid": "k1"}, {**claims, "exp": int(time.time()) + 600, **more}, KEY
    )


async def tells(scope: Any, _receive: Any, send: Any) -> None:
    """An application that says who it was called by."""
    identity = scope.get(IDENTITY)
    said = {"user": identity and identity.user, "claims": dict(identity.claims) if identity else {}}
    opened = [(b"Mcp-Session-Id", b"s-1")] if scope["path"] == "/open" else []
    await send({"type": "http.response.start", "status": 200, "headers": opened})
    await send({"type": "http.response.body", "body": json.dumps(said).encode()})


def client(folder: Path, mode: str = "enforce") -> httpx2.AsyncClient:
    (folder / "callers").write_text(f"bob:{hashed('pw')}\n")
    (folder / "keys.json").write_text(json.dumps({"keys": [KEY.as_dict(private=False)]}))
    desk = Desk(folder, POLICY.replace("FOLDER", str(folder)).replace("MODE", mode))
    app = Authenticated(tells, desk.service.governance)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://x")


async def test_a_token_or_a_password_proves_the_caller(tmp_path: Path) -> None:
    """Claims come along, for conditions; the key set is fetched with the first token."""
    async with client(tmp_path) as one:
        for _ in range(2):
            said = (await one.get("/", headers={"authorization": f"Bearer {token()}"})).json()
            assert said["user"] == "ada" and said["claims"]["groups"] == ["a"]
        assert (await one.get("/", auth=("bob", "pw"))).json()["user"] == "bob"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("authorization", "Bearer x.y.z")],
        [("authorization", f"Bearer {token(aud='another')}")],
        [("authorization", f"Bearer {token(exp=1)}")],
        [("authorization", "Basic !!!")],
        [("authorization", "")],
        [("authorization", f"Bearer {token()}"), ("authorization", f"Bearer {token(sub='eve')}")],
        [("proxy-authorization", f"Bearer {token()}")],
    ],
)
async def test_anything_else_is_refused_without_a_login_to_go_to(
    tmp_path: Path, headers: list[tuple[str, str]]
) -> None:
    """401 as of an origin server; no hint that would start an OAuth round, no secret repeated."""
    async with client(tmp_path) as one:
        answer = await one.get("/", headers=headers)
    assert answer.status_code == 401
    challenges = answer.headers.get_list("www-authenticate")
    assert any(challenge.startswith("Bearer") for challenge in challenges)
    assert "resource_metadata" not in str(challenges) and "scope" not in str(challenges)
    assert token()[:20] not in answer.text


async def test_where_nothing_is_enforced_the_caller_stays_unknown(tmp_path: Path) -> None:
    async with client(tmp_path, "observe") as one:
        assert (await one.get("/")).json() == {"user": None, "claims": {}}


async def test_a_session_belongs_to_who_opened_it(tmp_path: Path) -> None:
    """Its id opens it for nobody else, not even for one who proved to be somebody."""
    async with client(tmp_path) as one:
        ada = {"authorization": f"Bearer {token()}"}
        assert (await one.get("/open", headers=ada)).headers["mcp-session-id"] == "s-1"
        session = {"mcp-session-id": "s-1"}
        assert (await one.get("/", headers={**ada, **session})).status_code == 200
        assert (await one.get("/", headers=session, auth=("bob", "pw"))).status_code == 404
        unknown = {**ada, "mcp-session-id": "s-2"}
        assert (await one.get("/", headers=unknown)).status_code == 200  # the server's to say
