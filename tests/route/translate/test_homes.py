"""Anthropic's messages between its own API, Vertex AI and Bedrock, with the SDKs of all three."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.route.homes import at_home, home_of_call, home_of_target, path_at
from penstock.route.translate.homes import HomeTranslation
from penstock.wire.json_spans import remove_member
from tests.harness import Penstock, https_server, running_penstock
from tests.route.translate.upstream import BEDROCK, HOSTS, INPUT, OUTPUT, VERTEX, Upstream

ACCESS, SECRET = "AKIAIOSFODNN7REALKEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYREALKEY"
POLICY = """
version: 1
rules:
  - id: to-vertex
    route:
      models: [claude-v*]
      to: [{{url: "https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/us-east5"}}]
  - id: to-bedrock
    route:
      models: [claude-b*, claude-s*]
      to: [{{url: "https://bedrock-runtime.us-east-1.amazonaws.com",
             models: {{claude-b: "anthropic.claude-b-v1:0"}}}}]
  - id: chat-to-bedrock
    route:
      models: [claude-b*]
      providers: [openai]
      to: [{{url: "https://bedrock-runtime.us-east-1.amazonaws.com", format: anthropic,
             translate: yes, max_tokens: 99, models: {{claude-b: "anthropic.claude-b-v1:0"}}}}]
  - id: to-anthropic
    route:
      models: [claude-a*]
      to: [{{url: "https://api.anthropic.com"}}]
  - id: keys
    credential: {{hosts: [{hosts}], from: {{file: {key}}}}}
    when: '!call.model.startsWith("claude-s")'
  - id: signed
    credential: {{hosts: [{bedrock}], from: {{file: {aws}}}, as: sigv4}}
    when: call.model.startsWith("claude-s")
  - id: no-mail-addresses-out
    redact: {{find: [pii.email], in: [request], with: placeholder}}
"""
ALL = [("own", "claude-v"), ("own", "claude-b"), ("vertex", "claude-a"), ("vertex", "claude-b"),
       ("bedrock", "claude-a"), ("bedrock", "claude-v")]  # fmt: skip
everywhere = pytest.mark.parametrize(("home", "model"), ALL)


@pytest.fixture(scope="module")
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture(scope="module")
def proxy(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    folder: Path = tmp_path_factory.mktemp("homes")
    key = folder / "key"
    key.write_text("a-real-key-0123456789")
    aws = folder / "aws.json"
    aws.write_text(json.dumps({"AccessKeyId": ACCESS, "SecretAccessKey": SECRET}))
    policy = POLICY.format(hosts=", ".join(HOSTS), key=key, bedrock=BEDROCK, aws=aws)
    with (
        https_server(folder / "provider", upstream.application, HOSTS) as served,
        running_penstock(folder / "penstock", policy, served) as started,
    ):
        yield started


@pytest.fixture
def sdks(proxy: Penstock, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A client of each home."""
    for name, value in proxy.environment.items():
        monkeypatch.setenv(name, value)
    return {
        "own": anthropic.Anthropic(api_key="caller-key", max_retries=0),
        "vertex": anthropic.AnthropicVertex(
            access_token="caller-key", region="us-east5", project_id="p", max_retries=0
        ),
        "bedrock": anthropic.AnthropicBedrock(
            aws_access_key="AKIACALLER", aws_secret_key="caller-key", aws_region="us-east-1",
            max_retries=0,
        ),
    }  # fmt: skip


def ask(text: str) -> Any:
    return [{"role": "user", "content": text}]


@everywhere
def test_plain(sdks: dict[str, Any], home: str, model: str, upstream: Upstream) -> None:
    """The body the home documents, the key of its own, the answer as it came."""
    answer = sdks[home].messages.create(
        model=model, max_tokens=9, messages=ask("hi ann@example.org"), system="Be brief."
    )
    assert answer.content[-1].text == "Echo: hi ann@example.org"
    assert answer.usage.output_tokens == OUTPUT
    host, path, headers, body = upstream.received[-1]
    assert "ann@" not in json.dumps(body) and body["system"] == "Be brief."
    assert headers.get("authorization", headers.get("x-api-key", "")).endswith("0123456789")
    assert "AKIACALLER" not in json.dumps(headers) and "caller-key" not in json.dumps(headers)
    if host == VERTEX:
        place = "/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-v:rawPredict"
        assert path == place and "model" not in body
    elif host == BEDROCK:
        assert path.replace("%3A", ":") == "/model/anthropic.claude-b-v1:0/invoke"
        assert "model" not in body
    else:
        assert path == "/v1/messages" and body["model"] == model
        assert headers["anthropic-version"] and "anthropic_version" not in body


