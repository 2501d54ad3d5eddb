"""``credential``: the real key of a destination, put in place of the caller's own.

The application holds a worthless token. The rule says where the real one comes from; the
decision only says that it is to be used, fetching it is the proxy's work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from penstock.policy import target
from penstock.policy.call import Call
from penstock.policy.language.keys import Key
from penstock.policy.language.read import Section
from penstock.policy.rules.kind import Kind
from penstock.policy.target import Target, read_target
from penstock.route.credentials.spec import IDENTITY, Form, Spec


@dataclass(slots=True, frozen=True)
class Credential:
    """Which destinations get a credential, and which one."""

    target: Target
    spec: Spec

    def serves(self, call: Call) -> bool:
        """True when the call is surely to one of the rule's destinations."""
        return self.target.admits(call)

    def may_travel(self, call: Call) -> bool:
        """True when the key is safe on the way: encrypted, or to a host the rule names."""
        return call.scheme == "https" or self.target.hosts is not None


_URL = "https, or http to this machine."
_CA = Key("ca", "text", "A PEM file that is trusted in place of the system's roots.")
_EVERY = Key("every", "duration", "How often it is fetched again. Default 10m (vault: 5m).")
_FOR_WHAT = (
    Key("scope", "text", "What the token may be used for."),
    Key("audience", "text", "Whom the token is for."),
    Key("resource", "text", "Whom the token is for, as a URL (RFC 8707)."),
)
_CLIENT = (
    Key("token_url", "text", f"The token endpoint: {_URL}", required=True),
    Key("client_id", "text", "The client's name there."),
    Key("client_secret_file", "text", "A file with the client's secret."),
    _CA,
)

SOURCES = (
    Key("file", "text", "A file with the key: a mounted secret. Read again when it changes."),
    Key("environment", "text", "An environment variable of the proxy."),
    Key("command", "globs", "A command and its arguments; what it prints is the key."),
    Key(
        "vault",
        "section",
        "HashiCorp Vault or OpenBao.",
        keys=(
            Key("address", "text", f"The server: {_URL}", required=True),
            Key("path", "text", "What is read: secret/data/openai.", required=True),
            Key("field", "text", "The field that holds the key. Default key."),
            Key("token_file", "text", "A file with a Vault token, kept fresh by an agent."),
            Key("role", "text", "Log in by Kubernetes service account, with this role."),
            Key("mount", "text", "Where that login is mounted. Default kubernetes."),
            Key("service_account_file", "text", "The service account's token."),
            Key("namespace", "text", "The Vault namespace."),
            _EVERY,
            _CA,
        ),
    ),
    Key(
        "aws",
        "section",
        "AWS keys by web identity (AssumeRoleWithWebIdentity). Signs requests.",
        keys=(
            Key("role", "text", "The role's ARN. Default AWS_ROLE_ARN."),
            Key("token_file", "text", "Default AWS_WEB_IDENTITY_TOKEN_FILE."),
            Key("region", "text", "Whose STS is asked. Default AWS_REGION."),
            Key("session", "text", "The session's name in CloudTrail. Default penstock."),
            Key("endpoint", "text", f"Another STS: {_URL}"),
            _CA,
        ),
    ),
    Key(
        "azure",
        "section",
        "A Microsoft Entra token by workload identity.",
        keys=(
            Key("tenant", "text", "Default AZURE_TENANT_ID."),
            Key("client_id", "text", "Default AZURE_CLIENT_ID."),
            Key("token_file", "text", "Default AZURE_FEDERATED_TOKEN_FILE."),
            Key("scope", "text", "Default https://cognitiveservices.azure.com/.default."),
            Key(
                "authority", "text", f"Default AZURE_AUTHORITY_HOST, else the public cloud. {_URL}"
            ),
            _CA,
        ),
    ),
    Key(
        "google",
        "section",
        "A Google Cloud token by workload identity federation.",
        keys=(
            Key("audience", "text", "The provider: //iam.googleapis.com/...", required=True),
            Key("token_file", "text", "The token to exchange.", required=True),
            Key("service_account", "text", "The account to act as."),
            Key("scope", "text", "Default cloud-platform."),
            Key("sts", "text", f"Another token service: {_URL}"),
            Key("iam", "text", f"Another credentials service: {_URL}"),
            _CA,
        ),
    ),
    Key("oauth", "section", "OAuth client credentials.", keys=(*_CLIENT, *_FOR_WHAT)),
    Key(
        "exchange",
        "section",
        "OAuth token exchange (RFC 8693): the caller's own token, or one from a file.",
        keys=(
            *_CLIENT,
            *_FOR_WHAT,
            Key("subject_file", "text", "Exchange this file's token in place of the caller's."),
            Key("subject_type", "text", "What it is. Default a JWT."),
        ),
    ),
    Key(
        "identity",
        "section",
        "A signed statement of who is behind the call; it lasts a minute.",
        keys=(
            Key("audience", "text", "Whom the statement is for.", required=True),
            Key("issuer", "text", "Who makes it. Default penstock."),
        ),
    ),
)
URLS = ("address", "endpoint", "authority", "sts", "iam", "token_url")


