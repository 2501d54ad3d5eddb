"""What the addons of the stack share: policy, detectors, vault, quotas, prices, recorder.

One Governance per process. It owns everything a decision depends on and binds it to one
caller at a time (CallState); the addons own nothing.
"""

from __future__ import annotations

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from penstock.caller import ProcessFinder
from penstock.destinations import is_ai
from penstock.detect import Detectors
from penstock.detect.leakage.canary import Canaries
from penstock.detect.leakage.conversation import Conversations
from penstock.detect.memo import Memo
from penstock.detect.placeholders import Vault
from penstock.detect.stream import prepare
from penstock.detect.stream import scanner as stream_scanner
from penstock.exchange import Caller, Finding, Usage, Workload, Zone
from penstock.mcp.approvals import Announce, Approvals, Held
from penstock.mcp.memory import Memory
from penstock.meter.estimator import Count, Estimator, output_cap
from penstock.meter.media import Media
from penstock.meter.prices import Prices
from penstock.meter.quotas import Claim, Quotas
from penstock.meter.store import Store
from penstock.policy.call import Call
from penstock.policy.decision import Mode
from penstock.policy.language.source import PolicySource
from penstock.policy.policy import Policy
from penstock.policy.state import Estimate, Replace
from penstock.proxy.engine.runtime import Wish
from penstock.proxy.hindsight import Hindsight
from penstock.proxy.keys import Keys
from penstock.proxy.old_transport import OldStreams
from penstock.record.recorder import Recorder
from penstock.route.budget import RetryBudget
from penstock.route.health import Board
from penstock.wire.channel_text import ChannelScanner
from penstock.wire.family import Channel

if TYPE_CHECKING:
    from penstock.caller.identity import CallerCheck
    from penstock.mcp.announce import Announcer
    from penstock.meter.counter import TokenCounter
    from penstock.proxy.authenticate import Authentication
    from penstock.route.credentials.spec import Spec
    from penstock.route.credentials.store import Credentials, Fetch

CallKey = tuple[str, str, str, str]  # caller, server, session, id

# Hosts whose interception was decided; a laptop meets some hundred, an attacker any number.
WISHES_MAX = 4096
DIGEST_BYTES = 8
# Connections whose client certificate is known, 1 KB each; as in proxy/addons/callers.py.
CERTIFICATES_MAX = 10_000
# US dollars per token of a model whose price nobody knows: what the dearest common models cost.
UNKNOWN_INPUT_USD = Decimal("0.000015")
UNKNOWN_OUTPUT_USD = Decimal("0.000075")
WARM_TEXT = "Please write to a.b@example.org: key=12, https://example.org/a?b=c, 4111 1111."
# What must not appear in a Record even where no rule asks for it.
ALWAYS_FOUND = ("secret", "pii.email")


