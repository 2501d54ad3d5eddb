"""The person behind the call: grants by scope, whose token goes where, and who states what."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from tests.harness import Penstock, https_server, running_penstock
from tests.mcp_attacks.server import HOST, LEGACY, Hostile, listing, refused, text_result, tool
from tests.route.token_server import Asked, Reply, TokenServer, token_server

ISSUER = "https://issuer.example"
POLICY = """
version: 1
name: identities
mode: enforce
callers:
  jwt: {{issuer: {issuer}, audience: [penstock], keys: "{url}/keys"}}
rules:
  - id: nothing-by-default
    tools: {{allow: [], refuse: error}}
  - id: readers
    when: '"files.read" in caller.scopes'
    tools: {{server: "https://{host}/files/*", allow: [read_*]}}
  - id: writers
    when: '"files.write" in caller.scopes'
    tools: {{server: "https://{host}/files/*", allow: [write_*]}}
  - id: drafts-only
    when: '"files.draft" in caller.scopes && args.path.startsWith("/drafts/")'
    tools: {{server: "https://{host}/files/*", allow: [edit_*]}}
  - id: open-tools
    tools: {{server: "https://{host}/open/*", allow: ["*"]}}
  - id: tokens-for-the-server-only
    tools: {{server: "https://{host}/open/*", audience: [server]}}
  - id: exchanged
    when: call.path.startsWith("/open/exchanged")
    credential:
      hosts: [{host}]
      from: {{exchange: {{token_url: "{url}/token", resource: "https://{host}/open/exchanged"}}}}
  - id: stated
    when: call.path.startsWith("/open/stated")
    credential: {{hosts: [{host}], from: {{identity: {{audience: "https://{host}"}}}}}}
"""


class Issuer:
    """Signs tokens, and exchanges them for the server's audience."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "k1"})
        self.exchanged: list[dict[str, str]] = []

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/keys":
            return 200, {"keys": [self.key.as_dict(private=False)]}
        self.exchanged.append(asked.form)
        return 200, {"access_token": "token-of-the-server", "expires_in": 600}

    def token(self, **more: Any) -> str:
        claims = {"iss": ISSUER, "aud": "penstock", "sub": "ada", "exp": int(time.time()) + 600}
        return jwt.encode({"alg": "RS256", "kid": "k1"}, claims | more, self.key)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def server() -> Hostile:
    made = Hostile()
    tools = listing(tool("read_file"), tool("write_file"), tool("edit_file"), tool("drop"))
    for name in ("files", "open", "open/exchanged", "open/stated"):
        made.says[f"/{name}/mcp"] = {"tools/call": text_result("done"), "tools/list": tools}
    return made


@pytest.fixture(scope="module")
def tokens(issuer: Issuer) -> Iterator[TokenServer]:
    with token_server(issuer.answer) as started:
        yield started


@pytest.fixture(scope="module")
def proxy(
    server: Hostile, tokens: TokenServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Penstock]:
    folder = tmp_path_factory.mktemp("identities")
    policy = POLICY.format(issuer=ISSUER, url=tokens.url, host=HOST)
    with (
        https_server(folder / "server", server, [HOST]) as upstream,
        running_penstock(folder / "penstock", policy, upstream) as started,
    ):
        yield started


class Client:
    """One person's client. ``bearer`` is the token it has for the server."""

    def __init__(self, proxy: Penstock, token: str, bearer: str = "") -> None:
        context = ssl.create_default_context(cafile=str(proxy.state / "ca.pem"))
        forwarding = httpx.Proxy(proxy.url, headers={"proxy-authorization": f"Bearer {token}"})
        self.client = httpx.Client(proxy=forwarding, verify=context, timeout=20)
        self.headers = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": LEGACY,
        } | ({"authorization": f"Bearer {bearer}"} if bearer else {})

    def ask(self, path: str, method: str, **more: str) -> httpx.Response:
        name, arguments = more.pop("tool", None), {"path": more.pop("at", "/a")}
        params = {"name": name, "arguments": arguments} if name else {}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return self.client.post(f"https://{HOST}{path}", json=body, headers=self.headers | more)

    def tools(self, path: str) -> list[str]:
        result = self.ask(path, "tools/list").json()["result"]
        assert result["cacheScope"] == "private"
        return [one["name"] for one in result["tools"]]

    def may(self, path: str, name: str, at: str = "/a") -> bool:
        answer = self.ask(path, "tools/call", tool=name, at=at)
        assert answer.status_code == 200 and "www-authenticate" not in answer.headers
        return "result" in answer.json()


