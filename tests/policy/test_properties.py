"""Whatever the text, its encoding and its split: what must not leave does not, what was put
away comes back, and what is JSON stays JSON.
"""

from __future__ import annotations

import base64
import gzip
import json
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from penstock.exchange import Caller, Exchange, HttpRequest
from penstock.policy.answer import answer_scanner
from penstock.policy.decide import decide
from penstock.policy.decision import Decision
from penstock.policy.language.load import load
from penstock.policy.offline.dry_state import DryState
from penstock.policy.offline.recorded import call_of
from penstock.policy.policy import Policy
from penstock.wire import family_of
from penstock.wire.edits import apply
from penstock.wire.stream import AnswerStream

QUICK = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# Made up, of published formats; the letters are drawn below.
ALPHANUMERIC = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghjkmnpqrstuvwxyz23456789"
# Eight characters of a value in one piece are a leak, as in tests/leaks.
LEAK_CHARACTERS = 8


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    file: Path = tmp_path_factory.mktemp("properties") / "policy.yaml"
    file.write_text(
        "version: 1\nrules:\n"
        "  - {id: r, redact: {find: [secret.gitlab_token, pii.email], with: placeholder}}\n"
    )
    return load([file])


@st.composite
def tokens(draw: st.DrawFn) -> str:
    body = draw(st.text(ALPHANUMERIC, min_size=20, max_size=20))
    assume(len(set(body)) > 12)
    return f"glpat-{body}"


@st.composite
def addresses(draw: st.DrawFn) -> str:
    name = draw(st.from_regex(r"[a-z]{4,9}\.[a-z]{4,9}", fullmatch=True))
    return f"{name}@{draw(st.sampled_from(['acme-widgets.com', 'analytical-engine.org']))}"


values = st.one_of(tokens(), addresses())
# What stands between values: letters no token is made of, so that none can seem to be left.
around = st.text(" \n\t\"'{}[]<>,;:!?|\\/éßñД日本語🙂\u200d\u0301loOiI01", max_size=30).map(
    lambda text: f" {text} "
)


def sent(policy: Policy, state: DryState, document: Any) -> tuple[bytes, Decision]:
    body = json.dumps(document).encode()
    head = {"content-type": "application/json"}
    request = HttpRequest(
        "POST", "https", "api.openai.com", 443, "/v1/chat/completions", head, body
    )
    decision = decide(policy, call_of(request, Caller(), "c0ffee"), state, 0)
    return apply(body, decision.edits), decision


def user(text: str) -> Any:
    return {"model": "m", "messages": [{"role": "user", "content": text}]}


def leaked(value: str, text: str) -> str | None:
    pieces = (value[at : at + LEAK_CHARACTERS] for at in range(len(value) - LEAK_CHARACTERS + 1))
    return next((piece for piece in pieces if piece.lower() in text.lower()), None)


def streamed(policy: Policy, state: DryState, text: str, cuts: list[int]) -> str:
    """What a client reads when the provider says ``text`` in pieces."""
    exchange = Exchange("openai.chat_completions", stream=True)
    call = call_of(
        HttpRequest("POST", "https", "api.openai.com", 443, "/v1/chat/completions", {}, b"{}"),
        Caller(), "c0ffee",
    )  # fmt: skip
    scanner_for = answer_scanner(policy, call, state, 0, Decision())
    stream = AnswerStream(exchange, family_of(exchange.api), "sse", scanner_for)
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    out = []
    for low, high in pairwise(edges):
        chunk = {"choices": [{"index": 0, "delta": {"content": text[low:high]}}]}
        out += stream.feed(f"data: {json.dumps(chunk)}\n\n".encode())
    out += stream.feed(b"data: [DONE]\n\n") + stream.end()
    events = [line[6:] for line in b"".join(out).splitlines() if line.startswith(b"data: {")]
    return "".join(json.loads(event)["choices"][0]["delta"]["content"] for event in events)


@QUICK
@given(st.lists(st.tuples(around, values), min_size=1, max_size=4), st.lists(st.integers(0, 999)))
def test_what_was_put_away_comes_back_for_any_text_and_split(
    policy: Policy, parts: list[tuple[str, str]], cuts: list[int]
) -> None:
    state, text = DryState(policy), "".join(words + value for words, value in parts)
    body, decision = sent(policy, state, user(text))
    said = json.loads(body)["messages"][0]["content"]
    assert len(decision.edits) >= 1
    for _, value in parts:
        assert leaked(value, said) is None
    assert streamed(policy, state, said, cuts) == text


