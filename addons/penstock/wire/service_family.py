"""Small services told by data: whose host, which path, which fields hold what.

For APIs of one or two endpoints whose bodies are flat: search, speech, embeddings, jobs. What
the data does not name is read as everywhere: every string a leaf.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs

from penstock.exchange import Destination, Exchange, HttpAnswer, HttpRequest, Message, Part, Zone
from penstock.wire.loose import as_dict, as_text
from penstock.wire.uploads import UploadFamily
from penstock.wire.zones import Mark, Marks, strings

# A query string has a handful of parameters; more are not read.
QUERY_FIELDS_MAX = 100
NOTHING: Mapping[str, Zone] = MappingProxyType({})


class ServiceFamily(UploadFamily):
    """An endpoint of a named service: an instance is data, a subclass adds what data cannot say.

    ``asks`` and ``says`` name fields of the request and of the answer, and whose words they are;
    ``method`` empty means any.
    """

    def __init__(
        self,
        api: str,
        operation: str,
        hosts: tuple[str, ...],
        path: str,
        *,
        asks: Mapping[str, Zone] = NOTHING,
        says: Mapping[str, Zone] = NOTHING,
        method: str = "POST",
    ) -> None:
        self.api, self.operation, self.method = api, operation, method
        self.hosts, self.path = hosts, re.compile(path)
        self.asks, self.says = asks, says

    def recognise(self, request: HttpRequest, destination: Destination) -> bool:
        """By host and path: the paths are words anyone may use."""
        return at_host(request, self.hosts) and super().recognise(request, destination)

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """The model from body or query; the caller's words as one message."""
        exchange.model = as_text(document.get("model")) or query_value(request, "model")
        exchange.stream = document.get("stream") is True
        parts: list[Part] = []
        for field, zone in self.asks.items():
            marks[(field,)] = Mark(zone)
            if zone == "user":
                parts += [Part("text", text=text) for text in strings(document.get(field))]
        exchange.messages = [Message("user", parts)] if parts else []

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """The model, and whose words the fields are."""
        for field, zone in self.says.items():
            marks[(field,)] = Mark(zone)
        if exchange.answer is not None:
            exchange.answer.model = as_text(as_dict(document).get("model"))


def at_host(request: HttpRequest, hosts: tuple[str, ...]) -> bool:
    """True when the request goes to one of ``hosts`` or a name below it."""
    return any(request.host == host or request.host.endswith("." + host) for host in hosts)


def query_value(request: HttpRequest, name: str) -> str | None:
    """The first value of a query parameter; None without one, or among too many."""
    try:
        query = parse_qs(request.path.partition("?")[2], max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        return None
    return query.get(name, [None])[0]
