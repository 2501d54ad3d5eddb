"""Deceiving tool names: shadowing and look-alikes."""

from __future__ import annotations

import pytest

from penstock.mcp.names import look_alikes, shadowed, skeleton


@pytest.mark.parametrize(
    "pair",
    [
        ("send_mail", "send_mаil"),  # Cyrillic а
        ("send_mail", "send-mail"),
        ("send_mail", "Send_Mail"),
        ("send_mail", "sendmail"),
        ("list_files", "1ist_files"),
        ("get_item", "get_ltem"),
        ("post", "p0st"),
        ("modern", "modem"),
        ("read", "re\u200bad"),
        ("read", "ｒｅａｄ"),
        ("copy", "сору"),
    ],
)
def test_names_that_look_alike_are_one_group(pair: tuple[str, str]) -> None:
    """Scripts, digits, separators, case and invisible characters do not tell names apart."""
    assert look_alikes([*pair, "unrelated"]) == [tuple(sorted(pair))]


def test_different_names_are_left_alone() -> None:
    """Ordinary families of tools are not suspicious."""
    names = ["get_issue", "get_issues", "list_issues", "search_code", "create_issue", "add", "sub"]
    assert look_alikes(names) == [] and look_alikes(["a", "a"]) == []
    assert skeleton("") == ""


def test_a_name_from_two_servers_is_shadowed() -> None:
    """The same tool from two servers is named with both; within one server it is not."""
    found = shadowed({"https://b": ["add", "x"], "https://a": ["add", "add", "y"]})
    assert found == {"add": ["https://a", "https://b"]}
