"""Everything that runs in one ``penstock run``: engine, addons, admin address, upkeep.

Made in an order that cannot be caught half-way: configuration errors before anything is
opened, the CA's files before the proxy's port, readiness last.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mitmproxy import http

from penstock.caller import workload_from
from penstock.detect.hindsight.second_look import DRAIN_SECONDS
from penstock.exchange import Finding
from penstock.mcp.approvals import APPROVALS, Approvals
from penstock.meter.journal import SAVE_SECONDS, Journal
from penstock.meter.quotas import Quotas
from penstock.meter.shared import SharedQuotas
from penstock.meter.store import Store
from penstock.meter.store_url import read_store_url
from penstock.policy.decision import Mode
from penstock.policy.language.source import PolicySource, Unsuited
from penstock.proxy import keys
from penstock.proxy.addons.credential import watch_credentials
from penstock.proxy.call import Failed, call_of, tell_failure
from penstock.proxy.control.admin import Admin
from penstock.proxy.control.contained import Contained
from penstock.proxy.control.local_socket import FOLDER as ADMIN_FOLDER
from penstock.proxy.engine import engine
from penstock.proxy.engine.runtime import Callbacks, Failure, Listening
from penstock.proxy.governance import Governance
from penstock.proxy.settings import EngineSettings
from penstock.record.recording import (
    Recording,
    start_recording,
    watch_proxy,
    watch_quotas,
    watch_routes,
    watch_second_look,
    watch_store,
)

if TYPE_CHECKING:
    from penstock.proxy.control.approval_socket import ApprovalSocket

logger = logging.getLogger(__name__)

Addon = Any  # an addon is a plain class with a method per hook; mitmproxy has no base class

# How often sinks are flushed and expired reservations given back.
UPKEEP_SECONDS = 1.0
# How often policy files are looked at.
LOOK_SECONDS = 1.0
# How often orders to contain are: one has to hold within a second, on a busy machine too, and
# nothing new costs one `stat`.
WATCH_SECONDS = 0.2
# How long a thread that judges a large body keeps the interpreter from the loop (Python: 5 ms).
SWITCH_SECONDS = 0.001


@dataclass(slots=True)
class Service:
    """One running proxy. ``stack`` makes the addons; see ``penstock.stack``."""

    settings: EngineSettings
    policies: Sequence[Path]
    mode: Mode | None
    stack: Callable[[Governance], list[Addon]]
    ready_file: Path | None = None
    tell: Callable[[str], None] = lambda _text: None  # what a person at the terminal hears
    store_url: str | None = field(default=None, repr=False)  # may hold a password
    unsuited: Unsuited = lambda _policy: ()  # what of a policy this process cannot keep
    introduces: bool = True  # of several workers, whoever started them says where they are
    governance: Governance = field(init=False)
    recording: Recording = field(init=False)
    journal: Journal = field(init=False)
    contained: Contained = field(init=False)
    refusals: Counter[str] = field(default_factory=Counter)
    errors: int = 0  # checks that raised
    watches_callers: bool = False
    watches_credentials: bool = False
    watches_second_look: bool = False
    ready: bool = False
    listening: Listening | None = None
    approving: ApprovalSocket | None = None

    def run(self) -> int:
        """Serve until a signal; the process's exit code. Raises what ``prepare`` raises."""
        self.prepare()
        return asyncio.run(self.serve())

    def prepare(self) -> None:
        """Load the policy and open what is written to.

        Raises:
            ConfigError: the policy cannot be loaded. Nothing was opened.
            OSError, ValueError: the state directory or a port cannot be used.
        """
        source = PolicySource(self.policies, self.unsuited, self.settings.state_dir)
        configured = source.configured  # what is set up once is set up for it, contained or not
        callers = configured.callers
        if callers is not None and callers.mtls and self.settings.tls_certificate is None:
            raise ValueError("callers.mtls needs TLS on the proxy's port: --tls-cert")
        where = self.store_url or configured.store
        url = None if where is None else read_store_url(where)
        state = self.settings.state_dir
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        workload = workload_from(os.environ)
        self.recording = start_recording(state, os.environ, service=workload.name, scan=self.scan)
        self.governance = Governance(
            source=source,
            mode=self.mode,
            keys=keys.load_or_create(state, keys.shared_secret()),
            workload=workload,
            quotas=Quotas() if url is None else SharedQuotas(),
            recorder=self.recording.recorder,
            can_record=lambda: self.recording.audit.available,
            approvals=Approvals(state / APPROVALS),
        )
        if url is not None and isinstance(self.governance.quotas, SharedQuotas):
            on_error = configured.on_store_error
            self.governance.store = Store(url, self.governance.quotas, on_error)
            watch_store(self.recording.metrics, self.governance.store)
        watch_quotas(self.recording.metrics, self.governance.quotas)
        watch_routes(self.recording.metrics, self.governance.retries)
        watch_proxy(
            self.recording.metrics,
            refused=lambda: float(self.refusals.total()),
            errors=lambda: float(self.errors),
            contained=lambda: float(source.contained is not None),
        )
        self.journal = Journal(state / f"budgets{self.recording.audit.suffix}.json")
        self.journal.load(time.time(), self.governance.quotas)
        self.note_policy()
        self.contained = Contained(source, self.recording, self.tell)
        self.contained.notice()

    def scan(self, text: str) -> Sequence[Finding]:
        """What must not be recorded of a name the caller chose (a model, a path, a tool)."""
        return self.governance.quick.scan(text)

    async def serve(self) -> int:
        assert self.settings.admin is not None  # the command line has a default
        admin = Admin(
            *self.settings.admin,
            metrics=self.recording.metrics.expose,
            ready=lambda: self.ready,
            status=self.status,
            keys=self.governance.public_keys,
            contained=lambda: self.contained.now,
        )
        self.settings = replace(self.settings, admin=admin.address)
        await admin.start()
        callbacks = Callbacks(
            wants=self.governance.wants,
            on_error=self.on_error,
            ready=lambda listening: self.started(listening, admin.address),
            draining=self.draining,
            refused=self.refused,
            client_ca=self.governance.client_ca,
            certified=self.governance.certified,
            left=self.left,
        )
        try:
            async with self.kept_up():
                return await engine.serve(self.settings, self.stack(self.governance), callbacks)
        finally:
            await admin.stop()

    @contextlib.asynccontextmanager
    async def kept_up(self) -> AsyncIterator[None]:
        """What goes on beside the calls, for as long as they are served."""
        if self.governance.store is not None:
            await self.governance.store.start()
        await self.hear_people()
        tasks = [asyncio.create_task(self.upkeep()), asyncio.create_task(self.watch())]
        try:
            yield
        finally:
            self.ready = False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self.approving is not None:
                await self.approving.stop()
            self.keep_budgets(time.time() + SAVE_SECONDS)
            if self.governance.store is not None:
                await self.governance.store.stop()
            await asyncio.to_thread(self.governance.hindsight.close, DRAIN_SECONDS)
            await asyncio.to_thread(self.governance.recorder.close)

    def started(self, listening: Listening, admin: tuple[str, int]) -> None:
        """The ports are open: say where."""
        self.listening, self.ready = listening, True
        self.contained.hang_up = listening.hang_up
        # What start-up made stays to the end: collections need not go through it again, which
        # would hold every call for some 30 ms.
        gc.collect()
        gc.freeze()
        sys.setswitchinterval(SWITCH_SECONDS)
        if self.introduces:
            self.introduce(listening, admin)
        if self.ready_file is not None:
            where = {
                "listen": "{}:{}".format(*listening.proxy),
                "admin": "{}:{}".format(*admin),
                "reverse": listening.reverse and "{}:{}".format(*listening.reverse),
                "pid": os.getpid(),
                "audit": str(self.recording.audit.path),
            }
            draft = self.ready_file.with_name(f".{self.ready_file.name}.{os.getpid()}")
            draft.write_text(json.dumps(where))
            draft.replace(self.ready_file)

    def introduce(self, listening: Listening, admin: tuple[str, int]) -> None:
        """Where it is, what it does, and how clients come to it."""
        policy, state = self.governance.policy, self.settings.state_dir
        address = "{}:{}".format(*listening.proxy)
        rules = f"{len(policy.rules)} rule{'' if len(policy.rules) == 1 else 's'}"
        self.tell(f"listening on {address}, health and metrics on {admin[0]}:{admin[1]}")
        if listening.reverse is not None and (reverse := self.settings.reverse) is not None:
            named = "{}:{}".format(*reverse.target)
            where = "{}:{}".format(*listening.reverse)
            spoken = "http" if self.settings.tls_certificate is None else "https"
            self.tell(f"{spoken}://{where} stands for {reverse.scheme}://{named}")
        self.tell(f"policy {policy.name}: {rules}, mode {policy.mode} ({', '.join(policy.files)})")
        if self.contained.now:
            self.tell("warning: contained; `penstock contain --release` ends it")
        if not ipaddress.ip_address(listening.proxy[0]).is_loopback:
            self.tell("warning: not on loopback: whoever reaches this address may use the proxy")
        for warning in policy.warnings:
            self.tell(f"warning: {warning}")
        if policy.limits and self.governance.store is None:
            self.tell("limits are this proxy's own; to share them between proxies: --store")
        elif self.governance.store is not None:
            self.tell(f"limits are shared through {self.governance.store.url.shown}")
        self.tell(f"certificate {state / 'ca.pem'}, audit log {self.recording.audit.path}")
        if self.settings.tls_certificate is not None:
            self.tell(f"clients: HTTPS_PROXY=https://{address} (the proxy's port speaks TLS)")
        else:
            self.tell(f'clients: HTTPS_PROXY=http://{address}, or: eval "$(penstock env)"')

    def draining(self) -> None:
        if self.ready:
            self.tell("stopping: no new connections, running answers may finish")
        self.ready = False

    def refused(self, code: str, host: str) -> None:
        """A connection was refused before there was a call."""
        self.refusals[code] += 1

    def left(self, flow: http.HTTPFlow) -> None:
        """A client gave up while a check of its call waits, perhaps for a person."""
        live = call_of(flow)
        if live is not None and live.decision.hold_seconds:
            self.governance.approvals.wake(live.decision.ticket)

    def on_error(self, failure: Failure) -> Literal["deny", "allow"]:
        """The one decision about a check that raised (design rule 5)."""
        self.errors += 1
        policy = self.governance.policy
        verdict: Literal["deny", "allow"] = (
            "deny" if policy.mode == "enforce" and policy.on_error == "deny" else "allow"
        )
        if isinstance(failure.subject, http.HTTPFlow):
            result: Failed = "failed_closed" if verdict == "deny" else "failed_open"
            tell_failure(
                failure.subject, result, f"{failure.where}: {type(failure.error).__name__}"
            )
        return verdict

    def note_policy(self) -> None:
        policy = self.governance.policy
        self.recording.metrics.policy_loaded(policy.hash, policy.mode, time.time())
        if policy.callers is not None and not self.watches_callers:
            self.watches_callers = True
            self.recording.metrics.watch(
                "penstock_callers_refused",
                "Connections and calls refused because the caller did not prove who it is.",
                "counter",
                lambda: float(self.governance.callers_refused),
            )
        if policy.credentials and not self.watches_credentials:
            self.watches_credentials = True
            watch_credentials(self.recording.metrics, self.governance.credentials)
        if policy.second_look != "none" and not self.watches_second_look:
            self.watches_second_look = True
            watch_second_look(self.recording.metrics, lambda: self.governance.hindsight.second_look)

    async def hear_people(self) -> None:
        """Open the admin socket, from the first policy on that lets calls wait for a person."""
        if self.approving is not None or not self.governance.policy.asks_people:
            return
        from penstock.proxy.control.approval_socket import ApprovalSocket

        folder = self.settings.state_dir / ADMIN_FOLDER
        try:
            self.approving = ApprovalSocket(self.governance.approvals, folder, self.tell)
        except OSError as error:
            self.tell(f"warning: no admin socket: {error}. Approvals go by files alone.")
            return
        await self.approving.start()

    async def watch(self) -> None:
        """Take up changed policy files, and orders to contain and to release."""
        looked_at = time.monotonic()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            due = time.monotonic() - looked_at >= LOOK_SECONDS
            if not due and not self.governance.source.ordered():
                continue
            looked_at = time.monotonic()
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001  the next look tries again
                self.errors += 1
                logger.error("policy files could not be looked at: %s", type(error).__name__)

    async def look(self) -> None:
        """One look at the files."""
        source = self.governance.source
        before = source.status()
        await asyncio.to_thread(source.poll)
        now = source.status()
        changed = source.policy is not self.governance.adopted
        if changed:
            self.governance.adopt(source.policy)
            await self.hear_people()
        if changed or now.loads != before.loads:
            self.note_policy()
        if now.loads != before.loads:
            held = " (in force once containment ends)" if source.contained else ""
            self.tell(f"policy reloaded: {source.configured.hash}{held}")
        elif now.refusals != before.refusals:
            self.recording.metrics.policy_refused()
            self.tell("a changed policy was refused, the old one stays in force:")
            for problem in now.problems:
                self.tell(f"  {problem}")
        elif before.problems and not now.problems:
            self.note_policy()
            self.tell("the policy's files are again what is in force")
        self.contained.notice()

    async def upkeep(self) -> None:
        """Once a second: expired reservations, slow work of the sinks."""
        while True:
            await asyncio.sleep(UPKEEP_SECONDS)
            self.keep_budgets(time.time())
            self.governance.hindsight.refresh()
            await asyncio.to_thread(self.governance.recorder.flush)

    def keep_budgets(self, now: float) -> None:
        """Give expired reservations back; save what day and month budgets have spent."""
        self.governance.quotas.expire(now)
        if self.journal.due(now, self.governance.quotas):
            try:
                self.journal.save(now, self.governance.quotas)
            except OSError as error:
                logger.error("budgets cannot be saved: %s", error.strerror)

    def status(self) -> dict[str, Any]:
        """What ``/status`` shows: no prompt text, no key, no caller."""
        governance = self.governance
        return {
            "ready": self.ready,
            "listen": self.listening and "{}:{}".format(*self.listening.proxy),
            "policy": {
                "name": governance.policy.name,
                "hash": governance.policy.hash,
                "mode": governance.policy.mode,
                "rules": len(governance.policy.rules),
            },
            "contained": self.contained.status(),
            "connections_refused": dict(self.refusals),
            "recording": self.recording.status(),
            "open_reservations": governance.quotas.open_reservations,
            "limits": governance.store.status() if governance.store else {"shared": False},
            **self.exact_counts(),
        }

    def exact_counts(self) -> dict[str, Any]:
        """Whether tokens are counted where a limit asks for it, and if not, why."""
        if not self.governance.policy.counts_tokens:
            return {}
        return {"exact_counts": self.governance.counter.problem or "available"}
