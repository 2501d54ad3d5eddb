"""A translated call on its way: the request for its target, the answer for its caller.

The answer is translated back before anything judges it: rules, placeholders, limits and refusals
know one format, the caller's, and what they let through is what leaves. Only settling looks at
the target's own words, because they are what is paid for.
"""

from __future__ import annotations

import time
from urllib.parse import unquote_plus

from mitmproxy import http

from penstock.caller.credentials import KEY_PARAMETERS
from penstock.proxy.aside import goes_aside
from penstock.proxy.call import LiveCall
from penstock.proxy.capture import UninspectableError, decoded_body, headers_of
from penstock.proxy.engine.stream import StreamTransform, Yielding
from penstock.route.form import aim_of
from penstock.route.homes import home_of_call
from penstock.route.plan import Choice
from penstock.route.translate.fields import parsed
from penstock.route.translate.homes import HomeTranslation
from penstock.route.translate.request import FEATURE_HEADERS, FORMATS, Translated, translate
from penstock.route.translate.translation import Chained, FormatTranslation, Translation, Wanted
from penstock.wire.content_coding import Decoder

# A decoded answer stream; more than any context window can hold.
DECODED_BYTES_MAX = 512 * 1024 * 1024
# Of a query these are the form of the call, not a part of what it asks for.
FORM_PARAMETERS = frozenset(("alt", "api-version"))


def translated_request(live: LiveCall, choice: Choice, body: bytes) -> Translated | str:
    """The call as its target's format has it, from the body that would leave; or why not."""
    headers, path = live.request.headers, live.request.path
    for name in FEATURE_HEADERS:
        if headers.get(name):
            return f"the header '{name}' cannot be translated"
    for pair in path.partition("?")[2].split("&"):
        name = unquote_plus(pair.partition("=")[0])
        if name and name.lower() not in FORM_PARAMETERS | set(KEY_PARAMETERS):
            return "a parameter of the URL cannot be translated"
    document = parsed(body)
    return translate(live.call.exchange.api, document, aim_of(choice))


def translation_of(live: LiveCall, choice: Choice, made: Translated) -> Translation:
    """What turns the target's answer into what the caller asked for."""
    exchange = live.call.exchange
    assert choice.into is not None  # of translated choices only
    wanted = Wanted(
        FORMATS[exchange.api],
        made.stream,
        made.wants_usage,
        array=made.stream and exchange.parameters.get("alt") == "json",
        created=int(time.time()),
    )
    translation = FormatTranslation(choice.into, wanted)
    if choice.home is None:
        return translation
    return Chained(HomeTranslation(choice.home, "anthropic", made.stream), translation)


def rehoming_of(live: LiveCall, choice: Choice) -> Translation:
    """What turns the answer of another home of Anthropic's messages."""
    exchange = live.call.exchange
    home = home_of_call(exchange.api, live.call.path, exchange.document)
    assert home is not None and choice.home is not None  # see policy.routes
    return HomeTranslation(choice.home, home, exchange.stream)


def translate_head(translation: Translation, response: http.Response) -> bool:
    """Make the head of the target's answer one the caller knows; True when a stream follows."""
    headers = headers_of(response)
    streams = translation.streams(response.status_code, headers)
    told = translation.headers(headers, streams)
    coding = headers.get("content-encoding")
    response.status_code = translation.status(response.status_code)
    response.data.reason = b""
    response.headers = http.Headers(
        [(name.encode(), value.encode("latin-1", "replace")) for name, value in told.items()]
    )
    if coding is not None and not streams:
        response.headers["content-encoding"] = coding  # taken off when the body is there
    if streams and response.http_version == "HTTP/1.1":
        response.headers["transfer-encoding"] = "chunked"
    return streams


def translate_whole(
    live: LiveCall, translation: Translation, response: http.Response, raw: bytes
) -> bytes:
    """The caller's body for a whole answer of the target's; its head is told of it."""
    try:
        plain = decoded_body(headers_of(response), raw)
    except UninspectableError:
        plain = b""  # no JSON, which is what the caller will be told
    status, body = translation.whole(translation.answered, plain)
    response.headers.pop("content-encoding", None)
    live.status = response.status_code = status
    if translation.refused:
        response.headers["x-should-retry"] = "false"  # it was billed, and would be again
    response.raw_content = body
    response.headers["content-length"] = str(len(body))
    return body


class TranslatedStream:
    """A ``StreamTransform`` in front of the answer's own: it sees the caller's format only."""

    changes_length = True

    def __init__(self, translation: Translation, coding: str, inner: StreamTransform) -> None:
        self.translation = translation
        self.inner = inner
        self.decoder = Decoder(coding, DECODED_BYTES_MAX) if coding else None
        self.finished = False
        self.handed = b""  # what ``inner`` got last

    @property
    def aside(self) -> bool:
        """As the one behind it."""
        return goes_aside(self.inner)

    def feed(self, chunk: bytes) -> list[bytes]:
        self.handed = b""
        plain = self.decoder.feed(chunk) if self.decoder else chunk
        return self.hand_on(self.translation.feed(plain))

    def end(self) -> list[bytes]:
        self.handed = b""
        out = self.hand_on(self.translation.end())
        if not self.finished:
            out += self.inner.end()
            self.finished = self.inner.finished
        return out

    def hand_on(self, translated: bytes) -> list[bytes]:
        self.handed = translated
        out = self.inner.feed(translated) if translated else []
        self.finished = self.inner.finished
        if self.translation.finished and not self.finished:
            out += self.inner.end()
            self.finished = True
        return out

    def failed(self, error: BaseException) -> list[bytes]:
        return self.inner.failed(error)

    def unchecked(self, chunk: bytes) -> list[bytes]:
        """A check raised and may: what it was given passes, in the caller's format."""
        if not isinstance(self.inner, Yielding):
            raise TypeError("nothing to hand on to")
        return self.inner.unchecked(self.handed)
