"""HAR entries become recorded exchanges."""

from __future__ import annotations

from penstock.wire.har import har_lines, is_har
from penstock.wire.inspect import inspect

HAR = {
    "log": {
        "entries": [
            {
                "request": {
                    "method": "POST",
                    "url": "https://api.openai.com/v1/chat/completions",
                    "headers": [{"name": "Content-Type", "value": "application/json"}],
                    "postData": {"text": '{"model":"gpt-x","messages":[]}'},
                },
                "response": {
                    "status": 200,
                    "headers": [{"name": "content-encoding", "value": "br"}],
                    "content": {"text": '{"id":"c1","choices":[]}'},
                },
            },
            "not an entry",
        ]
    }
}


def test_an_entry_is_read_as_if_recorded() -> None:
    assert is_har(HAR) and not is_har([]) and not is_har({"log": 1})
    (line,) = har_lines(HAR)
    got = inspect(line)
    assert (got["request_model"], got["response_id"]) == ("gpt-x", "c1")


def test_repeated_headers_are_joined_and_a_coding_that_no_longer_holds_is_dropped() -> None:
    headers = [{"name": "X", "value": "1"}, {"name": "x", "value": "2"}, {"name": 3}]
    entry = {"request": {"headers": headers}, "response": None}
    (line,) = har_lines({"log": {"entries": [entry]}})
    assert line["request"]["headers"] == {"x": "1, 2"}
    assert "content-encoding" not in next(har_lines(HAR))["response"]["headers"]
