"""What the Amazon Bedrock families share: the model's place, errors, frames of refusal.

Sources: Bedrock API reference, "Common errors"; Smithy, "AWS JSON protocols" and "Amazon
Event Stream". The model id stands percent-encoded in the URL and may be an ARN. A changed
request needs a new SigV4 signature: that is the sender's business, not this room's.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

from penstock.exchange import CallError, Exchange, HttpAnswer, HttpRequest
from penstock.wire.family import Framing, Refusal
from penstock.wire.framing.eventstream import encode, encode_headers
from penstock.wire.json_family import JsonFamily
from penstock.wire.loose import as_dict, as_text
from penstock.wire.refusals import RETRY_WAIT_SECONDS_MAX, json_refusal
from penstock.wire.zones import Marks

_MODEL = re.compile(r"/model/(.+)/[a-z-]+$")


class BedrockFamily(JsonFamily):
    """A Bedrock operation. Subclasses name their path and read their bodies."""

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """The model, from the URL."""
        exchange.model = model_of(request)

    def framing(self, exchange: Exchange, answer: HttpAnswer, first_bytes: bytes) -> Framing:
        """One JSON body; the streaming operations say otherwise."""
        return "none"

    def read_error(self, answer: HttpAnswer, document: Any) -> CallError | None:
        """The error's type from its header (or ``__type``), its text from the body."""
        if answer.status < 400:
            return None
        body = as_dict(document)
        named = answer.headers.get("x-amzn-errortype") or as_text(body.get("__type"))
        kind = named.split(":")[0].rpartition("#")[2] if named else None
        return CallError(kind, as_text(body.get("message")) or as_text(body.get("Message")))

    def refusal(self, refusal: Refusal) -> HttpAnswer:
        """``message`` and the error type's header, as every AWS SDK reads them."""
        headers = {"x-amzn-errortype": _error_type(refusal)}
        return json_refusal(refusal, {"message": refusal.message}, headers)

    def stream_refusal(self, exchange: Exchange, refusal: Refusal) -> bytes:
        """An exception frame; the stream ends with its last frame."""
        kind = "throttlingException" if refusal.status == 429 else "validationException"
        headers = {
            ":exception-type": kind,
            ":content-type": "application/json",
            ":message-type": "exception",
        }
        payload = json.dumps({"message": refusal.message}).encode()
        return encode(encode_headers(headers), payload)


class BedrockStreamFamily(BedrockFamily):
    """A Bedrock operation that answers with an event stream."""

    def framing(self, exchange: Exchange, answer: HttpAnswer, first_bytes: bytes) -> Framing:
        """Frames, unless it is an error or the first byte opens a JSON object."""
        # A frame starts with its length in four bytes: far below 0x7b000000, where "{" stands.
        if answer.status >= 400 or first_bytes[:1] == b"{":
            return "none"
        return "aws_eventstream"


def model_of(request: HttpRequest) -> str | None:
    """The model id or ARN in the URL, decoded."""
    found = _MODEL.search(request.path.partition("?")[0])
    return unquote(found[1]) if found else None


def stream_error(name: str | None, document: Any) -> CallError | None:
    """The error of an exception frame (``name`` is its type) or of an error frame."""
    if name is None or not name.endswith(("Exception", "Error", "Failure")):
        return None
    return CallError(name, as_text(as_dict(document).get("message")))


def _error_type(refusal: Refusal) -> str:
    if refusal.status != 429:
        return "AccessDeniedException"
    wait = refusal.retry_after_seconds
    # SDKs retry a throttling error within seconds; a spent budget must not look like one.
    short = wait is not None and wait <= RETRY_WAIT_SECONDS_MAX
    return "ThrottlingException" if short else "ServiceQuotaExceededException"
