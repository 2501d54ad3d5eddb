"""Credential rules at `penstock mcp serve`: real servers behind a door, a real token endpoint."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from mcp import Client
from penstock.gateway.servers.file import load
from penstock.gateway.stdio.process_keys import problems_of
from penstock.policy.language.problem import ConfigError
from tests.mcp_serve.conftest import Desk
from tests.mcp_serve.serving import Serving, piped, serving, shop, wait_for, write
from tests.route.token_server import Asked, TokenServer, token_server

KEYED = Path(__file__).with_name("keyed_shop.py")
SIGNER = RSAKey.generate_key(2048, {"kid": "k1"})
ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])


def token(user: str) -> str:
    claims = {"iss": "https://issuer.example", "aud": "penstock", "sub": user}
    return jwt.encode(
        {"alg": "RS256", "kid": "k1"}, {**claims, "exp": int(time.time()) + 600}, SIGNER
    )


CALLERS = """
version: 1
name: keys
mode: enforce
callers:
  jwt: {issuer: "https://issuer.example", audience: [penstock], keys: FOLDER/jwks.json}
rules:
"""


@dataclass
class Door:
    """A server that asks for a key."""

    port: int
    keys: Path
    log: Path

    def seen(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def entry(self, kind: str, **more: Any) -> dict[str, Any]:
        path = {"http": "mcp", "sse": "sse"}[kind]
        transport = {"sse": {"transport": "sse"}}.get(kind, {})
        return {"url": f"http://127.0.0.1:{self.port}/{path}", **transport, **more}


@contextmanager
def door(folder: Path, kind: str, *keys: str) -> Iterator[Door]:
    given, log = folder / f"{kind}.keys", folder / f"{kind}.log"
    given.write_text(" ".join(keys))
    log.touch()
    with shop(kind, KEYED, str(given), str(log)) as port:
        yield Door(port, given, log)


def prepared(folder: Path, rules: str) -> str:
    (folder / "jwks.json").write_text(json.dumps({"keys": [SIGNER.as_dict(private=False)]}))
    return CALLERS.replace("FOLDER", str(folder)) + rules.replace("FOLDER", str(folder))


@asynccontextmanager
async def caller(made: Serving, bearer: str, mode: Any = "auto") -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {bearer}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(made.url, http_client=http), mode=mode) as one,
    ):
        yield one


def text(result: Any) -> str:
    said: str = result.content[0].text
    return said


class Exchange:
    """A token endpoint that gives each subject tokens of its own, and every server another."""

    def __init__(self, door_keys: list[Path]) -> None:
        self.door_keys = door_keys
        self.refuses = False
        self.given: list[str] = []
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> tuple[int, Any]:
        if self.refuses:
            return 400, {"error": "invalid_target"}
        said = json.loads(_part(asked.form["subject_token"]))
        with self._lock:
            made = f"for-{asked.form['audience']}-{said['sub']}-{len(self.given):04d}"
            self.given.append(made)
        for keys in self.door_keys:
            if keys.name.startswith(asked.form["audience"]):
                keys.write_text(keys.read_text() + f" {made}")
        return 200, {"access_token": made, "token_type": "Bearer", "expires_in": 600}


def _part(subject: str) -> bytes:
    payload = subject.split(".")[1]
    return base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))


EXCHANGE = """
  - id: exchanged
    credential:
      hosts: ["127.0.0.1"]
      from: {exchange: {token_url: "TOKENS/token", audience: AUDIENCE}}
