"""How sure a model was of its answer: log probabilities, where the wire carries them.

Callers ask for them; nobody else gets any. Only their sum and number are kept.
"""

from __future__ import annotations

from typing import Any

from penstock.exchange import Answer
from penstock.wire.loose import as_dict, as_list

# A provider says -9999 for a token it does not tell about; nothing real is below this.
LOGPROB_MIN = -100.0


def note_tokens(answer: Answer, tokens: Any) -> None:
    """Count the tokens of a list: ``[{"token": …, "logprob": -0.1}]``, or bare numbers."""
    for token in as_list(tokens):
        note(answer, token.get("logprob") if type(token) is dict else token)


def note(answer: Answer, logprob: Any) -> None:
    """Count one token's, or one candidate's mean."""
    if type(logprob) in (int, float) and LOGPROB_MIN < logprob <= 0:
        answer.logprob_sum += logprob
        answer.logprob_count += 1


def note_choice(answer: Answer, logprobs: Any) -> None:
    """Those of a chat choice (``content``), or of a legacy one (``token_logprobs``)."""
    found = as_dict(logprobs)
    note_tokens(answer, found.get("content") or found.get("token_logprobs"))
