"""How many tokens a call will take, learned from the calls before it.

Input is bytes times a ratio, output is the mean so far; both are kept per caller and model
as running means and corrected by every finished call. This needs no tokeniser (74 MB and
one per provider), and learns what no tokeniser knows: tool definitions, thinking. Pictures
and sounds are counted apart (media.py): their tokens do not follow from their bytes.

What a limit reserves is input plus *expected* output, capped by the call's own maximum:
reserving the maximum starves callers, reserving nothing lets parallel calls overshoot by
their number.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.meter.media import NO_MEDIA, Media

# Callers and models kept: two numbers each, some 0.3 KB, so 1.2 MB.
PAIRS_MAX = 4096

# A quarter token per byte: 10 to 15 % high for English and code, the ratio providers quote.
FIRST_RATIO = 0.25
# Dense text (base64, ids) has up to 0.75 tokens per byte; more than one is not text.
RATIO_MAX = 1.0
# A body of what nobody could count apart, in base64, has fewer tokens per byte than any text.
RATIO_MIN = 0.0001
# The median of assistants' answers; agents' first calls are below it.
FIRST_OUTPUT = 500.0

# Weight of the newest call. About the last ten calls count: a caller's habits change.
WEIGHT = 0.2
# The first calls count more, so that one call corrects a wrong start by half.
FIRST_WEIGHT = 0.5

# Names of the output cap in the APIs, in Exchange.parameters.
CAPS = (
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "maxOutputTokens",
    "maxTokens",
    "max_new_tokens",
    "max_tokens_to_sample",
)
# A cap above this is no information: some clients send the largest integer.
CAP_MAX = 10_000_000


@dataclass(slots=True, frozen=True)
class Estimate:
    """Tokens a call is expected to take."""

    input_tokens: int
    output_tokens: int

    @property
    def tokens(self) -> int:
        """Both."""
        return self.input_tokens + self.output_tokens


@dataclass(slots=True, frozen=True)
class Count:
    """Tokens of a request's texts that were counted; ``missed_bytes`` of text were not."""

    tokens: int
    missed_bytes: int = 0


@dataclass(slots=True)
class _Learned:
    ratio: float = FIRST_RATIO
    output: float = FIRST_OUTPUT
    calls: int = 0


class Estimator:
    """What was learned, per (caller, model); the least recently used pair is forgotten."""

    def __init__(self) -> None:
        self._learned: OrderedDict[tuple[str, str], _Learned] = OrderedDict()

    def estimate(
        self,
        caller: str,
        model: str,
        request_bytes: int,
        cap: int | None,
        media: Media = NO_MEDIA,
        count: Count | None = None,
    ) -> Estimate:
        """Expected tokens of a request of ``request_bytes``; ``cap`` is its output maximum.

        What was counted exactly (``count``) stands in place of the bytes.

        A model this caller has not used yet starts from what the model took for others.
        """
        learned = self._learned.get((caller, model)) or self._learned.get(("", model))
        learned = learned or _Learned()
        output = round(learned.output)
        if cap is not None:
            output = min(output, cap)
        text_bytes, given = max(0, request_bytes - media.encoded_bytes), media.tokens
        if count is not None:
            text_bytes, given = count.missed_bytes, given + count.tokens
        given += round(text_bytes * learned.ratio)
        return Estimate(max(1, given), max(0, output))

    def learn(
        self,
        caller: str,
        model: str,
        request_bytes: int,
        input_tokens: int,
        output_tokens: int,
        media: Media = NO_MEDIA,
    ) -> None:
        """Correct by a finished call's own numbers (totals, cached and reasoning included)."""
        text_bytes = request_bytes - media.encoded_bytes
        if text_bytes <= 0 or input_tokens < 0 or output_tokens < 0:
            return
        ratio = min(RATIO_MAX, max(RATIO_MIN, (input_tokens - media.tokens) / text_bytes))
        for key in ((caller, model), ("", model)):
            learned = self._learned.setdefault(key, _Learned())
            self._learned.move_to_end(key)
            weight = FIRST_WEIGHT if learned.calls < 2 else WEIGHT
            learned.ratio += weight * (ratio - learned.ratio)
            learned.output += weight * (output_tokens - learned.output)
            learned.calls += 1
        while len(self._learned) > PAIRS_MAX:
            self._learned.popitem(last=False)


def output_cap(parameters: Mapping[str, Any]) -> int | None:
    """The call's own maximum of output tokens (of all its choices), None when it names none."""
    caps = [
        value
        for name in CAPS
        if isinstance(value := parameters.get(name), int)
        and not isinstance(value, bool)
        and 0 <= value <= CAP_MAX
    ]
    if not caps:
        return None
    choices = parameters.get("n")
    count = choices if isinstance(choices, int) and 1 <= choices <= 128 else 1
    return min(caps) * count