@everywhere
def test_streamed(sdks: dict[str, Any], home: str, model: str, proxy: Penstock) -> None:
    """Frames become events and events frames; what was redacted comes back in either."""
    before = len(proxy.records())
    messages = ask("write to ann@example.org")
    with sdks[home].messages.stream(model=model, max_tokens=9, messages=messages) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text == "Echo: write to ann@example.org"
    assert message.usage.output_tokens == OUTPUT and message.stop_reason == "end_turn"
    [record] = proxy.records(before + 1)[before:]
    assert (record["usage"]["input"], record["usage"]["output"]) == (INPUT, OUTPUT)
    assert record["outcome"] == "answered" and "translated" not in record["attempts"][0]


@everywhere
def test_errors(sdks: dict[str, Any], home: str, model: str) -> None:
    """Each home's errors are the class each SDK knows, as an answer and inside a stream."""
    with pytest.raises(anthropic.RateLimitError, match="no more"):
        sdks[home].messages.create(model=model, max_tokens=9, messages=ask("error:429"))
    said = ""
    with pytest.raises(anthropic.APIError, match="it broke"):
        for event in sdks[home].messages.create(
            model=model, max_tokens=9, messages=ask("break"), stream=True
        ):
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                said += event.delta.text
    assert said == "Echo: break"


@everywhere
def test_cut_stays_cut(sdks: dict[str, Any], home: str, model: str) -> None:
    seen = []
    with pytest.raises(Exception, match=r"incomplete|peer closed|onnection"):
        for event in sdks[home].messages.create(
            model=model, max_tokens=9, messages=ask("cut"), stream=True
        ):
            seen.append(event.type)
    assert "content_block_delta" in seen and "message_stop" not in seen


@pytest.mark.parametrize("home", ["own", "bedrock"])
def test_what_goes_to_bedrock_is_signed_as_it_leaves(
    sdks: dict[str, Any], home: str, upstream: Upstream
) -> None:
    """The signature is AWS's own over the rewritten path, head and body, as botocore makes it."""
    sdks[home].messages.create(model="claude-s:0", max_tokens=9, messages=ask("to a.b@example.org"))
    _, path, headers, _ = upstream.received[-1]
    found = headers["authorization"]
    names = found.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    signed = {name: headers[name] for name in names if name != "x-amz-date"}
    request = AWSRequest("POST", f"https://{BEDROCK}{path}", signed, upstream.raw[-1])
    request.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(Credentials(ACCESS, SECRET), "bedrock", "us-east-1")
    signature = signer.signature(
        signer.string_to_sign(request, canonical(signer, request)), request
    )
    assert found.endswith(f"Signature={signature}")
    assert b"a.b@" not in upstream.raw[-1] and "AKIACALLER" not in found


def canonical(signer: SigV4Auth, request: AWSRequest) -> str:
    """What is signed, with the date that came."""
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    made: str = signer.canonical_request(request)
    return made


def test_beta_features_go_where_each_home_reads_them(
    sdks: dict[str, Any], upstream: Upstream
) -> None:
    """A header at Anthropic and Vertex, a list in the body at Bedrock; never lost."""
    headers = {"anthropic-beta": "one-2025,two-2025"}
    call: dict[str, Any] = {"max_tokens": 9, "messages": ask("x"), "extra_headers": headers}
    sdks["own"].messages.create(model="claude-b", **call)
    assert upstream.received[-1][3]["anthropic_beta"] == ["one-2025", "two-2025"]
    assert "anthropic-beta" not in upstream.received[-1][2]
    sdks["own"].messages.create(model="claude-v", **call)
    assert upstream.received[-1][2]["anthropic-beta"] == "one-2025,two-2025"
    sdks["bedrock"].messages.create(model="claude-a", **call)
    assert upstream.received[-1][2]["anthropic-beta"] == "one-2025,two-2025"
    assert "anthropic_beta" not in upstream.received[-1][3]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_another_format_at_bedrock(
    sdks: dict[str, Any], proxy: Penstock, stream: bool, upstream: Upstream
) -> None:
    """Translated, and then at home with Bedrock: one after the other, both ways."""
    client = openai.OpenAI(api_key="caller-key", max_retries=0)
    answer: Any = client.chat.completions.create(
        model="claude-b", messages=ask("hello"), stream=stream
    )
    if stream:
        text = "".join(c.choices[0].delta.content or "" for c in answer if c.choices)
    else:
        text = answer.choices[0].message.content
    assert text == "Echo: hello"
    assert upstream.received[-1][0] == BEDROCK
    with pytest.raises(openai.RateLimitError, match="no more"):
        client.chat.completions.create(model="claude-b", messages=ask("error:429"))


