"""The one place where a raised exception becomes a decision about the call.

The stock core logs an exception in a hook and lets the call go on unchanged. Here every
hook of every addon, and every step of a stream transform, runs under this module: an
exception asks ``on_error`` (deny unless told otherwise), is counted, and a denied call is
refused, cut or closed depending on how far it has come. Exception texts are never
written down: they can carry the call's bytes.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from mitmproxy import http
from mitmproxy.exceptions import AddonHalt
from mitmproxy.hooks import Hook
from mitmproxy.master import Master
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.tls import ClientHelloData

from penstock.proxy.engine.problem import CHECK_FAILED, ErrorPage
from penstock.proxy.engine.runtime import Failure, Runtime
from penstock.proxy.engine.stream import Holding, StreamTransform, Yielding
from penstock.proxy.engine.tls import DENIED

logger = logging.getLogger(__name__)

REFUSED = "penstock.refused"  # flow.metadata: the engine answered this call itself, with this code

# Hooks of a call that is over: the handlers after a failed one settle and record it.
BOOKS = ("response", "error")

Handler = Callable[[Any], Any]


@dataclass(slots=True, frozen=True)
class Step:
    """What one step of a transform gave: bytes to send, and whether the answer ends here."""

    chunks: list[bytes]
    over: bool = False
    cut: bool = False  # nothing well-formed can be said any more: close the connection


class Hooks:
    """Runs the addons' hooks, in order, failing closed.

    The table of handlers is made once per hook name: addons do not change while running.
    """

    def __init__(self, master: Master, runtime: Runtime) -> None:
        self._addons = master.addons
        self._runtime = runtime
        self._handlers: dict[str, tuple[Handler, ...]] = {}
        self._subjects: dict[type[Hook], Callable[[Hook], Any]] = {}

    def run(self, hook: Hook, close: Callable[[], None]) -> Awaitable[None] | None:
        """Run ``hook``; an awaitable for what is left when a handler is asynchronous.

        ``close`` ends the client connection where refusing takes no other form.
        """
        handlers = self._handlers.get(hook.name)
        if handlers is None:
            handlers = self._find(hook)
        if not handlers:
            return None
        subject = self._subjects[type(hook)](hook)
        if hook.name == "request" and REFUSED in subject.metadata:
            return None
        return self._run(handlers, hook.name, subject, close)

    def _find(self, hook: Hook) -> tuple[Handler, ...]:
        found = [getattr(addon, hook.name, None) for addon in self._addons.chain]
        handlers = tuple(handler for handler in found if callable(handler))
        self._handlers[hook.name] = handlers
        (field,) = dataclasses.fields(hook)  # type: ignore[arg-type] # hooks are dataclasses
        self._subjects[type(hook)] = attrgetter(field.name)
        return handlers

    def _run(
        self, handlers: Sequence[Handler], name: str, subject: Any, close: Callable[[], None]
    ) -> Awaitable[None] | None:
        for index, handler in enumerate(handlers):
            try:
                result = handler(subject)
            except AddonHalt:
                return None
            except Exception as error:  # noqa: BLE001 - the one fail-closed place
                if self._failed(name, subject, error, close) and name not in BOOKS:
                    return None
                continue
            if result is not None and inspect.isawaitable(result):
                return self._finish(result, handlers[index + 1 :], name, subject, close)
        return None

    async def _finish(
        self,
        result: Awaitable[None],
        rest: Sequence[Handler],
        name: str,
        subject: Any,
        close: Callable[[], None],
    ) -> None:
        try:
            await result
        except AddonHalt:
            return
        except Exception as error:  # noqa: BLE001 - the one fail-closed place
            if self._failed(name, subject, error, close) and name not in BOOKS:
                return
        remaining = self._run(rest, name, subject, close)
        if remaining is not None:
            await remaining

    def _failed(self, name: str, subject: Any, error: Exception, close: Callable[[], None]) -> bool:
        """Decide and apply; True when the call was refused: no later handler judges it."""
        if decide(self._runtime, Failure(name, subject, error)) == "allow":
            return False
        _refuse(name, subject, close, self._runtime.callbacks.error_page)
        return True


def decide(runtime: Runtime, failure: Failure) -> str:
    """Ask ``on_error``, count and log; a callback that raises itself means deny."""
    try:
        verdict = runtime.callbacks.on_error(failure)
    except Exception:  # noqa: BLE001 - the one fail-closed place
        verdict = "deny"
    runtime.failures[f"{failure.where}:{verdict}"] += 1
    logger.error(
        "%s in %s at %s: %s",
        type(failure.error).__name__,
        failure.where,
        place(failure.error),
        "the call is refused" if verdict == "deny" else "the call goes on unchecked",
    )
    return verdict


def guarded[Given](
    work: Callable[[Given], None], given: Given, failed: Callable[[Exception], None]
) -> None:
    """Run ``work(given)``; an exception of the protocol core goes to ``failed``."""
    try:
        work(given)
    except Exception as error:  # noqa: BLE001 - the one fail-closed place
        failed(error)


def place(error: BaseException) -> str:
    """Module and line where ``error`` was raised, without its text."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "unknown"
    return f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}"


