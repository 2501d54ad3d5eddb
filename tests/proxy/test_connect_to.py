"""``--connect-to`` values, good and bad."""

from __future__ import annotations

import pytest

from penstock.proxy.engine.connect_to import parse_address, parse_connect_to


def test_values_become_a_table() -> None:
    """Names are evened out, brackets taken off."""
    assert parse_connect_to(["API.example.:443=127.0.0.1:8443", "b:80=[::1]:8080"]) == {
        ("api.example", 443): ("127.0.0.1", 8443),
        ("b", 80): ("::1", 8080),
    }


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a:1", "expected HOST:PORT=ADDRESS:PORT"),
        ("a=b:1", "expected HOST:PORT, found 'a'"),
        ("a:1=b", "expected HOST:PORT, found 'b'"),
        ("a:0=b:1", "expected HOST:PORT"),
        ("a:1=b:65536", "expected HOST:PORT"),
        ("a:1=::1:80", "needs brackets"),
        (":1=b:1", "expected HOST:PORT"),
    ],
)
def test_bad_values_say_what_is_wrong(value: str, message: str) -> None:
    """Before anything is served."""
    with pytest.raises(ValueError, match=message):
        parse_connect_to([value])


def test_a_repeated_name_is_an_error() -> None:
    """Two targets for one destination would hide one."""
    with pytest.raises(ValueError, match="given twice"):
        parse_connect_to(["a:1=b:1", "A:1=c:1"])


def test_addresses_need_ascii_ports() -> None:
    """Digits of other scripts are not a port."""
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        parse_address("a:x")