def build(section: Section) -> Credential | None:
    """The rule of a ``credential`` section; None (and problems) without one source."""
    before = len(section.reader.problems)
    for message, key in _target_problems(section):
        section.report(message, key)
    source = section.values.get("from")
    if not isinstance(source, Section):
        return None  # reported where it stands
    kinds = [key.name for key in SOURCES if key.name in source.lines]
    if len(kinds) != 1:
        found = ", ".join(kinds) or "none"
        source.report(f"exactly one source is named, found {found}: "
                      f"{', '.join(key.name for key in SOURCES)}")  # fmt: skip
        return None
    kind = kinds[0]
    if kind not in source.values:
        return None
    values = _values(kind, source.values[kind], section.values.get("every"))
    for message, key in _source_problems(kind, values, section):
        section.report(message, key)
    if len(section.reader.problems) > before:
        return None
    form: Form | None = section.values.get("as")
    if kind == "aws":
        form = "sigv4"
    return Credential(read_target(section), Spec(kind, tuple(sorted(values.items())), form))


def _target_problems(section: Section) -> Iterator[tuple[str, str | None]]:
    """A key must have named destinations: a pattern for every host would give it to anybody."""
    hosts, providers = section.values.get("hosts"), section.values.get("providers")
    if not hosts and not providers:
        yield "name 'providers' or 'hosts': a key must not go to any other destination", None
    for name, patterns in (("hosts", hosts), ("providers", providers)):
        for pattern in patterns or ():
            if not pattern.strip("*?.") or (name == "hosts" and pattern.strip("*.").count(".") < 1
                                            and "*" in pattern):  # fmt: skip
                yield f"'{pattern}' would give the key to hosts nobody here has named", name


def _values(kind: str, given: Any, every: int | None) -> dict[str, Any]:
    """The source's settings; a source that is one value has it under its own name."""
    if isinstance(given, Section):
        return dict(given.values)
    name = {"file": "path", "environment": "variable", "command": "arguments"}[kind]
    return {name: given} | ({"every": every} if every else {})


def _source_problems(
    kind: str, values: dict[str, Any], section: Section
) -> Iterator[tuple[str, str | None]]:
    from penstock.route.credentials.ask import address_problem

    for name in URLS:
        if name in values and (problem := address_problem(values[name])):
            yield f"{kind}.{name} is {problem}", "from"
    if kind == "command" and not values["arguments"]:
        yield "the command is empty", "from"
    if kind == "vault" and ("token_file" in values) == ("role" in values):
        yield "vault needs 'token_file' or 'role', one of them: how to log in", "from"
    if "every" in section.values and kind != "command":
        yield "'every' stands here for a command only; vault has its own", "every"
    form = section.values.get("as")
    if form == "sigv4" and kind not in ("file", "environment", "command", "vault", "aws"):
        yield f"{kind} gives a token, and tokens do not sign requests", "as"
    if form == "penstock-identity" and kind != IDENTITY:
        yield "that header is for 'from: {identity: ...}'", "as"
    if kind == "aws" and form not in (None, "sigv4"):
        yield "AWS keys sign requests: leave 'as' out", "as"


KIND = Kind(
    "credential",
    "The real key of a destination, in place of the worthless one the application holds.",
    (
        *target.KEYS,
        Key("from", "section", "Where the key comes from: exactly one source.", (), True, SOURCES),
        Key(
            "as",
            "choice",
            "How it is sent. Default: as the caller sent its own, else as the provider "
            "documents. key is the query parameter, sigv4 an AWS signature.",
            get_args(Form),
        ),
        _EVERY,
    ),
    build,
)
