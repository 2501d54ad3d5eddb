"""A client on the Python SDK for the suite's client direction: ``python client.py URL``.

The suite starts a server for each scenario and names the scenario in the environment. What this
does is the same for all: list what there is, call every tool with arguments of the right
types, answer what the server asks, log in where it wants that.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.oauth2 import AuthorizationCodeResult
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from mcp.types import CreateMessageResult, ElicitResult, ListRootsResult, TextContent

from mcp import Client

REDIRECT = "http://localhost:3030/callback"
METADATA_URL = "https://conformance-test.local/client-metadata.json"
SAMPLES: dict[str, Any] = {
    "string": "x", "integer": 2, "number": 1.5, "boolean": True, "array": [], "object": {},
    "null": None,
}  # fmt: skip


class Storage:
    """Tokens of one run."""

    def __init__(self, known: OAuthClientInformationFull | None) -> None:
        self.tokens: OAuthToken | None = None
        self.client = known

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Person:
    """Logs in without a browser: the suite's server answers with the redirect at once."""

    def __init__(self) -> None:
        self.came_back: dict[str, list[str]] = {}

    async def go(self, url: str) -> None:
        async with httpx2.AsyncClient(follow_redirects=False) as client:
            answer = await client.get(url)
        self.came_back = parse_qs(urlsplit(answer.headers.get("location", "")).query)

    async def come_back(self) -> AuthorizationCodeResult:
        def one(name: str) -> str | None:
            return self.came_back.get(name, [None])[0]

        return AuthorizationCodeResult(code=one("code") or "", state=one("state"), iss=one("iss"))


def sample(schema: Any) -> Any:
    """A value that fits a JSON schema well enough."""
    if not isinstance(schema, dict):
        return "x"
    if "default" in schema or "const" in schema:
        return schema.get("default", schema.get("const"))
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("properties"):
        return {name: sample(one) for name, one in schema["properties"].items()}
    kind = schema.get("type", "string")
    return SAMPLES.get(kind[0] if isinstance(kind, list) else kind, "x")


async def elicit(_context: Any, parameters: Any) -> ElicitResult:
    wanted = getattr(parameters, "requested_schema", None) or {}
    return ElicitResult(action="accept", content=sample(wanted) or {})


async def create_message(_context: Any, _parameters: Any) -> CreateMessageResult:
    said = TextContent(type="text", text="x")
    return CreateMessageResult(role="assistant", content=said, model="test")


async def list_roots(_context: Any) -> ListRootsResult:
    return ListRootsResult(roots=[])


def login(url: str, context: dict[str, Any]) -> OAuthClientProvider:
    """The SDK's own flow, under the client the scenario registered where it did."""
    known = None
    if "client_id" in context and "private_key_pem" not in context:
        known = OAuthClientInformationFull(
            client_id=context["client_id"],
            client_secret=context.get("client_secret"),
            token_endpoint_auth_method="client_secret_basic",
            redirect_uris=[REDIRECT],
        )
    person = Person()
    metadata = OAuthClientMetadata(
        client_name="conformance",
        redirect_uris=[REDIRECT],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
    )
    return OAuthClientProvider(
        url, metadata, Storage(known), person.go, person.come_back, METADATA_URL
    )


async def main(url: str) -> None:
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    version = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "2025-11-25")
    mode: Any = version if version >= "2026" else "legacy"
    async with (
        httpx2.AsyncClient(auth=login(url, context), timeout=20) as http,
        Client(
            streamable_http_client(url, http_client=http),
            mode=mode,
            elicitation_callback=elicit,
            sampling_callback=create_message,
            list_roots_callback=list_roots,
        ) as client,
    ):
        await use(client, context)


async def use(client: Client, context: dict[str, Any]) -> None:
    """Everything the server offers; an error of one thing is no reason to leave the next out."""
    tools = (await client.list_tools()).tools
    calls = [(one["name"], one.get("arguments", {})) for one in context.get("toolCalls", [])]
    for name, arguments in calls or [(tool.name, sample(tool.input_schema)) for tool in tools]:
        with contextlib.suppress(Exception):
            await client.call_tool(name, arguments if isinstance(arguments, dict) else {})
    for listing in (client.list_resources, client.list_prompts):
        with contextlib.suppress(Exception):
            await listing()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[-1]))
