"""Ask an MCP server for its tools, for ``penstock mcp pin``: a person started this.

The session-less era is tried first, then the handshake. Answers come as JSON or as an event
stream. Sizes, pages and time are bounded. Nothing here runs inside the proxy.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from typing import Any

from penstock.wire.framing.sse import SseParser
from penstock.wire.jsonrpc.shape import CLIENT_META, MODERN_SINCE, VERSION_META
from penstock.wire.loose import as_dict, as_dicts, as_text

SECONDS_MAX = 30.0
ANSWER_BYTES_MAX = 32 * 2**20
# A server with more pages is broken or hostile; 100 pages of 100 tools are plenty.
PAGES_MAX = 100
LEGACY_VERSION = "2025-11-25"
_CLIENT = {"name": "penstock", "version": "1"}


class Unreachable(Exception):
    """The server did not give a list of tools; the message says why."""


class _StayHere(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the credential to a host nobody named."""

    def redirect_request(self, *_arguments: Any) -> None:
        return None


class Session:
    """One conversation with a server at ``url``. ``headers`` may carry a credential."""

    def __init__(self, url: str, headers: dict[str, str], ca_file: str | None = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise Unreachable(f"{url}: not an http or https URL")
        self.url, self.headers = url, dict(headers)
        self.modern = True
        self.count = 0
        context = ssl.create_default_context(cafile=ca_file)
        self.opener = urllib.request.build_opener(
            _StayHere, urllib.request.HTTPSHandler(context=context)
        )

    def tools(self) -> list[dict[str, Any]]:
        """All pages of the tool list."""
        first = self.ask("tools/list", {})
        if "result" not in first:
            self._handshake()
            first = self.ask("tools/list", {})
        found, answer = [], first
        for _ in range(PAGES_MAX):
            if "result" not in answer:
                error = as_dict(answer.get("error"))
                raise Unreachable(f"{self.url}: {as_text(error.get('message')) or 'no tool list'}")
            result = as_dict(answer["result"])
            found += as_dicts(result.get("tools"))
            cursor = as_text(result.get("nextCursor"))
            if not cursor:
                return found
            answer = self.ask("tools/list", {"cursor": cursor})
        raise Unreachable(f"{self.url}: more than {PAGES_MAX} pages")

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """One request and its answer (or its error), whatever the transport wraps it in."""
        self.count += 1
        message = {"jsonrpc": "2.0", "id": self.count, "method": method, "params": params}
        headers = {}
        if self.modern:
            capabilities = "io.modelcontextprotocol/clientCapabilities"
            meta = {VERSION_META: MODERN_SINCE, capabilities: {}, CLIENT_META: _CLIENT}
            message["params"] = {**params, "_meta": meta}
            headers = {"mcp-protocol-version": MODERN_SINCE, "mcp-method": method}
        for answer in self._post(message, headers):
            if answer.get("id") == self.count or "error" in answer:
                return answer
        return {}

    def _handshake(self) -> None:
        self.modern = False
        params = {"protocolVersion": LEGACY_VERSION, "capabilities": {}, "clientInfo": _CLIENT}
        answer = self.ask("initialize", params)
        version = as_text(as_dict(answer.get("result")).get("protocolVersion"))
        if version is None:
            message = as_text(as_dict(answer.get("error")).get("message"))
            raise Unreachable(f"{self.url}: {message or 'it does not answer like an MCP server'}")
        self.headers["mcp-protocol-version"] = version
        self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}, {})

    def _post(self, message: dict[str, Any], headers: dict[str, str]) -> list[dict[str, Any]]:
        request = urllib.request.Request(  # noqa: S310 (the scheme was checked)
            self.url,
            json.dumps(message).encode(),
            {
                "content-type": "application/json",
                "accept": "application/json, text/event-stream",
                **self.headers,
                **headers,
            },
        )
        try:
            with self.opener.open(request, timeout=SECONDS_MAX) as response:
                return self._read(response)
        except urllib.error.HTTPError as error:
            return self._read(error) or [{"error": {"message": f"HTTP {error.code}"}}]
        except (OSError, ValueError) as error:
            raise Unreachable(f"{self.url}: {error}") from None

    def _read(self, response: Any) -> list[dict[str, Any]]:
        if session := response.headers.get("mcp-session-id"):
            self.headers["mcp-session-id"] = session
        body = response.read(ANSWER_BYTES_MAX)
        if "event-stream" not in response.headers.get("content-type", ""):
            return [found for found in [_message(body)] if found]
        parser = SseParser(ANSWER_BYTES_MAX)
        events = [*parser.feed(body), *parser.end()]
        return [found for event in events if event.data and (found := _message(event.data))]


def _message(data: bytes) -> dict[str, Any]:
    try:
        return as_dict(json.loads(data))
    except (ValueError, RecursionError):
        return {}