def _refuse(name: str, subject: Any, close: Callable[[], None], page: ErrorPage) -> None:
    if isinstance(subject, http.HTTPFlow):
        subject.metadata[REFUSED] = CHECK_FAILED.code
        if name == "websocket_message" and subject.websocket:
            subject.websocket.messages[-1].drop()
            close()
        elif name in ("error", "http_connected", "http_connect_error"):
            pass  # the call is over, or has not begun
        elif name == "response" and subject.response and subject.response.stream:
            pass  # its bytes have left; the transform had its own say
        else:
            subject.response = refusal(page)
    elif isinstance(subject, ServerConnectionHookData):
        subject.server.error = DENIED
    elif isinstance(subject, ClientHelloData):
        subject.ignore_connection = False
        subject.context.client.error = DENIED
    else:
        close()


def refusal(page: ErrorPage) -> http.Response:
    """The answer for a call whose check failed; SDKs are told not to try again."""
    headers, body = page(CHECK_FAILED.status, CHECK_FAILED.code)
    made = http.Response.make(CHECK_FAILED.status, body)
    for name, value in headers:
        made.headers[name] = value
    made.headers["x-should-retry"] = "false"
    return made


def step(
    runtime: Runtime, transform: StreamTransform, flow: http.HTTPFlow, chunk: bytes | None
) -> Step:
    """Feed ``chunk`` to ``transform`` (None: the body is complete), failing closed."""
    return stepped(runtime, transform, flow, chunk, fed(transform, chunk))


def fed(transform: StreamTransform, chunk: bytes | None) -> list[bytes] | Exception:
    """What the transform makes of ``chunk``, or what it raised; in any thread."""
    try:
        return transform.end() if chunk is None else transform.feed(chunk)
    except Exception as error:  # noqa: BLE001 - the one fail-closed place
        return error


def stepped(
    runtime: Runtime,
    transform: StreamTransform,
    flow: http.HTTPFlow,
    chunk: bytes | None,
    outcome: list[bytes] | Exception | None,
) -> Step:
    """The step that ``fed`` gave; None: it could not be run at all."""
    if isinstance(outcome, list):
        return Step(outcome, over=transform.finished)
    error = outcome or RuntimeError("not run")
    verdict = decide(runtime, Failure("stream", flow, error))
    try:
        if verdict == "allow" and isinstance(transform, Yielding):
            return Step(transform.unchecked(chunk or b""), over=transform.finished)
        return Step(transform.failed(error), over=True)
    except Exception as second:  # noqa: BLE001 - the one fail-closed place
        decide(runtime, Failure("stream", flow, second))
        return Step([], over=True, cut=True)


def broken_off(transform: Holding) -> list[bytes] | Exception:
    """What a transform still has of an answer the upstream cut, or what it raised."""
    try:
        return transform.break_off()
    except Exception as error:  # noqa: BLE001 - the one fail-closed place
        return error


def last(
    runtime: Runtime, flow: http.HTTPFlow, outcome: list[bytes] | Exception | None
) -> list[bytes]:
    """What still leaves of such an answer; nothing where judging it failed."""
    if isinstance(outcome, list):
        return outcome
    decide(runtime, Failure("stream", flow, outcome or RuntimeError("not run")))
    return []