# --------------------------------------------------------------------------- without a network


def test_no_other_byte_moves() -> None:
    """Odd spacing, escapes and big numbers stay as the caller wrote them."""
    body = b'{ "x":1.50, "model" : "a",\t"stream":true ,"messages":[ {"c":"\\u00e9"} ], "k":1e2}'
    fields, made = at_home("bedrock", [], body, "m", True)
    rest = b' "x":1.50, "messages":[ {"c":"\\u00e9"} ], "k":1e2}'
    assert made == b'{"anthropic_version":"bedrock-2023-05-31",' + rest
    assert fields == []
    _, back = at_home("anthropic", [], made, "a", True)
    assert json.loads(back) == json.loads(body)
    assert b'"messages":[ {"c":"\\u00e9"} ], "k":1e2}' in back


@pytest.mark.parametrize(
    ("home", "named", "told"),
    [
        ("vertex", "2023-06-01", "vertex-2023-10-16"),
        ("bedrock", "2023-06-01", "bedrock-2023-05-31"),
        ("bedrock", "2026-10-21", "2026-10-21"),
        ("vertex", None, "vertex-2023-10-16"),
    ],
)
def test_the_version_keeps_its_meaning(home: Any, named: str | None, told: str) -> None:
    """The old one has a name at each home, later ones the same everywhere."""
    fields = [] if named is None else [(b"Anthropic-Version", named.encode())]
    kept, made = at_home(home, fields, b"{}", "m", False)
    assert json.loads(made)["anthropic_version"] == told and not kept
    back, _ = at_home("anthropic", [], made, "m", False)
    assert back == [(b"anthropic-version", (named or "2023-06-01").encode())]


MEMBERS = st.dictionaries(st.text(max_size=5), st.integers() | st.lists(st.booleans()), max_size=6)


@settings(max_examples=80, deadline=None)
@given(MEMBERS, st.text(max_size=5), st.sampled_from([None, 1]))
def test_a_member_is_taken_out_whole(members: dict[str, Any], key: str, indent: int | None) -> None:
    """First, last, only or not there: what is left is JSON without it."""
    body = json.dumps(members, indent=indent).encode()
    left = json.loads(remove_member(body, (key,)))
    assert left == {name: value for name, value in members.items() if name != key}


def test_a_repeated_key_is_taken_out_each_time() -> None:
    """A second ``stream`` must not survive the first."""
    assert json.loads(remove_member(b'{"a":1,"b":2,"a":3}', ("a",))) == {"b": 2}


@pytest.mark.parametrize(
    ("api", "path", "document", "home"),
    [
        ("anthropic.messages", "/v1/messages?beta=true", {}, "anthropic"),
        ("anthropic.messages", "/v1/projects/p/models/m:streamRawPredict", {}, "vertex"),
        ("bedrock.invoke", "/model/m/invoke", {"anthropic_version": "x"}, "bedrock"),
        ("bedrock.invoke", "/model/m/invoke", {"inputText": "x"}, None),
        ("bedrock.converse", "/model/m/converse", {"anthropic_version": "x"}, None),
        ("openai.chat_completions", "/v1/chat/completions", {}, None),
    ],
)
def test_home_of_a_call(api: str, path: str, document: Any, home: str | None) -> None:
    assert home_of_call(api, path, document) == home


def test_home_of_a_target_and_its_paths() -> None:
    """By provider, unless the policy says that it speaks something else."""
    assert home_of_target("vertex", None) == "vertex"
    assert home_of_target("vertex", "gemini") is None
    assert home_of_target("bedrock", "anthropic") == "bedrock"
    assert home_of_target(None, None) is None and home_of_target(None, "anthropic") == "anthropic"
    given_publisher = path_at("vertex", "/v1/x/publishers/anthropic", "m@1", True)
    assert given_publisher == "/v1/x/publishers/anthropic/models/m@1:streamRawPredict"
    assert path_at("bedrock", "", "arn:aws:x/y", False) == "/model/arn%3Aaws%3Ax%2Fy/invoke"


@pytest.mark.parametrize(
    "data", [b"\0" * 64, b"data: {}\n\ndata: {}\n\n", b"\0\0\0\x10" + b"\xff" * 40]
)
def test_broken_frames_end_the_stream_with_an_error(data: bytes) -> None:
    """What is no frame is an error event, not silence and not an exception."""
    translation = HomeTranslation("bedrock", "anthropic", stream=True)
    out = translation.feed(data)
    assert translation.finished and out.startswith(b"event: error\n")
    assert translation.feed(data) == b""
