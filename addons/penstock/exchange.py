"""The common model: what one call is, whoever the provider.

Roles and parts follow the OpenTelemetry GenAI message schema, so telemetry is a
projection of this model and not a second parse. The module imports nothing of the
project: every other room speaks in these values.

Order of a call's life: HttpRequest -> (Destination, Caller, Exchange) -> Decision ->
answer bytes -> Answer and Usage -> Record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

# --------------------------------------------------------------------------- HTTP


@dataclass(slots=True)
class HttpRequest:
    """A request as the caller meant it: decoded of its content coding, nothing else changed.

    ``headers`` has lower-case names; a repeated header is joined with ", ".
    ``path`` carries the query string. ``body`` is the content after removing
    ``content-encoding``; the bytes on the wire stay with the proxy.
    """

    method: str
    scheme: str
    host: str
    port: int
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(slots=True)
class HttpAnswer:
    """An answer, recorded or made by us (a refusal). Same conventions as HttpRequest."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


# --------------------------------------------------------------------------- who and where


@dataclass(slots=True, frozen=True)
class Workload:
    """The pod or service a call comes from (Kubernetes downward API, PENSTOCK_* variables)."""

    name: str | None = None
    namespace: str | None = None
    pod: str | None = None
    service_account: str | None = None
    node: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class Process:
    """A process on this machine, found behind the loopback connection."""

    pid: int
    name: str
    path: str | None = None
    user: str | None = None


@dataclass(slots=True, frozen=True)
class Caller:
    """Who makes the call. Every field may be unknown (None)."""

    workload: Workload = Workload()
    user: str | None = None
    agent: str | None = None
    session: str | None = None
    process: Process | None = None
    user_agent: str | None = None
    credential: str | None = None  # keyed fingerprint of the provider key used, never the key
    credentials: tuple[str, ...] = ()  # of every key the call carries, that one first
    claims: Mapping[str, Any] = field(default_factory=dict)
    audiences: tuple[str, ...] | None = None  # of the token sent to the server; None: not told
    spiffe: str | None = None  # the SPIFFE ID of its client certificate

    @property
    def team(self) -> str | None:
        """The workload's label ``team``, else the caller's claim of that name."""
        claim = self.claims.get("team")
        return self.workload.labels.get("team") or (claim if isinstance(claim, str) else None)


Category = Literal[
    "llm_api",
    "chat_app",
    "coding_assistant",
    "mcp",
    "gateway",
    "search",
    "image",
    "audio",
    "unknown_ai",
    "other",
]


@dataclass(slots=True, frozen=True)
class Destination:
    """What is called. ``known`` is False when only the shape of the call told us."""

    host: str
    port: int
    provider: str | None = None
    category: Category = "other"
    broad: bool = False  # the host also serves much that is not AI: report, do not block
    known: bool = False
    source: str | None = None  # which catalogue entry or shape said so


# --------------------------------------------------------------------------- content

Role = Literal["system", "user", "assistant", "tool"]

Zone = Literal[
    "system",
    "user",
    "assistant",
    "tool_result",
    "tool_arguments",
    "tool_definition",
    "reasoning",
    "refusal",
    "document",  # the text of a file inside the request, where a rule asks for it
    "other",  # a string no reader knows the meaning of: scanned all the same
]

PartKind = Literal[
    "text",
    "reasoning",
    "refusal",
    "tool_call",  # the client has to run it
    "server_tool_call",  # the provider runs it (web search, code, provider-side MCP)
    "tool_result",
    "blob",  # bytes inside the message: image, audio, document
    "uri",  # content by reference: URL or file id
]

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Leaf:
    """One string a rule may read, and where it stands.

    ``path`` addresses a JSON string in the body (keys and indexes from the root; the
    empty tuple is the whole body as text). ``span`` is set instead when the text stands
    at known byte offsets of a body that is not JSON (a multipart field). ``text`` is the
    decoded string. ``nested`` says that the text is itself JSON (tool-call arguments), so
    what is put into it must be escaped for JSON once more. ``editable`` is False for
    signed, hashed or encrypted parts. ``is_key``: the text is an object's key, not a value.
    ``blob`` marks encoded bytes (an image, a file): no words for a detector of words.
    ``shadows`` are values that repeat the text in another form (log probabilities of its
    tokens): they become null when the text is edited. A nested leaf's ``text`` is its
    unescaped view: each JSON escape of the inner document turned into its character.
    """

    path: Path
    text: str
    zone: Zone = "other"
    editable: bool = True
    nested: bool = False
    is_key: bool = False
    span: tuple[int, int] | None = None
    blob: bool = False
    shadows: tuple[Path, ...] = ()


@dataclass(slots=True)
class Part:
    """One piece of a message."""

    kind: PartKind
    text: str | None = None  # text, reasoning, refusal; of a tool_result its text joined
    name: str | None = None  # tool name
    id: str | None = None  # tool call id
    arguments: Any = None  # tool_call: parsed arguments (dict), or the raw string if not JSON
    mime_type: str | None = None
    uri: str | None = None
    size_bytes: int | None = None  # blob