def test_scopes_grant_tools_and_lists_show_what_is_granted(proxy: Penstock, issuer: Issuer) -> None:
    """Least privilege: nobody's scope, nothing. What may depend on the call stays in the list."""
    nobody = Client(proxy, issuer.token())
    assert nobody.tools("/files/mcp") == ["edit_file"]  # granted for some paths to some callers
    assert not any(nobody.may("/files/mcp", name) for name in ("read_file", "edit_file", "drop"))
    reader = Client(proxy, issuer.token(scope="files.read other"))
    assert reader.tools("/files/mcp") == ["read_file", "edit_file"]
    assert reader.may("/files/mcp", "read_file") and not reader.may("/files/mcp", "write_file")
    both = Client(proxy, issuer.token(scp=["files.read", "files.write"]))
    assert both.tools("/files/mcp") == ["read_file", "write_file", "edit_file"]
    assert both.may("/files/mcp", "write_file") and not both.may("/files/mcp", "drop")
    drafts = Client(proxy, issuer.token(scope="files.draft"))
    assert drafts.may("/files/mcp", "edit_file", at="/drafts/x")
    assert not drafts.may("/files/mcp", "edit_file", at="/final/x")
    odd = Client(proxy, issuer.token(scope=["files.read"], scp={"files.write": 1}))
    assert not odd.may("/files/mcp", "write_file")


def test_the_token_of_another_audience_is_not_passed_on(
    proxy: Penstock, issuer: Issuer, server: Hostile
) -> None:
    """A token for somebody else does not reach the server; the server's own and opaque ones do."""
    mine = issuer.token()
    before = len(server.seen)
    for audience in ("penstock", "https://other.example", [], ["a", "b"], None, 7):
        wrong = Client(proxy, mine, issuer.token(aud=audience))
        for method in ("initialize", "tools/list"):
            answer = wrong.ask("/open/mcp", method)
            assert answer.status_code == 200 and "www-authenticate" not in answer.headers
            assert "another audience" in refused(answer.json())
    assert "another audience" in refused(Client(proxy, mine, mine).ask("/open/mcp", "ping").json())
    assert len(server.seen) == before
    for audience in (f"https://{HOST}/open/mcp", f"https://{HOST}", ["x", f"https://{HOST}/"]):
        assert Client(proxy, mine, issuer.token(aud=audience)).may("/open/mcp", "read_file")
    assert Client(proxy, mine, "opaque-token").may("/open/mcp", "read_file")
    assert Client(proxy, mine).may("/open/mcp", "read_file")


def test_a_token_is_exchanged_for_the_servers_audience(
    proxy: Penstock, issuer: Issuer, server: Hostile
) -> None:
    """RFC 8693: the server gets a token of its own for the person, and never the person's."""
    mine = issuer.token(jti="exchange")
    path = "/open/exchanged/mcp"
    assert Client(proxy, mine, issuer.token(aud="elsewhere")).may(path, "read_file")
    assert server.seen[-1][1]["authorization"] == "Bearer token-of-the-server"
    asked = issuer.exchanged[-1]
    assert asked["subject_token"] == mine
    assert asked["resource"] == f"https://{HOST}/open/exchanged"


def test_who_is_behind_the_call_is_stated_and_can_be_verified(
    proxy: Penstock, issuer: Issuer, server: Hostile
) -> None:
    """A minute's statement, signed with the key at the admin address; a claimed one is dropped."""
    mine, path = issuer.token(scope="files.read", secret_claim="canary"), "/open/stated/mcp"
    client = Client(proxy, mine, issuer.token(aud=f"https://{HOST}"))
    forged = {"penstock-identity": "forged", "Penstock-Identity": "forged too"}
    answer = client.ask(path, "tools/call", tool="read_file", **forged)
    assert answer.json()["result"] == text_result("done")
    headers = server.seen[-1][1]
    assert headers["authorization"].startswith("Bearer ")  # the server's own token stays
    keys = httpx.get(f"http://{proxy.admin}/.well-known/jwks.json").json()
    assert not any("d" in key for key in keys["keys"])
    stated = jwt.decode(headers["penstock-identity"], KeySet.import_key_set(keys), ["ES256"])
    assert stated.header["kid"] == keys["keys"][0]["kid"]
    claims = stated.claims
    assert (claims["sub"], claims["aud"], claims["iss"]) == ("ada", f"https://{HOST}", "penstock")
    assert 0 < claims["exp"] - time.time() <= 60
    assert "canary" not in str(claims) and "scope" not in claims
    head, body, signature = headers["penstock-identity"].split(".")
    other = json.loads(base64.urlsafe_b64decode(body + "==")) | {"sub": "root"}
    changed = base64.urlsafe_b64encode(json.dumps(other).encode()).rstrip(b"=").decode()
    with pytest.raises(Exception, match="signature"):
        jwt.decode(f"{head}.{changed}.{signature}", KeySet.import_key_set(keys), ["ES256"])


def test_no_refusal_starts_a_round_of_authorization(proxy: Penstock, issuer: Issuer) -> None:
    """No 401, 403 or challenge, whatever is refused: clients would send the user to log in."""
    client = Client(proxy, issuer.token(), issuer.token(aud="elsewhere"))
    asked = [
        ("/files/mcp", "tools/call", {"tool": "drop"}),
        ("/open/mcp", "initialize", {}),
        ("/open/mcp", "tools/call", {"tool": "read_file"}),
        ("/open/mcp", "notifications/initialized", {}),
    ]
    for path, method, more in asked:
        answer = client.ask(path, method, **more)
        assert answer.status_code in (200, 400), answer.text
        assert not {"www-authenticate", "location"} & set(answer.headers)
        assert "insufficient_scope" not in answer.text
