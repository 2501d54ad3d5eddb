"""Placeholders: stable, private to a caller, restored by exact match only."""

from __future__ import annotations

import pickle
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.detect import placeholders
from penstock.detect.placeholders import Vault, kind_of

KEY = b"k" * 32


@pytest.fixture
def vault() -> Vault:
    return Vault(KEY)


def test_the_form_is_identifier_characters_only(vault: Vault) -> None:
    sealed = vault.seal("pii.email", "bob@example.org", "caller")
    assert re.fullmatch(r"PLACEHOLDER_EMAIL_[0-9A-HJKMNP-TV-Z]{13}", sealed)


@pytest.mark.parametrize(
    ("type_name", "kind"),
    [("pii.email", "EMAIL"), ("secret.github_token", "GITHUB_TOKEN"), ("secret", "SECRET"),
     ("pii.national_id.fi_hetu", "NATIONAL_ID_FI_HETU"), ("custom.Käse", "K_SE"), ("x.", "VALUE")],
)  # fmt: skip
def test_the_kind_comes_from_the_type(type_name: str, kind: str) -> None:
    assert kind_of(type_name) == kind


def test_same_value_same_placeholder_over_turns_and_processes(vault: Vault) -> None:
    first = vault.seal("pii.email", "bob@example.org", "caller")
    assert vault.seal("pii.email", "bob@example.org", "caller") == first
    assert Vault(KEY).seal("pii.email", "bob@example.org", "caller") == first
    assert Vault(b"x" * 32).seal("pii.email", "bob@example.org", "caller") != first


def test_a_caller_never_gets_anothers_value(vault: Vault) -> None:
    sealed = vault.seal("pii.email", "bob@example.org", "one")
    assert vault.restore(sealed, "two") == (sealed, 0)
    assert vault.holds("one") and not vault.holds("two")
    assert vault.seal("pii.email", "bob@example.org", "two") != sealed


def test_an_altered_placeholder_is_not_restored(vault: Vault) -> None:
    sealed = vault.seal("secret.jwt", "value", "c")
    spaced = sealed.replace("_", " ")
    for altered in (sealed.lower(), sealed[:-1], spaced, sealed[:-1] + "0O"[sealed[-1] == "0"]):
        assert vault.restore(altered, "c") == (altered, 0)


def test_a_placeholder_is_restored_wherever_it_stands(vault: Vault) -> None:
    sealed = vault.seal("pii.email", "bob@example.org", "c")
    assert vault.restore(f"x{sealed}y {sealed}", "c") == ("xbob@example.orgy bob@example.org", 2)
    assert vault.restore(f"PLACEHOLDER_{sealed}", "c") == ("PLACEHOLDER_bob@example.org", 1)


def test_values_are_in_no_repr_and_no_pickle(vault: Vault) -> None:
    vault.seal("secret.jwt", "the-value", "c")
    assert "the-value" not in repr(vault) + str(vault.restorer("c"))
    with pytest.raises(TypeError):
        pickle.dumps(vault)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Vault(b"short")


def test_the_map_is_bounded_in_entries(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placeholders, "ENTRIES_PER_CALLER_MAX", 3)
    sealed = [vault.seal("pii.email", f"{n}@example.org", "c") for n in range(5)]
    assert [vault.restore(one, "c")[1] for one in sealed] == [0, 0, 1, 1, 1]


def test_the_map_is_bounded_in_bytes_and_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placeholders, "BYTES_PER_CALLER_MAX", 1000)
    monkeypatch.setattr(placeholders, "CALLERS_MAX", 2)
    vault = Vault(KEY)
    first = vault.seal("secret.jwt", "a" * 200, "c")
    vault.seal("secret.jwt", "b" * 200, "c")
    assert vault.restore(first, "c")[1] == 0
    for caller in ("d", "e"):
        vault.seal("secret.jwt", "v", caller)
    assert not vault.holds("c")


def test_values_age(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    vault = Vault(KEY, clock=lambda: now[0])
    sealed = vault.seal("pii.email", "bob@example.org", "c")
    now[0] = placeholders.AGE_SECONDS_MAX - 1
    assert vault.restore(sealed, "c")[1] == 1  # and its use makes it young again
    now[0] += placeholders.AGE_SECONDS_MAX + 1
    assert vault.restore(sealed, "c") == (sealed, 0)


def streamed(vault: Vault, text: str, cuts: list[int]) -> str:
    """What leaves when ``text`` comes in pieces; checks that nothing leaves too early."""
    scanner = vault.restorer("c", nested=False)
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    out, done, replacements = "", 0, []
    for low, high in pairwise(edges):
        step = scanner.feed(text[low:high])
        assert step.settled <= high
        replacements += step.replacements
    replacements += scanner.finish().replacements
    for replacement in replacements:
        out += text[done : replacement.start] + replacement.text
        done = replacement.end
    return out + text[done:]


@given(st.lists(st.text(max_size=12), max_size=8), st.lists(st.integers(0, 999), max_size=8))
def test_redact_then_restore_is_the_identity_for_any_text_and_split(
    pieces: list[str], cuts: list[int]
) -> None:
    """Every second piece is sealed; what comes back over any split is the original."""
    vault = Vault(KEY)
    sealed = "".join(
        vault.seal("pii.email", piece, "c") if n % 2 and piece else piece
        for n, piece in enumerate(pieces)
    )
    assert vault.restore(sealed, "c")[0] == "".join(pieces)
    assert streamed(vault, sealed, cuts) == "".join(pieces)


def test_the_restorer_holds_nothing_when_nothing_can_become_a_placeholder(vault: Vault) -> None:
    vault.seal("pii.email", "bob@example.org", "c")
    scanner = vault.restorer("c")
    assert scanner.feed("Please note: ").settled == 13
    assert scanner.feed("PLAC").settled == 13
    assert scanner.feed("ES to go").settled == 25


ALTERATIONS = st.one_of(
    st.tuples(st.just("delete"), st.integers(0, 40), st.just("")),
    st.tuples(st.just("insert"), st.integers(0, 40), st.sampled_from(" _-A0z\u200b\n")),
    st.tuples(st.just("replace"), st.integers(0, 40), st.sampled_from(" A0Zz_é")),
    st.tuples(st.just("case"), st.integers(0, 40), st.just("")),
    st.tuples(st.just("cut"), st.integers(0, 40), st.just("")),
)


@given(st.lists(ALTERATIONS, min_size=1, max_size=3), st.integers(0, 19))
def test_an_altered_placeholder_never_becomes_a_value(
    changes: list[tuple[str, int, str]], which: int
) -> None:
    """Neither its own nor one of the many others: exact, or nothing."""
    vault = Vault(KEY)
    sealed = [vault.seal("pii.email", f"user{n}@value.example", "c") for n in range(20)]
    text = sealed[which]
    for kind, place, char in changes:
        at = place % max(1, len(text))
        text = {
            "delete": text[:at] + text[at + 1 :],
            "insert": text[:at] + char + text[at:],
            "replace": text[:at] + char + text[at + 1 :],
            "case": text[:at] + text[at:].swapcase(),
            "cut": text[:at],
        }[kind]
    restored, count = vault.restore(text, "c")
    if sealed[which] in text:
        assert restored == text.replace(sealed[which], f"user{which}@value.example")
    else:
        assert (restored, count) == (text, 0)
    assert streamed(vault, text, list(range(len(text)))) == restored
