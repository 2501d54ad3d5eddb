"""Real client libraries read our refusals as their own providers' errors."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.session import Session

from penstock.wire import family_of
from penstock.wire.family import Family
from tests.wire.families import LIMITED, REFUSED, read


def _bedrock() -> ServiceModel:
    return ServiceModel(Session().get_service_data("bedrock-runtime"))


def test_boto_names_a_refused_converse_call() -> None:
    answer = family_of("bedrock.converse").refusal(REFUSED)
    response = {"status_code": 403, "headers": answer.headers, "body": answer.body}
    output = _bedrock().operation_model("Converse").output_shape
    parsed = create_parser("rest-json").parse(response, output)
    assert parsed["Error"] == {"Code": "AccessDeniedException", "Message": "Refused by rule r."}


@pytest.mark.parametrize(
    ("refusal", "kind"), [(REFUSED, "validationException"), (LIMITED, "throttlingException")]
)
def test_boto_raises_a_refusal_inside_a_stream(refusal: Any, kind: str) -> None:
    family = family_of("bedrock.converse_stream")
    exchange = read(family, "/model/m/converse-stream", {})
    buffer = EventStreamBuffer()
    buffer.add_data(family.stream_refusal(exchange, refusal))
    [event] = list(buffer)
    response = event.to_response_dict()
    assert response["status_code"] == 400
    assert response["headers"][":exception-type"] == kind
    shape = _bedrock().operation_model("ConverseStream").get_event_stream_output()
    parsed = create_parser("rest-json")._event_stream_parser.parse(response, shape)
    assert parsed["Error"]["Code"] == kind
    assert parsed["Error"]["Message"] == refusal.message


def _httpx_answer(family: Family, refusal: Any) -> httpx.Response:
    answer = family.refusal(refusal)
    asked = httpx.Request("POST", "https://provider.example/")
    return httpx.Response(
        answer.status, headers=dict(answer.headers), content=answer.body, request=asked
    )


def test_anthropic_raises_its_own_errors_and_stops_retrying() -> None:
    import anthropic

    client = anthropic.Anthropic(api_key="x", base_url="https://provider.example")
    for refusal, kind in (
        (REFUSED, anthropic.PermissionDeniedError),
        (LIMITED, anthropic.RateLimitError),
    ):
        error = client._make_status_error_from_response(
            _httpx_answer(family_of("anthropic.messages"), refusal)  # type: ignore[arg-type]
        )
        assert isinstance(error, kind)
        assert refusal.message in str(error)
