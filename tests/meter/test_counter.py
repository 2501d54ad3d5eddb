"""Exact counts: tiktoken with vocabularies out of the package, verified, bounded, remembered."""

from __future__ import annotations

import base64
import json
import lzma
import os
import shutil
import socket
import subprocess
import sys
import time
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any

import pytest
import tiktoken
import tiktoken.model

from penstock import wire
from penstock.destinations import identify
from penstock.exchange import Exchange, HttpRequest
from penstock.meter import counter as counting
from penstock.meter import vocabulary
from penstock.meter.counter import TokenCounter
from penstock.meter.estimator import Count, Estimator
from penstock.meter.media import Media
from penstock.meter.vocabulary import FOLDER, SHA256, VocabularyError, load, vocabulary_of

KEY = b"k" * 32
URL = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"


@pytest.fixture(scope="module")
def counter() -> TokenCounter:
    return TokenCounter(KEY)


def chat(text: str, model: str = "gpt-5-mini", **more: Any) -> Exchange:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return read("/v1/chat/completions", body)


def read(path: str, body: dict[str, Any]) -> Exchange:
    host, headers = "api.openai.com", {"content-type": "application/json"}
    content = json.dumps(body).encode()
    request = HttpRequest("POST", "https", host, 443, path, headers, content)
    return wire.read_request(request, identify(host, 443, path))


# --------------------------------------------------------------------------- vocabularies


@pytest.mark.parametrize("name", sorted(SHA256))
def test_what_is_packaged_is_what_tiktoken_would_fetch(name: str, tmp_path: Path) -> None:
    """Unpacked to its file, tiktoken takes it from its cache and encodes as we do."""
    tokens = vocabulary.unpack(name, (FOLDER / f"{name}.xz").read_bytes())
    lines = (b"%b %d\n" % (base64.b64encode(token), rank) for rank, token in enumerate(tokens))
    content = b"".join(lines)
    assert sha256(content).hexdigest() == SHA256[name]
    (tmp_path / sha1(URL.format(name).encode()).hexdigest()).write_bytes(content)
    text = "Der Fluß, naïve 中文 🙂 x = [1, 2]\\n\\t3.14 <|endoftext|> don't    \n"
    script = (
        f"import tiktoken, json; e = tiktoken.get_encoding({name!r}); "
        f"print(json.dumps([e._pat_str, e.encode_ordinary({text!r})]))"
    )
    environment = {**os.environ, "TIKTOKEN_CACHE_DIR": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, check=True, timeout=60
    )
    pattern, encoded = json.loads(said.stdout)
    ours = load(name)
    assert ours._pat_str == pattern and ours.encode_ordinary(text) == encoded


def test_known_values() -> None:
    assert load("cl100k_base").encode_ordinary("hello world") == [15339, 1917]
    assert load("o200k_base").encode_ordinary("hello world") == [24912, 2375]


