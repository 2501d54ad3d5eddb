"""Headers that mirror arguments follow an edit of the argument."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.shared.inbound import decode_header_value, encode_header_value

from penstock.mcp.headers import encode_header, follow_edits
from penstock.wire.jsonrpc.checks import decode_header


def call(**arguments: Any) -> dict[str, Any]:
    return {"method": "tools/call", "params": {"name": "t", "arguments": arguments}}


def test_an_edited_argument_takes_its_header_along() -> None:
    """The secret leaves neither in the body nor in the header; other headers stay."""
    headers = {"mcp-param-mail": "ada@x.example", "mcp-param-region": "eu", "mcp-name": "t"}
    before, after = call(mail="ada@x.example", region="eu"), call(mail="[EMAIL]", region="eu")
    assert follow_edits(headers, before, after) == {"mcp-param-mail": "[EMAIL]"}


def test_encoded_headers_and_deep_arguments_follow() -> None:
    """The base64 form is decoded before it is compared and used again where needed."""
    headers = {"mcp-param-who": encode_header_value("Zoë ")}
    before, after = call(deep={"er": {"who": "Zoë "}}), call(deep={"er": {"who": "Ü"}})
    changed = follow_edits(headers, before, after)
    assert decode_header_value(changed["mcp-param-who"]) == "Ü"


def test_of_two_equal_arguments_the_one_of_the_headers_name_counts() -> None:
    """Two arguments with one value: the header follows the one it is called after."""
    before, after = call(a="same", b="same"), call(a="new", b="other")
    assert follow_edits({"mcp-param-b": "same"}, before, after) == {"mcp-param-b": "other"}


@pytest.mark.parametrize("after", [None, {}, {"params": 5}, {"params": {"arguments": []}}])
def test_odd_bodies_do_not_raise(after: Any) -> None:
    """Nothing readable on either side is no change, or an empty header."""
    assert follow_edits({"mcp-param-a": "1"}, None, after) == {}
    assert follow_edits({"mcp-param-a": "1"}, call(a=1), after) == {"mcp-param-a": ""}


@pytest.mark.parametrize(
    "value", ["", "plain", " edge ", "ä", "=?base64?eA==?=", "a\r\nb: c", "☃" * 50]
)
def test_our_encoding_is_the_sdks(value: str) -> None:
    """What we write the server reads, and the other way round; line ends never get through."""
    assert decode_header_value(encode_header(value)) == value
    assert decode_header(encode_header_value(value)) == value
    assert "\n" not in encode_header(value)


@pytest.mark.parametrize("value", ["=?base64?eB==?=", "=?base64?e A==?=", "=?base64?/w==?="])
def test_what_the_sdk_refuses_we_refuse(value: str) -> None:
    """Loose base64 and bytes that are no text are no value."""
    assert decode_header(value) is None and decode_header_value(value) is None
