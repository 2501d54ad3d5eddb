"""Records to record."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from penstock.exchange import Caller, Destination, Finding, Process, Usage, Workload
from penstock.policy.decision import Located, Reason
from penstock.record.record import Record


def make_record(**changes: Any) -> Record:
    """A usual call: a streamed chat, one e-mail address redacted, priced."""
    values: dict[str, Any] = {
        "id": "c-1",
        "time": 1_781_956_800.25,
        "caller": Caller(
            workload=Workload(name="shop", namespace="prod", pod="shop-1"),
            user="mia",
            process=Process(42, "python3"),
            user_agent="OpenAI/Python 3.52.0",
        ),
        "destination": Destination("api.openai.com", 443, "openai", "llm_api", known=True),
        "mode": "enforce",
        "policy_hash": "abc123",
        "method": "POST",
        "path": "/v1/chat/completions",
        "api": "openai.chat_completions",
        "operation": "chat",
        "model": "gpt-4o",
        "answer_model": "gpt-4o-2024-08-06",
        "stream": True,
        "verdict": "edit",
        "would": "edit",
        "reasons": [Reason("no-secrets-out", "redact", "edit", "replaced")],
        "findings": [
            Located(Finding("pii.email", 3, 9, 1.0, "email"), "user", (), "request", "redact")
        ],
        "edits": 1,
        "restored": 1,
        "status": 200,
        "finish_reasons": ["stop"],
        "usage": Usage(input_tokens=1200, output_tokens=300, input_total=1200, output_total=300,
                       cache_read_tokens=1024, reasoning_tokens=128),
        "cost_usd": Decimal("0.00472"),
        "price_source": "genai-prices",
        "request_bytes": 5000,
        "answer_bytes": 2500,
        "duration_seconds": 1.5,
        "first_byte_seconds": 0.4,
        "own_seconds": 0.0012,
        "check_seconds": 0.0007,
    }  # fmt: skip
    return Record(**values | changes)


@pytest.fixture
def record() -> Callable[..., Record]:
    """A maker of Records: ``record(status=429)``."""
    return make_record
