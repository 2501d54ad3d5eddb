"""Values of a conversation, known again by their hash: per caller, bounded, never readable."""

from __future__ import annotations

import pytest

from penstock.detect.leakage import conversation
from penstock.detect.leakage.conversation import Conversations

MAIL, CARD, TOKEN = "ada@analytical-engine.org", "4111 1111 1111 1111", "ghp_a1B2c3d4"


@pytest.fixture
def said() -> Conversations:
    return Conversations(b"k" * 32)


def test_a_value_is_known_again_whatever_stands_between_its_digits(said: Conversations) -> None:
    said.learn("c", "pii.card", CARD, "tool_result")
    assert said.knows("c", CARD) and said.knows("c", "4111-1111-1111-1111")
    assert not said.knows("c", "4111 1111 1111 1112")


def test_another_caller_knows_nothing(said: Conversations) -> None:
    said.learn("c", "pii.email", MAIL, "tool_result")
    assert not said.knows("d", MAIL)


def test_what_the_user_wrote_is_the_users_to_use_but_for_secrets(said: Conversations) -> None:
    said.learn("c", "pii.email", MAIL, "tool_result")
    said.learn("c", "pii.email", MAIL, "user")
    said.learn("c", "pii.email", MAIL, "tool_result")
    assert not said.knows("c", MAIL)
    said.learn("c", "secret.github_token", TOKEN, "user")
    assert said.knows("c", TOKEN)


def test_no_value_is_kept(said: Conversations) -> None:
    said.learn("c", "pii.email", MAIL, "tool_result")
    assert MAIL not in repr(said) + repr(said._callers)


def test_too_little_to_be_a_value_is_never_known(said: Conversations) -> None:
    said.learn("c", "pii.phone", "1-2", "tool_result")
    assert not said.knows("c", "1-2")


def test_bounded_in_values_callers_and_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "VALUES_PER_CALLER_MAX", 2)
    monkeypatch.setattr(conversation, "CALLERS_MAX", 2)
    now = [0.0]
    said = Conversations(b"k" * 32, clock=lambda: now[0])
    for number in range(3):
        said.learn("c", "secret.x", f"value{number}", "system")
    assert [said.knows("c", f"value{number}") for number in range(3)] == [False, True, True]
    for caller in ("d", "e"):
        said.learn(caller, "secret.x", "value1", "system")
    assert not said.knows("c", "value1") and said.knows("e", "value1")
    now[0] = conversation.AGE_SECONDS_MAX + 1
    assert not said.knows("e", "value1")