"""


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_the_callers_token_is_exchanged_and_goes_nowhere(tmp_path: Path, kind: str) -> None:
    """Each request of a caller carries the token of that caller for that server, and no other;
    a server that repeats it gives nothing away; a token that is not taken is replaced once."""
    with ExitStack() as stack:
        at = stack.enter_context(door(tmp_path, kind))
        exchange = Exchange([at.keys])
        tokens: TokenServer = stack.enter_context(token_server(exchange))
        rules = EXCHANGE.replace("TOKENS", tokens.url).replace("AUDIENCE", kind)
        servers = {"shop": at.entry(kind)}
        made = stack.enter_context(serving(tmp_path, prepared(tmp_path, rules), servers, []))
        wait_for(lambda: made.states()["shop"] == "by callers", "that callers bring the keys")
        ada, bob = token("ada"), token("bob")
        for mode in ("auto", "legacy"):
            for user, bearer in (("ada", ada), ("bob", bob)):
                async with caller(made, bearer, mode) as one:
                    names = [tool.name for tool in (await one.list_tools()).tools]
                    assert "shop__add" in names
                    added = await one.call_tool("shop__add", {"a": 2, "b": 3})
                    assert added.structured_content == {"result": 5}
                    back = (await one.call_tool("shop__brought", {})).structured_content
                    if kind == "http":
                        assert set(back["authorization"].removeprefix("Bearer ")) == {"*"}
                assert at.seen()[-1]["authorization"].startswith(f"Bearer for-{kind}-{user}")
        everything = at.log.read_text()
        assert ada not in everything and bob not in everything
        assert all(one["taken"] for one in at.seen()), "no request went without its key"
        assert {json.loads(_part(one.form["subject_token"]))["sub"] for one in tokens.asked} == {
            "ada",
            "bob",
        }
        audit = (made.folder / "state" / "audit.jsonl").read_text()
        assert not any(secret in audit for secret in (ada, bob, *exchange.given))

        # The server forgets every key: one 401, a new token, and the call is answered.
        async with caller(made, ada) as one:
            await one.call_tool("shop__add", {"a": 1, "b": 1})
            at.keys.write_text("")
            before, seen = len(exchange.given), len(at.seen())
            again = await one.call_tool("shop__add", {"a": 4, "b": 5})
            assert again.structured_content == {"result": 9}
            posts = [entry for entry in at.seen()[seen:] if entry["method"] == "POST"]
            assert [entry["taken"] for entry in posts] == [False, True]
            assert len(exchange.given) == before + 1

            # It takes none at all: an error of the protocol, and no login to go to.
            at.keys.unlink()
            at.keys.write_text("")
            exchange.door_keys = []
            with pytest.raises(MCPError):
                await one.call_tool("shop__add", {"a": 1, "b": 1})


@ERAS
async def test_an_exchange_that_fails_is_a_refusal_without_a_login(
    tmp_path: Path, mode: str
) -> None:
    """HTTP 200 and an error of our own, before anything is sent; then it works again."""
    with ExitStack() as stack:
        at = stack.enter_context(door(tmp_path, "http"))
        exchange = Exchange([at.keys])
        tokens = stack.enter_context(token_server(exchange))
        rules = EXCHANGE.replace("TOKENS", tokens.url).replace("AUDIENCE", "http")
        servers = {"shop": at.entry("http")}
        made = stack.enter_context(serving(tmp_path, prepared(tmp_path, rules), servers, []))
        exchange.refuses = True
        statuses: list[int] = []

        async def note(response: Any) -> None:
            statuses.append(response.status_code)

        headers = {"authorization": f"Bearer {token('ada')}"}
        hooks = {"response": [note]}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=30, event_hooks=hooks) as http,
            Client(streamable_http_client(made.url, http_client=http), mode=mode) as one,
        ):
            refused = await one.call_tool("shop__add", {"a": 1, "b": 1})
            assert refused.is_error and "'exchanged') is not to be had" in text(refused)
            assert not {401, 403} & set(statuses)
            assert at.seen() == [], "nothing was sent without its key"
            exchange.refuses = False
            deadline = time.monotonic() + 30  # the source is asked again after a pause
            while (added := await one.call_tool("shop__add", {"a": 1, "b": 1})).is_error:
                assert time.monotonic() < deadline
            assert added.structured_content == {"result": 2}
        refusal = wait_for(lambda: made.records("add"), "the refusal's record")[0]
        assert refusal["verdict"] == "deny" and refusal["outcome"] == "refused"


async def test_a_key_from_a_file_rotates_and_a_statement_of_identity_can_be_verified(
    tmp_path: Path,
) -> None:
    """Keys for all callers open the supervised connection as well; a new file is used at once. A
    second server gets a signed statement of who calls, beside the file's own header."""
    rules = """
  - id: file-key
    credential: {hosts: ["127.0.0.1"], from: {file: FOLDER/key}}
  - id: who
    credential: {hosts: [localhost], from: {identity: {audience: shop}}}
"""
    with ExitStack() as stack:
        at = stack.enter_context(door(tmp_path, "http", "first-real-key-0001"))
        (tmp_path / "key").write_text("first-real-key-0001\n")
        other = tmp_path / "other"
        other.mkdir()
        by = stack.enter_context(door(other, "http", "own-header-0001"))
        told = {
            "url": f"http://localhost:{by.port}/mcp",
            "headers": {"Authorization": "Bearer own-header-0001"},
        }
        servers = {"shop": at.entry("http"), "told": told}
        policy = prepared(tmp_path, rules)
        made = stack.enter_context(serving(tmp_path, policy, servers, ["shop"]))
        async with caller(made, token("ada")) as one:
            assert not (await one.call_tool("shop__add", {"a": 1, "b": 1})).is_error
            at.keys.write_text("second-real-key-0002")
            (tmp_path / "key").write_text("second-real-key-0002\n")
            deadline = time.monotonic() + 30  # the file is looked at once a second
            while True:
                try:
                    assert not (await one.call_tool("shop__add", {"a": 1, "b": 1})).is_error
                    break
                except MCPError:
                    assert time.monotonic() < deadline
            assert not (await one.call_tool("told__add", {"a": 1, "b": 1})).is_error
        stated = by.seen()[-1]
        assert stated["authorization"] == "Bearer own-header-0001"
        found = httpx2.get(f"http://{made.admin}/.well-known/jwks.json").json()
        said = jwt.decode(
            stated["penstock-identity"], KeySet.import_key_set(found), algorithms=["ES256"]
        )
        assert said.claims["sub"] == "ada" and said.claims["aud"] == "shop"


