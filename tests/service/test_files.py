"""Files in a running proxy: read aside, refused where something is found or nothing can be read."""

from __future__ import annotations

import base64
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.harness import Penstock, https_server, running_penstock

_spec = importlib.util.spec_from_file_location(
    "documents_made", Path(__file__).parents[1] / "detect" / "test_documents.py"
)
assert _spec is not None and _spec.loader is not None
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)

HOSTS = ["api.anthropic.com", "api.openai.com"]
POLICY = """
version: 1
name: files
rules:
  - id: no-cards-in-files
    deny: {find: [pii.card], in: [request, document]}
  - id: no-programs
    deny: {blobs: [application/x-executable]}
"""


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    async def answer(request: Request) -> Response:
        await request.body()
        return JSONResponse({"id": "msg_1", "type": "message", "content": []})

    folder = tmp_path_factory.mktemp("files")
    paths = [Route(path, answer, methods=["POST"]) for path in ("/v1/messages", "/v1/files")]
    with (
        https_server(folder / "up", Starlette(routes=paths), HOSTS) as upstream,
        running_penstock(folder / "penstock", POLICY, upstream) as started,
    ):
        yield started


def document(raw: bytes) -> Any:
    source = {
        "type": "base64",
        "media_type": "application/pdf",
        "data": base64.b64encode(raw).decode(),
    }
    return {"model": "claude-sonnet-4-5", "max_tokens": 5, "messages": [
        {"role": "user", "content": [{"type": "document", "source": source}]}]}  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "status", "says"),
    [
        (made.pdf("nothing to see"), 200, ""),
        (made.pdf(), 403, "pii.card found in a file"),
        (made.docx(made.RUNS), 403, "pii.card found in a file"),
        (made.written(password="secret"), 403, "encrypted, broken or too large"),
        (made.bomb(), 403, "unpacks to more than"),
        (b"\x7fELF" + b"\0" * 500, 403, "application/x-executable"),
    ],
    ids=["harmless", "pdf", "docx", "encrypted", "bomb", "program"],
)
def test_a_file_in_a_message(proxy: Penstock, raw: bytes, status: int, says: str) -> None:
    with httpx.Client(proxy=proxy.url, verify=str(proxy.state / "ca.pem"), timeout=60) as client:
        answer = client.post("https://api.anthropic.com/v1/messages", json=document(raw))
    assert answer.status_code == status
    assert says in json.dumps(answer.json())


def test_an_uploaded_file(proxy: Penstock) -> None:
    with httpx.Client(proxy=proxy.url, verify=str(proxy.state / "ca.pem"), timeout=60) as client:
        for raw, status in ((made.pdf("fine") + b"\xff\0", 200), (made.pdf() + b"\xff\0", 403)):
            files = {"file": ("report.bin", raw, "application/octet-stream")}
            answer = client.post(
                "https://api.openai.com/v1/files", data={"purpose": "x"}, files=files
            )
            assert answer.status_code == status
