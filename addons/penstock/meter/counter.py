"""Exact token counts of a request's texts, for limits that ask for them (``estimate: tiktoken``).

What was counted is remembered per piece of content under a keyed hash, so that the next turn of
a conversation costs what is new in it. What is new is counted up to a bound; the rest, and
models whose vocabulary nobody has, stay with the learned estimate. Thread-safe: counting
releases the interpreter lock, and loading a vocabulary takes up to a second.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING

import orjson

from penstock.exchange import Exchange, Part
from penstock.meter.estimator import Count
from penstock.meter.vocabulary import VocabularyError, load, vocabulary_of

if TYPE_CHECKING:
    from tiktoken import Encoding

logger = logging.getLogger(__name__)

# Pieces remembered, some 150 bytes each: 2.5 MB. An agent's conversation has some hundred.
COUNTS_MAX = 16_384
DIGEST_BYTES = 16
# New text of one call that is counted in a worker: 10 ms of prose, 170 ms of what an attacker
# would write (one letter, or blanks). More is a document's first time: it counts next turn.
WORKER_BYTES_MAX = 256 * 1024
# The same on the loop: a tenth of a millisecond, 1.5 at worst. More makes the call go aside.
LOOP_BYTES_MAX = 2048

# OpenAI's own rule for chat models: each message has three tokens around it, the answer begins
# with three.
TOKENS_PER_MESSAGE = 3
TOKENS_OF_ANSWER = 3


class TokenCounter:
    """Counts with tiktoken; loads what it needs when it needs it."""

    def __init__(self, key: bytes) -> None:
        self._key = key[:64]
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        self._encodings: dict[str, Encoding] = {}
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self.problem: str | None = None  # why nothing can be counted

    def __repr__(self) -> str:
        return f"<TokenCounter counts={len(self._counts)}>"

    def goes_aside(self, exchange: Exchange) -> bool:
        """True when counting this request would hold the loop: it belongs into a worker."""
        name = None if exchange.references else vocabulary_of(exchange.model or "")
        if name is None or self.problem is not None:
            return False
        if name not in self._encodings:
            return True
        new = 0
        for text in texts_of(exchange):
            content = text.encode("utf-8", "surrogatepass")
            if self._digest(name, content) not in self._counts:
                new += len(content)
        return new > LOOP_BYTES_MAX

    def count(self, exchange: Exchange, worker: bool) -> Count | None:
        """The tokens of the request's texts; None where that would not be what it costs.

        That is: no vocabulary for the model, texts that are not in the request (an earlier
        answer by its id), or none at all (embeddings of token ids). On the loop nothing is
        loaded and little is counted; in a ``worker`` it may take time.
        """
        name = None if exchange.references else vocabulary_of(exchange.model or "")
        encoding = None if name is None else self._encoding(name, worker)
        if encoding is None:
            return None
        chat = exchange.operation == "chat"
        tokens = TOKENS_PER_MESSAGE * len(exchange.messages) + TOKENS_OF_ANSWER if chat else 0
        room, missed = WORKER_BYTES_MAX if worker else LOOP_BYTES_MAX, 0
        texts = list(texts_of(exchange))
        for text in texts:
            content = text.encode("utf-8", "surrogatepass")
            digest = self._digest(encoding.name, content)
            known = self._known(digest)
            if known is None and len(content) > room:
                missed += len(content)
                continue
            if known is None:
                room -= len(content)
                known = len(encoding.encode_ordinary(text))
                self._remember(digest, known)
            tokens += known
        return Count(tokens, missed) if texts else None

    def _encoding(self, name: str, worker: bool) -> Encoding | None:
        found = self._encodings.get(name)
        if found is not None or not worker or self.problem is not None:
            return found
        with self._loading:
            if name not in self._encodings and self.problem is None:
                try:
                    self._encodings[name] = load(name)
                except VocabularyError as error:
                    self.problem = str(error)
                    logger.error("exact counts: %s; estimates are learned instead", error)
            return self._encodings.get(name)

    def _digest(self, name: str, content: bytes) -> bytes:
        hashed = blake2b(content, digest_size=DIGEST_BYTES, key=self._key, person=name.encode())
        return hashed.digest()

    def _known(self, digest: bytes) -> int | None:
        with self._lock:
            known = self._counts.get(digest)
            if known is not None:
                self._counts.move_to_end(digest)
            return known

    def _remember(self, digest: bytes, tokens: int) -> None:
        with self._lock:
            self._counts[digest] = tokens
            if len(self._counts) > COUNTS_MAX:
                self._counts.popitem(last=False)


def texts_of(exchange: Exchange) -> Iterator[str]:
    """What a request says, piece by piece: messages, calls of tools, definitions of tools.

    Tools are counted as the JSON they are written in; the form providers give them to a model
    is theirs, and somewhat shorter.
    """
    for message in exchange.messages:
        for part in message.parts:
            yield from texts_of_part(part)
    for tool in exchange.tools:
        yield tool.name
        if tool.description:
            yield tool.description
        if tool.schema is not None:
            yield as_json(tool.schema)


def texts_of_part(part: Part) -> Iterator[str]:
    """The texts of one part; media have none here."""
    if part.text:
        yield part.text
    if part.kind in ("tool_call", "server_tool_call"):
        yield part.name or ""
        arguments = part.arguments
        if arguments is not None:
            yield arguments if isinstance(arguments, str) else as_json(arguments)


def as_json(value: object) -> str:
    """Compact JSON; what is none (it was read from JSON, so nothing is) counts as its text."""
    try:
        return orjson.dumps(value).decode()
    except (TypeError, orjson.JSONEncodeError):
        return str(value)