class Governance:
    """The shared parts. ``policy`` is the policy in force; it changes by ``adopt`` only."""

    def __init__(
        self,
        *,
        source: PolicySource,
        mode: Mode | None,
        keys: Keys,
        workload: Workload,
        quotas: Quotas,
        recorder: Recorder,
        can_record: Callable[[], bool],
        approvals: Approvals,
    ) -> None:
        self.source = source
        self.mode = mode
        self.keys = keys
        self.quotas = quotas
        self.recorder = recorder
        self.store: Store | None = None  # what limits are shared through
        self.approvals = approvals
        self.can_record = can_record  # False while the audit log cannot be written
        self.vault = Vault(keys.placeholders)
        self.canaries = Canaries(keys.digest)
        self.conversations = Conversations(keys.digest)
        self.hindsight = Hindsight(self)
        self.memory = Memory()
        self.old_streams = OldStreams()
        self.waiting: dict[CallKey, list[Held]] = {}  # calls held for a person
        self.estimator = Estimator()
        self.board = Board()
        self.retries = RetryBudget()
        self.prices = Prices()
        self.loading_prices: asyncio.Future[None] | None = None
        self.workload = workload
        # In a pod the caller is the workload; on a laptop it is a process.
        self.processes = None if self.workload.pod else ProcessFinder()
        self.wishes: OrderedDict[tuple[str, int], Wish] = OrderedDict()
        self._credentials: Credentials | None = None
        self._counter: TokenCounter | None = None
        self.authentication: Authentication | None = None
        self.announcer: Announcer | None = None
        self.callers_refused = 0  # did not prove who they are
        self.certificates: dict[str, bytes] = {}  # client connection id -> its certificate
        self.last_state: tuple[Caller, CallState] | None = None
        self.adopt(source.policy)

    def adopt(self, policy: Policy) -> None:
        """Make ``policy`` the one in force. Calls under way keep the decision they have."""
        # An order to contain is not softened by --mode.
        softened = self.mode is not None and self.source.contained is None
        self.policy = policy.with_mode(self.mode) if softened and self.mode else policy
        # Secrets are looked for under every policy: nothing recorded may hold one.
        wanted = sorted({*self.policy.finding_types, *ALWAYS_FOUND})
        own = (*self.policy.own_probes(self.canaries), *self.hindsight.probes(self.policy))
        self.detectors = Detectors(wanted, own)
        self.quick = self.detectors.quick()  # for texts that are looked at on the loop
        self.quick.scan(WARM_TEXT)  # the first text of a process costs milliseconds more
        reads = self.policy.reads_answers or bool(self.policy.call_types)
        self.reads_answers_slowly = reads and self.detectors.slow
        listening = (self.detectors.only(types).slow for types in self.policy.stream_types)
        self.streams_slowly = self.reads_answers_slowly and (
            self.policy.asks_for_tone or any(listening)
        )
        if self.policy.reads_answers:
            for types in self.policy.stream_types:
                prepare(self.detectors, types)
        self.search_anew()
        self.hindsight.adopt(self.policy)
        self.wishes.clear()
        self.governs_other = governs_other(self.policy)
        self.authenticate(self.policy.callers)
        self.announce_to(self.policy.announce)
        if self._credentials is not None:
            self._credentials.keep({rule.act.spec for rule in self.policy.credentials})
        self.adopted = policy

    def search_anew(self) -> None:
        """What is found in texts has changed: nothing that was remembered of them counts."""
        self.memo = Memo(self.detectors, self.keys.digest)
        self.recorder.forget()

    def authenticate(self, check: CallerCheck | None) -> None:
        """Ask callers for what ``check`` says; proofs stay good where it stays the same."""
        if check is None:
            self.authentication = None
        elif self.authentication is None or self.authentication.check != check:
            from penstock.proxy.authenticate import Authentication

            self.authentication = Authentication(check)

    def client_ca(self) -> str:
        """The file of the authority whose client certificates prove a caller, or ""."""
        check = self.policy.callers
        return check.mtls.ca if check is not None and check.mtls is not None else ""

    def certified(self, client_id: str, certificate: bytes) -> None:
        """A connection was opened with this certificate. What is not kept proves nothing."""
        if len(self.certificates) < CERTIFICATES_MAX:
            self.certificates[client_id] = certificate

    def announce_to(self, to: Announce | None) -> None:
        """Tell somebody else, or nobody, of calls that wait for a person."""
        if to is None:
            self.announcer = None
        elif self.announcer is None or self.announcer.to != to:
            from penstock.mcp.announce import Announcer

            self.announcer = Announcer(to)

    @property
    def credentials(self) -> Credentials:
        """The real keys; made when the first call needs one."""
        if self._credentials is None:
            from penstock.route.credentials.store import Credentials

            self._credentials = Credentials(source=self.credential_source)
        return self._credentials

    def public_keys(self) -> dict[str, Any]:
        """What servers verify stated identities with."""
        from penstock.route.credentials.identity import key_set

        return key_set(self.keys.identity)

    def credential_source(self, spec: Spec) -> Fetch:
        """Where a credential comes from; a statement of identity is signed with our own key."""
        from penstock.route.credentials.spec import IDENTITY

        if spec.kind != IDENTITY:
            from penstock.route.credentials.store import source

            return source(spec)
        from penstock.route.credentials import identity

        return partial(identity.fetch, key=self.keys.identity)

    def names(self, host: str, port: int) -> bool:
        """True when the policy names this host: in a rule, or under ``intercept``."""
        return self.policy.names(host, port)

    def wants(self, host: str, port: int) -> Wish:
        """Decrypt, pass through, or refuse a destination (design section 8, ``intercept``)."""
        key = host, port
        wish = self.wishes.get(key)
        if wish is None:
            wish = self.wishes[key] = self.wish(host, port)
            if len(self.wishes) > WISHES_MAX:
                self.wishes.popitem(last=False)
        return wish

    def wish(self, host: str, port: int) -> Wish:
        if self.policy.intercept == "all" or is_ai(host, port) or self.names(host, port):
            return "intercept"
        if self.policy.other_traffic == "deny" and self.policy.mode == "enforce":
            return "deny"
        return "tunnel"

    async def lease(self, claims: Sequence[Claim]) -> None:
        """Ask the store about these claims, if there is one."""
        if self.store is not None:
            await self.store.ask(claims)

    def lease_soon(self, claims: Sequence[Claim]) -> None:
        """The same without waiting, from any thread."""
        if self.store is not None:
            self.store.ask_soon(claims)

    @property
    def counter(self) -> TokenCounter:
        """Counts tokens; made for the first limit that asks for exact counts."""
        if self._counter is None:
            from penstock.meter.counter import TokenCounter

            self._counter = TokenCounter(self.keys.digest)
        return self._counter

    def counts_aside(self, call: Call) -> bool:
        """True when a limit wants this call's tokens counted and that would hold the loop."""
        return self.policy.counts_tokens and self.counter.goes_aside(call.exchange)

    def estimate(
        self, caller: str, call: Call, media: Media, count: Count | None = None
    ) -> Estimate:
        """What a call is expected to use: learned tokens, and their price once known."""
        exchange = call.exchange
        cap = output_cap(exchange.parameters)
        expected = self.estimator.estimate(
            caller, exchange.model or "", call.body_bytes, cap, media, count
        )
        # Unknown is never free: until a price is known, that of a dear model is held back.
        usd = (
            UNKNOWN_INPUT_USD * expected.input_tokens + UNKNOWN_OUTPUT_USD * expected.output_tokens
        )
        if self.prices.loaded:
            usage = Usage(input_total=expected.input_tokens, output_total=expected.output_tokens)
            provider, model = call.destination.provider, exchange.model
            price = self.prices.price(provider, exchange.api, model, None, usage)
            usd = price.usd if price.usd is not None else usd
        return Estimate(expected.input_tokens, expected.output_tokens, usd)

    def load_prices_soon(self) -> None:
        """Load prices while the first call is under way, so that its answer does not wait."""
        if self.loading_prices is None and not self.prices.loaded:
            self.loading_prices = asyncio.ensure_future(self.prices.load())

    def state_for(self, caller: Caller) -> CallState:
        """What a decision about this caller's call may ask for."""
        last = self.last_state  # a call asks several times over, and its caller is one object
        if last is None or last[0] is not caller:
            last = self.last_state = caller, CallState(self, caller_key(caller))
        return last[1]


