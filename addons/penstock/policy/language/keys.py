"""The words of the policy language: which keys exist, what they take, what they mean.

One table per section serves the reader (errors), the JSON Schema (editors) and the policy
reference (a test asks that each key is described there). Data only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from penstock.caller.identity import ALGORITHMS

Shape = Literal[
    "text", "choice", "choices", "globs", "types", "duration", "count", "amount", "intercept",
    "section", "sections", "choice_or_section", "names",
]  # fmt: skip


@dataclass(slots=True, frozen=True)
class Key:
    """One key of a section.

    ``choices`` belongs to the shapes ``choice`` and ``choices``; ``keys`` to ``section`` (a
    mapping with these keys), ``sections`` (a list of them) and ``choice_or_section`` (a word,
    or one mapping).
    """

    name: str
    shape: Shape
    doc: str
    choices: tuple[str, ...] = ()
    required: bool = False
    keys: tuple[Key, ...] = ()


MODES = ("observe", "shadow", "enforce")
ON_ERROR = ("deny", "allow")

SETTINGS: tuple[Key, ...] = (
    Key("version", "choice", "The version of the policy language.", ("1",), required=True),
    Key("name", "text", "What the policy is called in refusals and records."),
    Key(
        "mode",
        "choice",
        "observe: look only. shadow: decide, change nothing. enforce: act. Default enforce.",
        MODES,
    ),
    Key(
        "on_error",
        "choice",
        "What happens to a call when a rule cannot be evaluated. Default deny.",
        ON_ERROR,
    ),
    Key(
        "intercept",
        "intercept",
        "ai: the catalogue and every host a rule names. all: everything. "
        "A list of host patterns: these in addition to ai. Default ai.",
    ),
    Key(
        "other_traffic",
        "choice",
        "What happens to destinations that are not intercepted. Default tunnel.",
        ("tunnel", "deny"),
    ),
    Key(
        "unknown_api",
        "choice",
        "A call to an AI service in a format nobody here can read: scan its text, deny it, "
        "or pass it without looking at the content. Default scan.",
        ("scan", "deny", "pass"),
    ),
    Key(
        "stream_usage",
        "choice",
        "Streams that report their usage only when asked (OpenAI and Azure chat). ask: ask where "
        "a limit counts tokens or money. always: ask in every call. count: never ask, count "
        "ourselves. Default ask.",
        ("ask", "always", "count"),
    ),
)

SECOND_LOOK = (
    Key(
        "second_look",
        "choice",
        "Texts that have left are looked at again by detect-secrets' plug-ins, by a process of "
        "the lowest priority (needs the extra deep). tell: what it finds is told in the audit log "
        "and counted. remember: and found as secret.candidate from then on. Default none.",
        ("none", "tell", "remember"),
    ),
)
ON_STORE_ERROR = ("deny", "local_share", "allow")

STORE = (
    Key(
        "store",
        "text",
        "Redis or Valkey that limits are shared through: redis://host:6379. Without it limits "
        "are this proxy's own.",
    ),
    Key(
        "on_store_error",
        "choice",
        "Calls that need the store while it cannot be reached: deny, local_share (an even part "
        "of what was left) or allow. Default deny.",
        ON_STORE_ERROR,
    ),
)
CALLERS = (
    Key(
        "callers",
        "section",
        "Who calls must be proved to the proxy (Proxy-Authorization, a client certificate).",
        keys=(
            Key(
                "required",
                "choice",
                "true (default): nobody calls without a proof. false: a proof is checked where "
                "there is one.",
                ("true", "false"),
            ),
            Key("passwords", "text", "A file of name:hash lines (penstock keys password)."),
            Key(
                "jwt",
                "section",
                "Bearer tokens (JSON Web Tokens), also as the password of the user bearer.",
                keys=(
                    Key("issuer", "text", "Who must have issued them.", required=True),
                    Key("audience", "globs", "Whom they must be for; one of these.", required=True),
                    Key("keys", "text", "The issuer's key set: its URL, or a file.", required=True),
                    Key("algorithms", "choices", "Default RS256 and ES256.", ALGORITHMS),
                    Key("user", "text", "The claim that names the caller. Default sub."),
                    Key("ca", "text", "A PEM file trusted for that URL."),
                ),
            ),
            Key(
                "mtls",
                "section",
                "Client certificates, where the proxy's port has TLS (run --tls-cert).",
                keys=(
                    Key("ca", "text", "A PEM file: the authority that signs them.", required=True),
                    Key(
                        "names",
                        "globs",
                        "SPIFFE IDs, DNS or mail names that are let in. Default: all it signs.",
                    ),
                ),
            ),
        ),
    ),
)
DETECTORS = (
    Key(
        "detectors",
        "sections",
        "Detectors of your own; a rule names them custom.<id>.",
        keys=(
            Key("id", "text", "Its findings are of the type custom.<id>.", required=True),
            Key("pattern", "text", "What is found: its group, if it has one.", required=True),
            Key("example", "text", "A text in which it must be found.", required=True),
            Key("engine", "choice", "re2 (default), or regex: timed.", ("re2", "regex")),
            Key("keywords", "globs", "One of these words must stand near."),
            Key("check", "choice", "What the value must pass.", ("luhn", "entropy")),
        ),
    ),
    Key(
        "ignore",
        "sections",
        "Findings that are harmless here, until a day.",
        keys=(
            Key("reason", "text", "Why; for whoever reads it next.", required=True),
            Key("until", "text", "The last day it counts: 2027-03-31.", required=True),
            Key("pattern", "text", "RE2 that the whole found text matches."),
            Key("digest", "text", "One value's keyed hash, as redact with: hash shows it."),
            Key("types", "globs", "Only findings of these types. Default all."),
        ),
    ),
)
ENCODERS = (
    Key(
        "encoders",
        "sections",
        "Models of your own (ONNX): a second stage for injection, or names and addresses. Needs "
        "the extra onnx or ner.",
        keys=(
            Key("id", "text", "What it is called in findings and problems.", required=True),
            Key(
                "path",
                "text",
                "A folder beside the policy: model.onnx, tokenizer.json, config.json.",
                required=True,
            ),
            Key("sha256", "names", "Of each of the three files.", required=True),
            Key(
                "labels",
                "names",
                "Labels of the model, and what each stands for: injection; pii.name, pii.address, "
                "pii.organisation, pii.place. Default: labels with the usual names.",
            ),
            Key("threshold", "amount", "The probability from which it counts. Default 0.5."),
            Key(
                "ask",
                "choice",
                "unsure (default): where the package's own model is unsure, and in tool results "
                "and definitions always. always: in people's texts too.",
                ("unsure", "always"),
            ),
            Key("give_up_after", "duration", "What a text may take. Default 10s, at most 60s."),
        ),
    ),
)
LINKS = (
    Key(
        "trusted_hosts",
        "globs",
        "Hosts whose links and images are no finding of leakage.link, .markdown_image and "
        ".html_resource: img.example.com, *.example.org.",
    ),
)
APPROVALS = (
    Key(
        "approvals",
        "section",
        "How a person hears of calls that wait for a yes (tools: approve).",
        keys=(
            Key("webhook", "text", "The URL each ticket is posted to.", required=True),
            Key(
                "secret_file", "text", "The file with the secret it is signed with.", required=True
            ),
            Key("ca", "text", "A PEM file trusted for that URL."),
        ),
    ),
)
SETTINGS = (
    *SETTINGS, *SECOND_LOOK, *LINKS, *STORE, *CALLERS, *DETECTORS, *ENCODERS, *APPROVALS
)  # fmt: skip

RULE = (
    Key("id", "text", "The rule's name in refusals, records and tests; unique.", required=True),
    Key("when", "text", "A CEL condition; the rule applies only where it is true."),
    Key("mode", "choice", "Narrows the policy's mode for this rule.", MODES),
    Key("on_error", "choice", "Overrides the policy's on_error for this rule.", ON_ERROR),
    Key("message", "text", "What a refused caller is told to do."),
)

_TEXT = {"type": "string", "minLength": 1}
_DURATION = {"type": "string", "pattern": "^[0-9]+(s|m|h|d|w)$"}
_AMOUNT = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "string", "pattern": "^[0-9][0-9_]*(\\.[0-9]+)?$"},
    ]
}
_COUNT = {
    "anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": "^[0-9][0-9_]*$"},
    ]
}
_GLOBS = {"type": "array", "items": {"type": ["string", "number"]}}


FINDING_TYPE = {"$ref": "#/$defs/finding_type"}


def shape_schema(key: Key) -> dict[str, Any]:
    """The JSON Schema of one key's value."""
    described: dict[str, Any] = {"description": key.doc}
    if key.name == "version":
        return described | {"const": 1}
    match key.shape:
        case "choice":
            return described | {"enum": list(key.choices)}
        case "choices":
            return described | {"type": "array", "items": {"enum": list(key.choices)}}
        case "types":
            return described | {"type": "array", "minItems": 1, "items": FINDING_TYPE}
        case "sections":
            return described | {"type": "array", "minItems": 1, "items": _mapping(key.keys)}
        case "choice_or_section":
            return described | {"anyOf": [{"enum": list(key.choices)}, _mapping(key.keys)]}
        case "section":
            return described | _mapping(key.keys) | {"minProperties": 0}
        case "names":
            return described | {"type": "object", "additionalProperties": _TEXT, "minProperties": 1}
        case "intercept":
            return described | {"anyOf": [{"enum": ["ai", "all"]}, _GLOBS]}
        case _:
            shapes: Mapping[str, dict[str, Any]] = {
                "text": _TEXT,
                "globs": _GLOBS,
                "duration": _DURATION,
                "count": _COUNT,
                "amount": _AMOUNT,
            }
            return described | shapes[key.shape]


def _mapping(keys: tuple[Key, ...]) -> dict[str, Any]:
    """The JSON Schema of a mapping inside a section: at least one of its keys."""
    return {
        "type": "object",
        "additionalProperties": False,
        "minProperties": 1,
        "properties": {key.name: shape_schema(key) for key in keys},
        "required": [key.name for key in keys if key.required],
    }
