"""Answers that call themselves bytes of no kind: text is read, bytes pass as they are."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness import Penstock, https_server, running_penstock
from tests.leaks.values import github_token, leaked

HOST = "api.openai.com"
POLICY = """
version: 1
name: files
mode: enforce
rules:
  - id: tokens
    redact: {find: [secret], in: [response], with: mask}
"""


class Files:
    """Answers every request with ``body`` in pieces, as a download."""

    body = b""
    piece = 1000

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await receive()
        headers = [(b"content-type", b"application/octet-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for at in range(0, len(self.body), self.piece):
            body = self.body[at : at + self.piece]
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@pytest.fixture(scope="module")
def files() -> Files:
    return Files()


@pytest.fixture(scope="module")
def proxy(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    with (
        https_server(tmp_path_factory.mktemp("upstream"), files, [HOST]) as upstream,
        running_penstock(tmp_path_factory.mktemp("penstock"), POLICY, upstream) as started,
    ):
        yield started


def download(proxy: Penstock) -> bytes:
    context = ssl.create_default_context(cafile=str(proxy.state / "ca.pem"))
    connection = http.client.HTTPSConnection(*proxy.address, context=context, timeout=20)
    connection.set_tunnel(HOST, 443)
    connection.request("GET", "/v1/files/file-1/content")
    body = connection.getresponse().read()
    connection.close()
    return body


@pytest.mark.parametrize("piece", [1, 1000])
@pytest.mark.parametrize(
    "form",
    ['{{"a":"first"}}\n{{"a":"it is {} so"}}', '{{"a":"it is {} so"}}', "name,key\nme,{} so\n"],
    ids=["lines", "document", "text"],
)
def test_text_in_a_download_is_judged(proxy: Penstock, files: Files, form: str, piece: int) -> None:
    """Lines of JSON, a document, plain text: the token is masked, the rest is as it was."""
    token = github_token()
    files.body, files.piece = form.format(token).encode(), piece
    body = download(proxy)
    assert leaked(token, body.decode()) is None
    assert body == form.format("[secret.github_token]").encode()


@pytest.mark.parametrize("body", [b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40, b"\xff\xfe" * 900])
def test_bytes_in_a_download_pass(proxy: Penstock, files: Files, body: bytes) -> None:
    """What is no text cannot hold a text."""
    files.body, files.piece = body, 1000
    assert download(proxy) == body