def governs_other(policy: Policy) -> bool:
    """True when the policy says where calls may go that are not to an AI service.

    Such calls are seen only where they are decrypted (``intercept: all``) or plain HTTP.
    """
    return any(rule.act.covers("other") for rule in policy.allows) or any(
        rule.act.target.providers is None
        and rule.act.target.models is None
        and rule.act.target.apis is None
        for rule in policy.denies
    )


def caller_key(caller: Caller) -> str:
    """Whose placeholders: nobody else's answer may restore them.

    The parts that stay the same over one application's conversation, and differ between
    users, keys and programs that share a proxy.
    """
    workload, process = caller.workload, caller.process
    parts = (
        workload.namespace,
        workload.pod or workload.name,
        caller.user,
        caller.credential,
        process.name if process else None,
        process.user if process else None,
    )
    return "\x1f".join(part or "" for part in parts)


@dataclass(slots=True, frozen=True)
class CallState:
    """``policy.state.State`` over the shared parts, bound to one caller."""

    governance: Governance
    caller_key: str

    @property
    def quotas(self) -> Quotas:
        return self.governance.quotas

    @property
    def board(self) -> Board:
        return self.governance.board

    @property
    def memory(self) -> Memory:
        return self.governance.memory

    def approved(self, ticket: str) -> bool:
        return self.governance.approvals.approved(ticket)

    def findings(self, text: str, zone: Zone) -> Sequence[Finding]:
        return self.governance.memo.scan(text, zone)

    def seal(self, type_name: str, value: str) -> str:
        return self.governance.vault.seal(type_name, value, self.caller_key)

    def digest(self, type_name: str, value: str) -> str:
        key = self.governance.keys.digest
        return hmac.new(key, f"{type_name}\x1f{value}".encode(), blake2b).hexdigest()[
            : 2 * DIGEST_BYTES
        ]

    def restorer(self, nested: bool) -> ChannelScanner | None:
        vault = self.governance.vault
        return vault.restorer(self.caller_key, nested) if vault.holds(self.caller_key) else None

    def scanner(self, types: Sequence[str], replace: Replace, channel: Channel) -> ChannelScanner:
        detectors = self.governance.detectors
        return stream_scanner(detectors, types, replace, channel.nested, channel.zone)

    def canary(self, host: str) -> str:
        return self.governance.canaries.of(self.caller_key, host)

    def learn(self, type_name: str, value: str, zone: Zone) -> None:
        self.governance.conversations.learn(self.caller_key, type_name, value, zone)

    def knows(self, value: str) -> bool:
        return self.governance.conversations.knows(self.caller_key, value)

    def estimate(self, call: Call, exact: bool = False) -> Estimate:
        governance = self.governance
        count = governance.counter.count(call.exchange, worker=False) if exact else None
        return governance.estimate(self.caller_key, call, call.media, count)