@pytest.mark.parametrize("fault", ["missing", "cut", "no xz", "another", "one bit", "a bomb"])
def test_a_damaged_vocabulary_never_reaches_tiktoken(
    tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error, no file deleted, and no thought of fetching another."""

    def unreachable(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    file = tmp_path / "cl100k_base.xz"
    content = (FOLDER / "cl100k_base.xz").read_bytes()
    if fault == "cut":
        file.write_bytes(content[:-1000])
    elif fault == "no xz":
        file.write_bytes(b"cl100k_base" * 1000)
    elif fault == "another":
        shutil.copy(FOLDER / "o200k_base.xz", file)
    elif fault == "one bit":
        unpacked = bytearray(lzma.decompress(content))
        unpacked[-1] ^= 1
        file.write_bytes(lzma.compress(bytes(unpacked)))
    elif fault == "a bomb":
        file.write_bytes(lzma.compress(b"\0" * 100_000_000, preset=0))
    with pytest.raises(VocabularyError, match="cl100k_base"):
        load("cl100k_base", tmp_path)
    assert file.exists() == (fault != "missing")


def test_a_tiktoken_that_asks_for_another_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its word for the digest has to be ours."""
    monkeypatch.setitem(vocabulary.SHA256, "cl100k_base", "0" * 64)
    monkeypatch.setattr(vocabulary, "unpack", lambda name, packed: [b"a"])
    with pytest.raises(VocabularyError, match="another vocabulary"):
        load("cl100k_base")


def test_models_have_the_vocabulary_tiktoken_says() -> None:
    """All it knows of these two; and none for models of others."""
    harmony = {"o200k_harmony": "o200k_base"}  # the same tokens
    known = tiktoken.model.MODEL_TO_ENCODING | tiktoken.model.MODEL_PREFIX_TO_ENCODING
    for model, name in known.items():
        wanted = harmony.get(name, name)
        assert vocabulary_of(model) == (wanted if wanted in SHA256 else None), model
    for model in ("claude-sonnet-4-5", "gemini-2.5-pro", "llama-3.3-70b", "", "chat-prod"):
        assert vocabulary_of(model) is None
    assert vocabulary_of("ft:gpt-4o-mini-2024-07-18:acme::x") == "o200k_base"
    assert vocabulary_of("openai/gpt-4o") == "o200k_base"


# --------------------------------------------------------------------------- counting


def test_a_chat_is_counted_as_openai_does(counter: TokenCounter) -> None:
    """Three tokens around each message, three for the answer, the texts by tiktoken."""
    texts = ["You are brief.", "tiktoken is great!", "Is it? <|endoftext|>"]
    roles = ["system", "user", "assistant"]
    messages = [{"role": role, "content": t} for role, t in zip(roles, texts, strict=True)]
    exchange = read("/v1/chat/completions", {"model": "gpt-4o", "messages": messages})
    encoding = load("o200k_base")
    inside = sum(len(encoding.encode_ordinary(text)) for text in texts)
    assert counter.count(exchange, worker=True) == Count(inside + 3 * 3 + 3)


def test_tools_and_their_calls_are_counted(counter: TokenCounter) -> None:
    """Definitions as JSON; arguments as they were sent."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tool = {"name": "weather", "description": "Tells the weather.", "parameters": schema}
    call = {"id": "x", "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}  # fmt: skip
    with_tools = chat("hi", tools=[{"type": "function", "function": tool}])
    plain = counter.count(chat("hi"), worker=True)
    more = counter.count(with_tools, worker=True)
    encoding = load("o200k_base")
    written = ["weather", "Tells the weather.", json.dumps(schema, separators=(",", ":"))]
    cost = sum(len(encoding.encode_ordinary(text)) for text in written)
    assert plain and more and more.tokens - plain.tokens == cost
    messages = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    body = {"model": "gpt-5", "messages": messages}
    called = counter.count(read("/v1/chat/completions", body), worker=True)
    assert called and 12 < called.tokens < 20


def test_embeddings_have_no_frame(counter: TokenCounter) -> None:
    """Only the texts count. Token ids are no text: the estimate stays the learned one."""
    body = {"model": "text-embedding-3-small", "input": ["hello world", "hello world"]}
    assert counter.count(read("/v1/embeddings", body), worker=True) == Count(4)
    body = {"model": "text-embedding-3-small", "input": [[1, 2, 3]]}
    assert counter.count(read("/v1/embeddings", body), worker=True) is None


def test_what_cannot_be_exact_is_not_counted(counter: TokenCounter) -> None:
    """Another provider's model; a conversation that is stored at the provider."""
    assert counter.count(chat("hi", model="claude-sonnet-4-5"), worker=True) is None
    stored = read(
        "/v1/responses", {"model": "gpt-5", "input": "hi", "previous_response_id": "resp_1"}
    )
    assert counter.count(stored, worker=True) is None
    assert not counter.goes_aside(stored)


def test_the_loop_neither_loads_nor_counts_much() -> None:
    """What would hold it goes to a worker; what was counted there is known afterwards."""
    fresh = TokenCounter(KEY)
    exchange = chat("word " * 2000)
    assert fresh.goes_aside(exchange) and fresh.count(exchange, worker=False) is None
    counted = fresh.count(exchange, worker=True)
    assert counted and counted.missed_bytes == 0
    assert not fresh.goes_aside(exchange)
    assert fresh.count(exchange, worker=False) == counted
    assert not fresh.goes_aside(chat("a new short text"))
    longer = chat("another " * 2000)
    assert fresh.goes_aside(longer)
    assert fresh.count(longer, worker=False) == Count(6, 16_000)


def test_turns_cost_what_is_new(counter: TokenCounter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only new pieces are given to tiktoken."""
    encoding = load("o200k_base")
    given: list[str] = []

    class Watched:
        name = "o200k_base"

        def encode_ordinary(self, text: str) -> list[int]:
            given.append(text)
            return encoding.encode_ordinary(text)

    monkeypatch.setitem(counter._encodings, "o200k_base", Watched())  # type: ignore[arg-type]
    messages = [{"role": "user", "content": f"turn {number} " * 50} for number in range(30)]
    for turn in range(1, 31):
        body = {"model": "gpt-5", "messages": messages[:turn]}
        counter.count(read("/v1/chat/completions", body), worker=True)
    assert len(given) == 30


def test_no_text_is_kept(counter: TokenCounter) -> None:
    """Keyed hashes and numbers; another key gives other hashes."""
    counter.count(chat("the canary sings at noon"), worker=True)
    kept = list(counter._counts.items())
    assert all(isinstance(key, bytes) and len(key) == 16 for key, _ in kept)
    assert "canary" not in repr(counter) + repr(kept)
    other = TokenCounter(b"o" * 32)
    other.count(chat("the canary sings at noon"), worker=True)
    assert not set(other._counts) & set(counter._counts)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "COUNTS_MAX", 100)
    small = TokenCounter(KEY)
    for number in range(300):
        small.count(chat(f"text {number}"), worker=True)
    assert len(small._counts) == 100


@pytest.mark.parametrize(
    "text",
    ["a", "A", " ", "\n", "^", "\u0301", "中", "🙂", "1", "aB", " x", "\ud800", "<|endoftext|>"],
)
def test_hostile_texts_take_a_bounded_time(counter: TokenCounter, text: str) -> None:
    """The longest text that is counted, of whatever tokenisers find hardest."""
    many = counting.WORKER_BYTES_MAX // len(text.encode("utf-8", "surrogatepass"))
    exchange = chat("")
    exchange.messages[0].parts[0].text = text * many
    began = time.process_time()
    counted = counter.count(exchange, worker=True)
    assert counted and counted.missed_bytes == 0 and counted.tokens > 100
    assert time.process_time() - began < 3.0  # 0.2 s on an idle core


def test_more_than_the_bound_is_estimated_and_counted_by_and_by(counter: TokenCounter) -> None:
    """A long conversation's first time: what fits is counted, the rest next turn."""
    piece = counting.WORKER_BYTES_MAX // 2 - 10
    messages = [{"role": "user", "content": f"{number}" + "b c " * (piece // 4)}
                for number in range(5)]  # fmt: skip
    exchange = read("/v1/chat/completions", {"model": "gpt-5", "messages": messages})
    missed = []
    for _ in range(3):
        counted = counter.count(exchange, worker=True)
        assert counted is not None
        missed.append(counted.missed_bytes)
    assert missed[0] > missed[1] > missed[2] == 0
    alone = counter.count(chat("d e " * counting.WORKER_BYTES_MAX), worker=True)
    assert alone and alone.missed_bytes == 4 * counting.WORKER_BYTES_MAX  # never in one piece


def test_a_broken_package_is_said_and_survived(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Estimates are learned then; nobody tries again with each call."""
    tries = []

    def broken(name: str) -> None:
        tries.append(name)
        raise VocabularyError("the vocabulary o200k_base is damaged")

    monkeypatch.setattr(counting, "load", broken)
    fresh = TokenCounter(KEY)
    for _ in range(5):
        assert fresh.count(chat("hi"), worker=True) is None
    assert len(tries) == 1 and fresh.problem and not fresh.goes_aside(chat("hi"))
    assert "learned instead" in caplog.text


def test_counts_stand_in_place_of_bytes() -> None:
    """With media beside them, and the learned ratio for what was not counted."""
    estimator = Estimator()
    counted = estimator.estimate("a", "m", 10_000, None, count=Count(700))
    assert counted.input_tokens == 700
    partly = estimator.estimate("a", "m", 10_000, None, Media(1000, 5000), Count(700, 400))
    assert partly.input_tokens == 1800


def test_nothing_is_loaded_where_nobody_asks() -> None:
    """The proxy's modules bring neither tiktoken nor a vocabulary."""
    script = (
        "import sys, penstock.stack, penstock.policy.language.load, penstock.proxy.service; "
        "sys.exit('tiktoken' in sys.modules or 'penstock.meter.vocabulary' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
    assert done.returncode == 0