async def test_a_process_gets_its_key_in_a_variable_and_is_started_again_with_a_new_one(
    tmp_path: Path,
) -> None:
    rules = """
  - id: shop-key
    credential: {hosts: [shop], from: {file: FOLDER/key}}
"""
    (tmp_path / "key").write_text("first-real-key-0001\n")
    servers = {"shop": piped(keys={"SHOP_KEY": "shop-key"})}
    with serving(tmp_path, prepared(tmp_path, rules), servers, ["shop"]) as made:

        async def key() -> str:
            async with caller(made, token("ada")) as one:
                try:
                    said = await one.call_tool("shop__brought", {})
                    return str(said.structured_content["SHOP_KEY"])
                except MCPError:
                    return ""  # it is being started

        assert await key() == "first-real-key-0001"
        (tmp_path / "key").write_text("second-real-key-0002\n")
        deadline = time.monotonic() + 40
        while await key() != "second-real-key-0002":
            assert time.monotonic() < deadline
        assert made.status()["servers"]["shop"]["failures"] == 0


PROBLEMS = [
    ({}, "'shop-key' gives shop a key: say which variable takes it"),
    ({"X": "nothing"}, "the policy has no credential rule 'nothing'"),
    ({"X": "other-key"}, "'other-key' does not name shop among its hosts"),
    ({"X": "of-callers"}, "'of-callers' gives keys of callers"),
    ({"X": "conditional"}, "'conditional' has a condition"),
]


@pytest.mark.parametrize(("keys", "said"), PROBLEMS)
def test_a_key_that_a_process_cannot_have_is_said_before_anything_is_served(
    tmp_path: Path, keys: dict[str, str], said: str
) -> None:
    rules = """
  - id: shop-key
    credential: {hosts: [shop], from: {file: FOLDER/key}}
  - id: other-key
    credential: {hosts: [other.example], from: {file: FOLDER/key}}
  - id: of-callers
    credential: {hosts: [shop], from: {identity: {audience: shop}}}
  - id: conditional
    credential: {hosts: [shop], from: {file: FOLDER/key}}
    when: caller.user == "ada"
"""
    desk = Desk(tmp_path, prepared(tmp_path, rules))
    write(tmp_path, {"shop": piped(keys=keys)})
    governance = desk.service.governance
    with pytest.raises(ConfigError) as complained:
        load(tmp_path / "servers.yaml", {}, partial(problems_of, governance=governance))
    assert said in str(complained.value) and "servers.yaml:" in str(complained.value)
