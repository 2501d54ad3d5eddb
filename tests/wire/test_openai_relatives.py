"""Writer, Portkey and watsonx chat: OpenAI's shape at other paths."""

from __future__ import annotations

from penstock.wire import recognise
from penstock.wire.openai.relatives import PortkeyPrompt, WatsonxChat, WriterChat
from tests.wire.families import answered, destination, read, request, zone_of

BODY = {"model": "palmyra-x4", "messages": [{"role": "user", "content": "How much?"}]}
ANSWER = {
    "id": "c-1",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "12 EUR."}}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3},
}


def test_writer_is_recognised_at_its_host_before_others_with_the_same_path() -> None:
    host = "api.writer.com"
    assert recognise(request("/v1/chat", BODY, host=host), destination(host)).api == "writer.chat"
    exchange = read(WriterChat(), "/v1/chat", BODY, host)
    assert (exchange.model, zone_of(exchange.leaves, "How much?")) == ("palmyra-x4", "user")
    answer, _ = answered(WriterChat(), exchange, ANSWER)
    assert (answer.messages[0].text(), answer.usage.input_total) == ("12 EUR.", 7)


def test_a_stored_prompt_is_a_reference_and_its_variables_are_the_callers_words() -> None:
    path = "/v1/prompts/pp-weather/completions"
    asked = request(path, {}, host="api.portkey.ai")
    assert recognise(asked, destination("api.portkey.ai")).api == "portkey.prompt_completions"
    exchange = read(PortkeyPrompt(), path, {"variables": {"location": "Lodz"}})
    assert exchange.references["prompt"] == "pp-weather"
    assert zone_of(exchange.leaves, "Lodz") == "user"
    assert exchange.messages[-1].text() == "Lodz"


def test_watsonx_chat_names_its_model_otherwise_and_streams_by_path() -> None:
    body = {"model_id": "ibm/granite", "messages": BODY["messages"]}
    exchange = read(WatsonxChat(), "/ml/v1/text/chat_stream?version=2025-01-01", body)
    assert (exchange.model, exchange.stream) == ("ibm/granite", True)
    assert not read(WatsonxChat(), "/ml/v1/text/chat", body).stream


def test_broken_bodies_are_exchanges_all_the_same() -> None:
    for family, path in (
        (PortkeyPrompt(), "/v1/prompts/p/completions"),
        (WatsonxChat(), "/ml/v1/text/chat"),
    ):
        for body in (b"", b"[1]", b"{", b'{"variables": 7, "messages": {"a": 1}}'):
            exchange = read(family, path, body)
            answered(family, exchange, body)
