"""The file that says which servers stand behind ``penstock mcp serve``.

Read whole and checked whole: a file with a problem changes nothing. Secrets are named in it and
taken from the environment; their values are never shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from penstock.policy.language.problem import ConfigError, Problem
from penstock.wire.jsonrpc.shape import MODERN_SINCE

# One team's servers are dozens; each is a connection or a process.
SERVERS_MAX = 200
FILE_BYTES_MAX = 1024 * 1024
# A name stands before each tool's name; no underscore, so that the first "__" ends it.
NAME = r"^[a-z][a-z0-9-]{0,31}$"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

Positive = Annotated[int, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LimitsEntry(_Strict):
    """Resource limits of a server process; ``child.Limits`` says what each means."""

    memory_mib: Positive | None = None
    cpu_seconds: Positive | None = None
    open_files: Positive | None = None
    processes: Positive | None = None
    file_mib: Positive | None = None


class ServerEntry(_Strict):
    """One server: a URL, or a command that is started here."""

    url: str | None = None
    transport: Literal["streamable_http", "sse"] = "streamable_http"
    headers: Mapping[str, str] = {}
    command: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    keys: Mapping[str, str] = {}  # variable -> the credential rule whose key it holds
    folder: str | None = None
    limits: LimitsEntry = LimitsEntry()
    connection: Literal["shared", "caller"] | None = None
    mode: Literal["auto", "legacy", "modern"] = "auto"

    @model_validator(mode="after")
    def _one_way(self) -> ServerEntry:
        if (self.url is None) == (self.command is None):
            raise ValueError("needs either 'url' or 'command'")
        if self.command is not None and not self.command:
            raise ValueError("'command' is empty")
        beside = self.headers or self.transport != "streamable_http"
        if self.command is not None and beside:
            raise ValueError("'headers' and 'transport' belong to a 'url'")
        started = self.env or self.keys or self.folder or self.limits != LimitsEntry()
        if self.url is not None and started:
            raise ValueError("'env', 'keys', 'folder' and 'limits' belong to a 'command'")
        if self.url is not None:
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
                raise ValueError("'url' must be http or https, without a password in it")
        return self

    @property
    def spoken(self) -> str:
        """The SDK's name of the way the server is spoken to."""
        if self.transport == "sse":
            return "legacy"
        return MODERN_SINCE if self.mode == "modern" else self.mode

    @property
    def per_caller(self) -> bool:
        """Whether each caller gets a connection (a session) of its own."""
        if self.connection is None:
            return self.url is not None
        return self.connection == "caller"


class ServersFile(_Strict):
    """The whole file."""

    version: Literal[1]
    servers: Mapping[Annotated[str, Field(pattern=NAME)], ServerEntry] = Field(
        min_length=1, max_length=SERVERS_MAX
    )


Check = Callable[[str, ServerEntry], Iterable[str]]


def _nothing(_name: str, _entry: ServerEntry) -> Iterable[str]:
    return ()


def load(
    path: Path, environ: Mapping[str, str] = os.environ, check: Check = _nothing
) -> Mapping[str, ServerEntry]:
    """The servers of the file, variables put in. ``check`` says what else is wrong with a server.

    Raises:
        ConfigError: with every problem and its line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError([Problem(str(path), 1, "", error.strerror or "cannot be read")]) from None
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError([Problem(str(path), 1, "", f"is larger than {FILE_BYTES_MAX} bytes")])
    try:
        node = yaml.compose(content, yaml.SafeLoader)
        document = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        raise ConfigError([Problem(str(path), line, "", "is not YAML")]) from None
    if document is None:
        raise ConfigError([Problem(str(path), 1, "", "the file is empty")])
    try:
        entries = ServersFile.model_validate(document).servers
    except ValidationError as error:
        raise ConfigError(
            [
                Problem(str(path), _line(node, one["loc"]), _path(one["loc"]), _message(one))
                for one in error.errors(include_input=False, include_url=False)
            ]
        ) from None
    filled, problems = {}, []
    for name, entry in entries.items():
        missing = [v for text in entry.headers.values() for v in _VARIABLE.findall(text)]
        missing = [variable for variable in missing if variable not in environ]
        if missing:
            place = ("servers", name, "headers")
            said = f"the environment variable {missing[0]} is not set"
            problems.append(Problem(str(path), _line(node, place), _path(place), said))
        for said in check(name, entry):
            problems.append(Problem(str(path), _line(node, ("servers", name)), name, said))
        headers = {key: _fill(text, environ) for key, text in entry.headers.items()}
        filled[name] = entry.model_copy(update={"headers": headers})
    if problems:
        raise ConfigError(problems)
    return filled


def _fill(text: str, environ: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: environ.get(found[1], ""), text)


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location if part != "[key]")


def _message(error: Any) -> str:
    """pydantic's words without what was written: it may be a secret."""
    if error["type"] == "extra_forbidden":
        return "unknown key"
    if error["type"] == "string_pattern_mismatch":
        return "a name is a lower-case letter, then letters, digits and '-', 32 in all"
    if error["type"] == "model_type":
        return "names and what they mean are needed here: servers: {NAME: {url: ...}}"
    said: str = error["msg"]
    return said.removeprefix("Value error, ")


def _line(node: Any, location: tuple[int | str, ...]) -> int:
    """The line of what ``location`` names, as far as the file has it."""
    line = 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            if part >= len(node.value):
                break
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