ENCODINGS = {
    "as it is": lambda value: value,
    "base64": lambda value: base64.b64encode(f"token {value}".encode()).decode(),
    "base64url": lambda value: base64.urlsafe_b64encode(f"is {value}".encode()).decode().strip("="),
    "base64 twice": lambda value: base64.b64encode(
        base64.b64encode(f"token {value}".encode())
    ).decode(),
    "base64 of gzip": lambda value: base64.b64encode(gzip.compress(value.encode())).decode(),
    "hexadecimal": lambda value: f"token {value}".encode().hex(),
    "percent": lambda value: "".join(f"%{byte:02x}" for byte in value.encode()),
    "some percent": lambda value: quote(value, safe="").replace("a", "%61").replace("g", "%67"),
    "JSON escapes": lambda value: "".join(f"\\u{ord(char):04x}" for char in value),
    "zero-width": lambda value: "\u200b".join(value),
    "full-width": lambda value: "".join(
        chr(ord(char) + 0xFEE0) if char.isalnum() else char for char in value
    ),
    "tags": lambda value: "".join(chr(0xE0000 + ord(char)) for char in value),
}  # fmt: skip


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(parent=QUICK, max_examples=20)
@given(value=tokens(), before=around, after=around)
def test_no_encoding_we_decode_carries_a_value_out(
    policy: Policy, encoding: str, value: str, before: str, after: str
) -> None:
    coded = ENCODINGS[encoding](value)
    body, _ = sent(policy, DryState(policy), user(f"{before}{coded}{after}"))
    said = json.loads(body)["messages"][0]["content"]
    # The run as a whole is gone, and so is every longer part of it.
    middle = coded[len(coded) // 4 : 3 * len(coded) // 4]
    assert middle not in said and leaked(value, said) is None
    assert before.strip() in said and after.strip() in said


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | around | values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(around, inner, max_size=3),
    max_leaves=8,
)


@QUICK
@given(extra=json_values, arguments=json_values, value=values)
def test_json_stays_json_and_nothing_else_moves(
    policy: Policy, extra: Any, arguments: Any, value: str
) -> None:
    function = {"name": "f", "arguments": json.dumps({"to": value, "x": arguments})}
    call = {"id": "c", "type": "function", "function": function}
    document = {
        "model": "m", "metadata": extra,
        "messages": [{"role": "assistant", "content": None, "tool_calls": [call]}],
    }  # fmt: skip
    state = DryState(policy)
    body, _ = sent(policy, state, document)
    changed = json.loads(body)
    inner = json.loads(changed["messages"][0]["tool_calls"][0]["function"]["arguments"])
    assert leaked(value, json.dumps(inner["to"])) is None
    assert shape(changed) == shape(document)
    assert restored(state, changed) == document
    assert shape(inner["x"]) == shape(arguments)


def shape(value: Any) -> Any:
    """A document without its texts."""
    if isinstance(value, dict):
        return sorted((shape(child) for child in value.values()), key=repr)
    if isinstance(value, list):
        return [shape(child) for child in value]
    return "" if isinstance(value, str) else value


def restored(state: DryState, value: Any) -> Any:
    """A document with every original put back, inside JSON strings too."""
    if isinstance(value, dict):
        return {restored(state, key): restored(state, child) for key, child in value.items()}
    if isinstance(value, list):
        return [restored(state, child) for child in value]
    return state._vault.restore(value, "dry")[0] if isinstance(value, str) else value


@QUICK
@given(text=st.text(max_size=60), nested=st.booleans())
def test_a_marked_text_is_the_text_in_valid_json(tmp_path: Path, text: str, nested: bool) -> None:
    """Any characters, also a JSON document inside the string."""
    file = tmp_path / "marks.yaml"
    file.write_text("version: 1\nrules: [{id: m, redact: {in: [tool_result], with: mark}}]")
    said = json.dumps({"said": f"{text} it is"}) if nested else f"{text} it is"
    document = {"model": "m", "messages": [{"role": "tool", "tool_call_id": "c", "content": said}]}
    policy = load([file])
    body, decision = sent(policy, DryState(policy), document)
    content = json.loads(body)["messages"][0]["content"]
    assert len(decision.edits) == 2
    head, _, rest = content.partition("]\n")
    inner, _, tail = rest.rpartition("\n[")
    assert inner == said and head.split()[2].strip(".") in tail
