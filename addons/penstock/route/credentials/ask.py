"""One HTTP question to a token service or a secret store, blocking, bounded, straight.

Runs in a worker thread. It never goes through a proxy (it would be our own), follows no
redirect (credentials would follow), and repeats nothing of an answer in an error except an
OAuth error code.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from penstock.route.credentials.fetched import SourceError

# Token services answer in tens of milliseconds; a caller waits for the first answer.
ANSWER_SECONDS = 10.0
# Tokens and key sets are kilobytes.
ANSWER_BYTES_MAX = 1024 * 1024
LOOPBACK = ("localhost", "127.0.0.1", "::1")

_ERROR_CODE = re.compile(r"[a-z_]{1,40}")
_READ_BYTES = 65536


def address_problem(url: str) -> str | None:
    """Why ``url`` cannot be asked for a secret; None when it can: https, or this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "not a URL"
    if not host or parts.scheme not in ("https", "http"):
        return "not an https:// URL"
    if parts.username or parts.password:
        return "a URL must not hold credentials"
    if parts.scheme == "http" and host not in LOOPBACK:
        return "http:// would send a secret in clear: use https:// (http only to this machine)"
    return None


def ask(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    document: Any = None,
    content: bytes | None = None,
    ca: str = "",
) -> bytes:
    """The body of a successful answer. GET, or POST with ``form`` or ``document`` (JSON).

    ``content`` is JSON that was written already, and has to be sent as it is.

    ``ca`` is a PEM file that is trusted in place of the system's roots.

    Raises:
        SourceError: unreachable, untrusted, slow, too large, or not a 2xx answer.
    """
    body, sent = None, {"accept": "application/json", **(headers or {})}
    if form is not None:
        body = urlencode(form).encode()
        sent["content-type"] = "application/x-www-form-urlencoded"
    elif document is not None:
        body = json.dumps(document).encode()
        sent["content-type"] = "application/json"
    elif content is not None:
        body = content
        sent["content-type"] = "application/json"
    host = urlsplit(url).hostname or "?"
    try:
        status, said = _exchange(url, "GET" if body is None else "POST", body, sent, ca)
    except ssl.SSLError:
        raise SourceError(f"{host} could not be verified") from None
    except TimeoutError:
        raise SourceError(f"{host} did not answer in time") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SourceError(f"{host} could not be asked ({type(error).__name__})") from None
    if not 200 <= status < 300:
        raise SourceError(f"{host} answered {status}{_error_code(said)}")
    return said


def ask_json(url: str, **question: Any) -> dict[str, Any]:
    """As ``ask``; the answer must be a JSON object."""
    content = ask(url, **question)
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise SourceError(f"{urlsplit(url).hostname} did not answer with a JSON object")
    return document


def basic(user: str, password: str) -> str:
    """HTTP Basic for an OAuth client (RFC 6749 section 2.3.1: each form-encoded first)."""
    pair = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _exchange(
    url: str, method: str, body: bytes | None, headers: Mapping[str, str], ca: str
) -> tuple[int, bytes]:
    parts = urlsplit(url)
    assert parts.hostname is not None  # checked when the policy was loaded
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        trust = ssl.create_default_context(cafile=ca or None)
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=ANSWER_SECONDS, context=trust
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=ANSWER_SECONDS)
    deadline = time.monotonic() + ANSWER_SECONDS
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        content = b""
        while piece := answer.read1(_READ_BYTES):
            content += piece
            if len(content) > ANSWER_BYTES_MAX:
                raise ValueError("too large")
            if time.monotonic() > deadline:
                raise TimeoutError
        return answer.status, content
    finally:
        connection.close()


def _error_code(content: bytes) -> str:
    """The ``error`` of RFC 6749 section 5.2 when it is a plain word; nothing else is repeated."""
    try:
        code = json.loads(content)["error"]
    except (ValueError, TypeError, KeyError):
        return ""
    return f" ({code})" if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""