@dataclass(slots=True)
class Message:
    """One turn. In an answer there is one message per choice."""

    role: Role
    parts: list[Part] = field(default_factory=list)
    finish_reason: str | None = None  # the provider's raw word

    def text(self) -> str:
        """All visible text of the message, joined without separator."""
        return "".join(part.text for part in self.parts if part.kind == "text" and part.text)


@dataclass(slots=True)
class ToolDefinition:
    """A tool the request declares. Provider tools are named ``builtin:<type>``."""

    name: str
    description: str | None = None
    schema: Any = None
    server_url: str | None = None  # provider-side MCP: the server the provider will call


@dataclass(slots=True)
class Usage:
    """Tokens of one call.

    The five ``*_tokens`` fields are the provider's own numbers as reported (last value
    seen on a stream, None when absent); the two totals are made comparable across
    providers (inclusive of cache reads and writes; output inclusive of reasoning), as
    the OpenTelemetry GenAI conventions want them. ``raw`` is the provider's usage object
    in its plain (not streamed) form, which prices are computed from.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    input_total: int | None = None
    output_total: int | None = None
    counted_tokens: int | None = None  # answer of a counting endpoint: not consumption
    estimated: bool = False  # our own count: the wire carried none
    raw: Mapping[str, Any] | None = None


@dataclass(slots=True)
class CallError:
    """An error the other side reported, by status or inside a 200 stream."""

    type: str | None = None
    message: str | None = None


@dataclass(slots=True)
class Answer:
    """What came back, grown event by event when streamed."""

    status: int = 0
    id: str | None = None
    model: str | None = None
    messages: list[Message] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    error: CallError | None = None
    events: int = 0  # SSE events, frames, lines
    events_sent: int = 0  # of these, passed on to the caller
    embedding_count: int | None = None
    logprob_sum: float = 0.0  # of its tokens' log probabilities, where the answer carries any
    logprob_count: int = 0
    complete: bool = False  # the family's own end marker was seen, or a plain body ended

    @property
    def logprob(self) -> float | None:
        """The mean log probability of a token; None where the answer carries none."""
        return self.logprob_sum / self.logprob_count if self.logprob_count else None


@dataclass(slots=True)
class McpCall:
    """The MCP reading of an exchange (JSON-RPC over streamable HTTP or HTTP+SSE)."""

    methods: list[str] = field(default_factory=list)
    ids: list[str | int | None] = field(default_factory=list)  # exact JSON types
    names: list[str | None] = field(default_factory=list)  # the tool of each, where it is a call
    tool: str | None = None
    arguments: Any = None
    resource_uri: str | None = None
    prompt: str | None = None
    protocol_version: str | None = None
    modern: bool = False  # 2026-07-28 and later: no session, _meta on each request
    batch: bool = False  # the body was an array of messages (2025-03-26 only)
    session_id: str | None = None
    trace_parent: str | None = None  # of the message's own metadata
    client: str | None = None
    server: str | None = None
    tools_listed: list[str] | None = None
    server_messages: list[str] = field(default_factory=list)
    rpc_error_code: int | None = None
    is_error: bool | None = None
    result_text: str | None = None
    notes: list[str] = field(default_factory=list)  # what rules saw: names of tools and fields


@dataclass(slots=True)
class Exchange:
    """One call and its answer, as understood.

    ``api`` is the family's name, ``openai.chat_completions``; ``operation`` the value of
    ``gen_ai.operation.name``. ``references`` holds what is used but not on the wire
    (stored prompt, previous_response_id, conversation, file ids, background), by field name.
    """

    api: str
    provider: str | None = None
    operation: str = "chat"
    model: str | None = None
    stream: bool = False
    messages: list[Message] = field(default_factory=list)
    tools: list[ToolDefinition] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)  # max_tokens, temperature, n, ...
    references: dict[str, Any] = field(default_factory=dict)
    leaves: list[Leaf] = field(default_factory=list)  # every string of the request
    include_usage: bool | None = None  # chat streams: the caller asked for a usage chunk
    mcp: McpCall | None = None
    answer: Answer | None = None
    document: Any = None  # the parsed request body
    problem: str | None = None  # why the body could not be read as what it claims to be
    # Of an answer's strings those worth judging: what is known to hold nothing is left out.
    telling: Callable[[Any], Sequence[Leaf]] | None = field(default=None, repr=False, compare=False)


# --------------------------------------------------------------------------- findings


@dataclass(slots=True, frozen=True)
class Finding:
    """Something a detector found in one text.

    ``start`` and ``end`` are string indices into the text that was scanned; ``type`` is
    dotted (``secret.github_token``, ``pii.email``, ``injection.override``). A finding
    never carries the text it found.
    """

    type: str
    start: int
    end: int
    score: float
    detector: str


# The rest of a text in which more would have to be judged than anything honest holds. It may
# hide what was asked for, so rules treat it as that.
UNSCANNABLE = "leakage.unscannable"


def matches_type(wanted: Sequence[str], found: str) -> bool:
    """True when ``found`` is one of ``wanted`` or below it: ``secret`` covers ``secret.jwt``."""
    return any(found == name or found.startswith(name + ".") for name in wanted)
