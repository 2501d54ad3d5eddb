"""Request bodies nobody should send: broken, ambiguous, deep, huge, compressed, chunked."""

from __future__ import annotations

import gzip
import json
import zlib

import brotli
import pytest
import zstandard

from tests.faults.world import (
    CHAT,
    EMAIL,
    OPENAI,
    World,
    ask,
    body_of,
    chat,
    chunk,
)

MIB = 1024 * 1024

BROKEN = {
    "truncated": chat()[:-7],
    "no json": b"hello, this is text",
    "duplicate key": b'{"model":"gpt-5","model":"o4","messages":[]}',
    "duplicate key by escape": b'{"model":"gpt-5","mod\\u0065l":"o4","messages":[]}',
    "two documents": chat() + chat(),
    "not utf-8": b'{"model":"gpt-5","messages":[{"role":"user","content":"\xff\xfe"}]}',
    "byte order mark": b"\xef\xbb\xbf" + chat(),
    "utf-16": chat().decode().encode("utf-16"),
    "NaN": b'{"model":"gpt-5","temperature":NaN,"messages":[]}',
    "10,000 levels": b'{"model":"gpt-5","messages":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "a million levels": b"[" * 1_000_000,
    "a long number": b'{"model":"gpt-5","n":' + b"9" * 100_000 + b"}",
    "a list": b"[1,2,3]",
    "a string": b'"hello"',
    "null": b"null",
    "raw control": b'{"model":"gpt-5","messages":[{"role":"user","content":"a\x00b\nc"}]}',
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_body_is_refused_or_arrives_as_it_was(here: World, name: str) -> None:
    """Whatever it is: one answer, one record, and nothing half-changed on the wire."""
    before = here.recorded
    with here.tunnel() as client:
        ask(client, BROKEN[name])
        answer = client.answer()
        assert answer.complete and answer.status in (200, 403), answer.raw
        if answer.status == 200:
            assert body_of(here.upstream.requests[-1]) == BROKEN[name]
        else:
            assert not here.upstream.requests
            assert json.loads(answer.body)["error"]["code"] == "policy_denied"
        ask(client, chat())
        assert client.answer().status == 200, "the connection is usable after it"
    assert len(here.proxy.records(before + 2)) == before + 2


AMBIGUOUS = ["truncated", "duplicate key", "duplicate key by escape", "two documents", "not utf-8"]


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_two_parsers_read_differently_is_refused(here: World, name: str) -> None:
    with here.tunnel() as client:
        ask(client, BROKEN[name])
        assert client.answer().status == 403


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_an_observer_lets_it_pass_and_says_what_it_would_do(watched: World, name: str) -> None:
    before = watched.recorded
    with watched.tunnel() as client:
        ask(client, BROKEN[name])
        assert client.answer().status == 200
    assert body_of(watched.upstream.requests[-1]) == BROKEN[name]
    (record,) = watched.after(before)
    assert (record["verdict"], record["would"]) == ("allow", "deny")


def test_a_secret_in_ten_megabytes_is_found(here: World) -> None:
    filler = "The quick brown fox jumps over the lazy dog. " * 220_000
    with here.tunnel() as client:
        ask(client, chat(f"{filler}{EMAIL}"))
        assert client.answer().status == 200
    sent = body_of(here.upstream.requests[-1])
    assert len(sent) > 9 * MIB and EMAIL.encode() not in sent and b"PLACEHOLDER_EMAIL_" in sent


def test_a_body_over_32_mib_is_refused_recorded_and_says_413(here: World) -> None:
    before = here.recorded
    with here.tunnel() as client:
        ask(client, b'"' + b"x" * (32 * MIB - 1) + b'"')
        assert client.answer().status == 413
    assert not here.upstream.requests
    (record,) = here.after(before)
    assert (record["outcome"], record["status"]) == ("refused", 413)


def test_a_chunked_body_over_32_mib_is_refused_and_recorded(here: World) -> None:
    before = here.recorded
    with here.tunnel() as client:
        client.send(
            b"POST %s HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
            % (CHAT.encode(), OPENAI.encode())
        )
        for _ in range(33):
            client.send(chunk(b"x" * MIB))
        assert client.answer().status == 413
    (record,) = here.after(before)
    assert (record["outcome"], record["status"]) == ("refused", 413)
    assert record["destination"]["host"] == OPENAI


# ---------------------------------------------------------------------- codings


def zstd(data: bytes) -> bytes:
    packed: bytes = zstandard.compress(data)
    return packed


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


CODINGS = {
    b"gzip": gzip.compress,
    b"x-gzip": gzip.compress,
    b"GZIP": gzip.compress,
    b"deflate": zlib.compress,
    b"Deflate": raw_deflate,
    b"br": brotli.compress,
    b"zstd": zstd,
    b"identity": bytes,
}


@pytest.mark.parametrize("coding", CODINGS)
def test_a_compressed_body_is_inspected_and_leaves_plain_when_changed(
    here: World, coding: bytes
) -> None:
    body = CODINGS[coding](chat(f"write to {EMAIL}"))
    with here.tunnel() as client:
        ask(client, body, b"Content-Encoding: %s\r\n" % coding)
        assert client.answer().status == 200
    request = here.upstream.requests[-1]
    assert b"content-encoding" not in request.lower()
    sent = json.loads(body_of(request))
    assert sent["messages"][0]["content"].startswith("write to PLACEHOLDER_EMAIL_")


@pytest.mark.parametrize("coding", CODINGS)
def test_a_compressed_body_with_nothing_in_it_leaves_as_it_came(here: World, coding: bytes) -> None:
    body = CODINGS[coding](chat())
    with here.tunnel() as client:
        ask(client, body, b"Content-Encoding: %s\r\n" % coding)
        assert client.answer().status == 200
    assert body_of(here.upstream.requests[-1]) == body
    assert b"Content-Encoding: %s\r\n" % coding in here.upstream.requests[-1]


def test_several_codings_are_undone_in_order(here: World) -> None:
    body = brotli.compress(gzip.compress(chat(f"write to {EMAIL}")))
    for header in (b"Content-Encoding: gzip, br\r\n", b"Content-Encoding: gzip\r\n" * 1):
        given = body if b"br" in header else gzip.compress(chat(f"write to {EMAIL}"))
        with here.tunnel() as client:
            ask(client, given, header)
            assert client.answer().status == 200
        assert b"PLACEHOLDER_EMAIL_" in body_of(here.upstream.requests[-1])


def test_codings_over_two_header_lines_are_undone(here: World) -> None:
    body = brotli.compress(gzip.compress(chat(f"write to {EMAIL}")))
    with here.tunnel() as client:
        ask(client, body, b"Content-Encoding: gzip\r\nContent-Encoding: br\r\n")
        assert client.answer().status == 200
    request = here.upstream.requests[-1]
    assert b"content-encoding" not in request.lower()
    assert b"PLACEHOLDER_EMAIL_" in body_of(request)


UNREADABLE = {
    "unknown coding": (b"lzma", chat()),
    "wrong coding": (b"gzip", chat()),
    "gzip cut short": (b"gzip", gzip.compress(chat("x" * 5000))[:-9]),
    "brotli cut short": (b"br", brotli.compress(chat("xyz" * 5000))[:-3]),
    "zstd cut short": (b"zstd", zstd(chat("xyz" * 5000))[:-3]),
    "bytes after gzip": (b"gzip", gzip.compress(chat()) + b"hidden"),
    "a gzip bomb": (b"gzip", gzip.compress(b"0" * 200 * MIB)),
    "a brotli bomb": (b"br", brotli.compress(b"0" * 200 * MIB, quality=5)),
    "a zstd bomb": (b"zstd", zstd(b"0" * 200 * MIB)),
    "a bomb in a bomb": (b"gzip, gzip", gzip.compress(gzip.compress(b"0" * 200 * MIB))),
    "twenty codings": (b", ".join([b"gzip"] * 20), chat()),
    "an empty element": (b"gzip,,br", chat()),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_body_nobody_can_read_is_refused(here: World, name: str) -> None:
    coding, body = UNREADABLE[name]
    before = here.recorded
    with here.tunnel() as client:
        ask(client, body, b"Content-Encoding: %s\r\n" % coding)
        answer = client.answer()
        assert answer.status == 403, answer.raw
        ask(client, chat())
        assert client.answer().status == 200
    assert len(here.upstream.requests) == 1
    assert here.after(before)[0]["outcome"] == "refused"


def test_members_of_one_gzip_body_are_all_read(here: World) -> None:
    """RFC 1952 section 2.2: a gzip file is a series of members."""
    whole = chat(f"write to {EMAIL}")
    body = gzip.compress(whole[:20]) + gzip.compress(whole[20:])
    with here.tunnel() as client:
        ask(client, body, b"Content-Encoding: gzip\r\n")
        answer = client.answer()
    if answer.status == 200:
        assert EMAIL.encode() not in body_of(here.upstream.requests[-1])
    else:
        assert answer.status == 403 and not here.upstream.requests


# ---------------------------------------------------------------------- framing


def test_a_chunked_body_is_edited_and_stays_well_framed(here: World) -> None:
    body = chat(f"write to {EMAIL} please")
    with here.tunnel() as client:
        client.send(
            b"POST %s HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
            % (CHAT.encode(), OPENAI.encode())
        )
        for at in range(0, len(body), 11):
            client.send(chunk(body[at : at + 11]))
        client.send(b"0\r\n\r\n")
        assert client.answer().status == 200
        ask(client, chat("again"))
        assert client.answer().status == 200
    first, second = here.upstream.requests
    assert json.loads(body_of(first))["messages"][0]["content"].endswith(" please")
    assert EMAIL.encode() not in first and body_of(second) == chat("again")


def test_permission_to_continue_is_given_by_us_and_the_body_edited(here: World) -> None:
    body = chat(f"write to {EMAIL}")
    with here.tunnel() as client:
        client.send(
            b"POST %s HTTP/1.1\r\nHost: %s\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
            % (CHAT.encode(), OPENAI.encode(), len(body))
        )
        assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        client.send(body)
        assert client.answer().status == 200
    request = here.upstream.requests[-1]
    assert b"PLACEHOLDER_EMAIL_" in request and b"expect:" not in request.lower()


@pytest.mark.parametrize("method", ["OPTIONS", "DELETE", "GET", "PATCH", "PURGE"])
def test_other_methods_pass(here: World, method: str) -> None:
    with here.tunnel() as client:
        client.send(f"{method} /v1/files/file-1 HTTP/1.1\r\nHost: {OPENAI}\r\n\r\n".encode())
        assert client.answer().status == 200
        ask(client, chat())
        assert client.answer().status == 200
    assert here.upstream.requests[0].startswith(f"{method} /v1/files/file-1".encode())


def test_a_body_under_an_unusual_method_is_inspected(here: World) -> None:
    body = chat(f"write to {EMAIL}")
    for method in (b"GET", b"DELETE", b"OPTIONS"):
        with here.tunnel() as client:
            client.send(
                b"%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s"
                % (method, CHAT.encode(), OPENAI.encode(), len(body), body)
            )
            client.answer()
        assert all(EMAIL.encode() not in sent for sent in here.upstream.requests)
