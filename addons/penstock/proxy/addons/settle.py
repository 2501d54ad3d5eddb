"""Addon Settle: what the call used, what it cost, what its limits get back.

The provider's own numbers where it gave any; else our estimate, marked so. A call that
never got an answer gives its reservation back; one that was aborted, cut, or refused once
the answer was there is settled with what was seen.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from decimal import Decimal

from mitmproxy import http

from penstock.exchange import Answer, Usage
from penstock.meter.windows import Amount
from penstock.proxy.call import LiveCall, call_of
from penstock.proxy.engine.fail_closed import REFUSED
from penstock.proxy.engine.problem import PROBLEMS, Problem
from penstock.proxy.governance import Governance, caller_key
from penstock.record.record import Outcome
from penstock.wire.stream import utf8_size

# Output we have to count ourselves, in bytes of UTF-8: four characters of English and code. Other
# scripts take more tokens for a character, and more bytes in about the same measure.
BYTES_PER_TOKEN = 4
# Operations whose answers cost tokens. Listing models or uploading a file does not.
METERED = ("chat", "text_completion", "generate_content", "embeddings")
SERVER_ERROR = 500  # RFC 9110 section 15.6: from here on it is not the client's doing


class Settle:
    """Closes the books of a call, once."""

    def __init__(self, governance: Governance) -> None:
        self.governance = governance

    def response(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        live = call_of(flow)
        if live is None or live.settled:
            return None
        answer = live.call.exchange.answer
        if live.outcome == "answered" and live.streamed and answer and not answer.complete:
            live.outcome = "cut"
        return self.settle(live)

    def error(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        live = call_of(flow)
        if live is None or live.settled:
            return None
        if live.outcome == "answered":
            live.outcome = outcome_of(flow, live)
            problem = problem_of(flow)
            live.status = problem.status if problem is not None else live.status
        return self.settle(live, broke_off=True)

    def settle(self, live: LiveCall, *, broke_off: bool = False) -> Awaitable[None] | None:
        """Settle now, or as soon as prices are loaded (once per process)."""
        live.settled = True
        if live.attempts is not None:
            live.attempts.close(live.outcome)
        if live.stop_reading is not None:
            live.stop_reading()
        answer = live.call.exchange.answer
        if answer is None:
            for reservation in live.decision.reservations:
                self.governance.quotas.release(time.time(), reservation)
            return None
        self.account(live, answer, broke_off or live.outcome == "refused")
        if has_tokens(answer.usage) and not self.governance.prices.loaded:
            return self.price_later(live, answer)
        self.price(live, answer)
        return None

    def account(self, live: LiveCall, answer: Answer, broke_off: bool) -> None:
        """Make sure the answer has a usage, the provider's or ours; learn from the former."""
        exchange = live.call.exchange
        if live.translation is not None and live.translation.counts:
            # The target's own words, or none: what the caller hears may be less, and made up.
            answer.usage = live.translation.usage or Usage()
        usage = answer.usage
        told = usage.input_total is not None or usage.output_total is not None
        if told and not (live.streamed and is_unfinished(answer, broke_off)):
            self.governance.estimator.learn(
                caller_key(live.call.caller),
                exchange.model or "",
                live.call.body_bytes,
                usage.input_total or 0,
                usage.output_total or 0,
                live.call.media,
            )
        elif told or (
            exchange.operation in METERED and live.answered_well and usage.counted_tokens is None
        ):
            self.estimate(live, answer)

    def estimate(self, live: LiveCall, answer: Answer) -> None:
        """Our own count, where the provider's last word is missing: what was streamed, at least."""
        usage, call = answer.usage, live.call
        if usage.input_total is None:
            usage.input_total = self.governance.estimator.estimate(
                caller_key(call.caller),
                call.exchange.model or "",
                call.body_bytes,
                None,
                call.media,
            ).input_tokens
        usage.output_total = max(usage.output_total or 0, spoken_tokens(answer))
        usage.estimated = True

    async def price_later(self, live: LiveCall, answer: Answer) -> None:
        await self.governance.prices.load()
        self.price(live, answer)

    def price(self, live: LiveCall, answer: Answer) -> None:
        """Price the usage and give the limits back what was not used."""
        now, exchange = time.time(), live.call.exchange
        translation = live.translation
        api = translation.api if translation and translation.counts else exchange.api
        if has_tokens(answer.usage):
            price = self.governance.prices.price(
                live.call.destination.provider,
                api,
                live.model or exchange.model,
                answer.model,
                answer.usage,
                now,
            )
            live.cost_usd, live.price_source = price.usd, price.source
        free = not live.answered_well and not has_tokens(answer.usage)
        for reservation in live.decision.reservations:
            if free:
                self.governance.quotas.release(now, reservation)
            else:
                self.governance.quotas.settle(now, reservation, spent(live, answer.usage))


def outcome_of(flow: http.HTTPFlow, live: LiveCall) -> Outcome:
    """Why a flow ended with an error: the client went away, or the other side did."""
    problem = problem_of(flow)
    if problem is not None:
        return "failed" if problem.status >= SERVER_ERROR else "refused"
    unsent = flow.request.timestamp_end is None
    if unsent or (flow.error is not None and "client disconnected" in flow.error.msg.lower()):
        return "aborted"
    return "cut" if flow.response is not None and flow.response.stream else "failed"


def problem_of(flow: http.HTTPFlow) -> Problem | None:
    """What the engine told the client instead of an answer, if it did."""
    return PROBLEMS.get(flow.metadata.get(REFUSED, ""))


def has_tokens(usage: Usage) -> bool:
    """True when there is anything to price."""
    return bool(usage.input_total or usage.output_total)


def is_unfinished(answer: Answer, broke_off: bool) -> bool:
    """True when what a stream said of its usage so far need not be the last word.

    Anthropic's begin with an output of 1, Gemini's count on with each event. Why the model
    stopped comes with the last word or after it.
    """
    ended = any(message.finish_reason for message in answer.messages)
    return not ended and (broke_off or answer.error is not None or not answer.complete)


def spoken_tokens(answer: Answer) -> int:
    """A rough count of everything the answer says, reasoning and tool arguments included."""
    parts = (part for message in answer.messages for part in message.parts)
    texts = (text for part in parts for text in (part.text, part.arguments) if text)
    said = sum(utf8_size(str(text)) for text in texts)
    return max(said // BYTES_PER_TOKEN, min(said, 1))


def spent(live: LiveCall, usage: Usage) -> dict[str, Amount]:
    """Amounts by unit, as ``Quotas.settle`` wants them. An unknown price is left out."""
    given, made = usage.input_total or 0, usage.output_total or 0
    amounts: dict[str, Amount] = {
        "tokens": given + made,
        "input_tokens": given,
        "output_tokens": made,
        "requests": 1,
    }
    if live.cost_usd is not None:
        amounts["usd"] = live.cost_usd
    elif not has_tokens(usage):
        amounts["usd"] = Decimal(0)
    return amounts
