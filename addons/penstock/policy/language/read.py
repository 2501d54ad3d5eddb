"""YAML nodes to plain values, keeping the line of every mistake.

Works on PyYAML's node graph, so that ``200_000``, ``no`` or ``4.1`` are read as what the key
takes and not as what YAML 1.1 makes of them. It never constructs an object, never follows an
alias, and goes on after a mistake so that all of them are reported at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import yaml

from penstock.policy.language.keys import Key
from penstock.policy.language.problem import Problem, allowed_list, nearest

# A policy is written by people; the largest real ones are some 100 KB of host names.
FILE_BYTES_MAX = 1024 * 1024
# rules > rule > verb > list is four; more is not a policy.
DEPTH_MAX = 16
# Texts a caller is shown, or a condition: enough for a paragraph.
TEXT_CHARACTERS_MAX = 4096
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
# A year: longer windows are a mistyped number.
DURATION_SECONDS_MAX = 366 * 86_400
# Up to a trillion, so that sums and products stay exact and printable.
NUMBER_MAX = 10**12

_DURATION = re.compile(r"([0-9]{1,9})([smhdw])\Z")
_NUMBER = re.compile(r"[0-9][0-9_]{0,30}(\.[0-9]{1,12})?\Z")


class _Loader(yaml.SafeLoader):
    """Composes nodes only; refuses aliases (a few lines can stand for gigabytes) and depth."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML has no annotation
        if isinstance(event, yaml.AliasEvent):
            raise _refused("aliases are not allowed: write the value out", event)
        if self.depth >= DEPTH_MAX:
            raise _refused(f"nested deeper than {DEPTH_MAX} levels", event)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def _refused(what: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=what, problem_mark=event.start_mark)


@dataclass
class Section:
    """The values of one mapping, by key, and where each stands."""

    reader: Reader
    path: str
    line: int
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    def report(self, message: str, key: str | None = None) -> None:
        """A problem at ``key``, or at the section itself."""
        path = f"{self.path}.{key}".lstrip(".") if key else self.path
        line = self.lines.get(key, self.line) if key else self.line
        self.reader.report(line, path, message)


class Reader:
    """Reads one file; collects its problems (errors) and warnings."""

    def __init__(self, file: str, known_types: Sequence[str]) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._types = with_parents(known_types)
        self._text_lines: list[str] = []

    def also_known(self, types: Sequence[str]) -> None:
        """More finding types that rules may name: those of the policy's own detectors."""
        self._types |= with_parents(types)

    def report(self, line: int, path: str, message: str) -> None:
        """One more problem."""
        self.problems.append(Problem(self.file, line, path, message))

    def compose(self, content: bytes) -> yaml.Node | None:
        """The node graph of a file; None (and problems) when there is none."""
        if len(content) > FILE_BYTES_MAX:
            self.report(1, "", f"the file is larger than {FILE_BYTES_MAX} bytes")
            return None
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            self.report(line, "", "not UTF-8 text")
            return None
        self._text_lines = text.splitlines()
        node: yaml.Node | None = None
        try:
            node = yaml.compose(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.report(mark.line + 1 if mark else 1, "", _yaml_message(error))
            return None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            self.report(line, "", f"a character YAML does not allow: #x{error.character:04x}")
            return None
        if node is None:
            self.report(1, "", "the file is empty")
        return node

    def pairs(self, node: yaml.Node, path: str) -> list[tuple[str, yaml.Node, yaml.Node]]:
        """(key, key node, value node) of a mapping, without repeated keys."""
        if not isinstance(node, yaml.MappingNode):
            self.report(line_of(node), path, f"a mapping is expected, not {_kind(node)}")
            return []
        seen: dict[str, int] = {}
        pairs: list[tuple[str, yaml.Node, yaml.Node]] = []
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.report(line_of(key_node), path, "a key is a plain word")
                continue
            name = key_node.value
            if name in seen:
                self.report(
                    line_of(key_node),
                    join(path, name),
                    f"the key stands here twice, first in line {seen[name]}",
                )
                continue
            seen[name] = line_of(key_node)
            pairs.append((name, key_node, value_node))
        return pairs

    def items(self, node: yaml.Node, path: str) -> list[yaml.Node] | None:
        """The elements of a sequence."""
        if not isinstance(node, yaml.SequenceNode):
            hint = f": write [{node.value}]" if isinstance(node, yaml.ScalarNode) else ""
            self.report(line_of(node), path, f"a list is expected, not {_kind(node)}{hint}")
            return None
        return list(node.value)

    def section(self, node: yaml.Node, keys: Sequence[Key], path: str) -> Section:
        """Every value of a mapping whose keys are ``keys``; unknown keys are problems."""
        section = Section(self, path, line_of(node))
        known = {key.name: key for key in keys}
        for name, key_node, value_node in self.pairs(node, path):
            section.lines[name] = line_of(key_node)
            if name not in known:
                self.unknown_key(key_node, path, known)
                continue
            value = self.value(value_node, known[name], join(path, name))
            if value is not None:
                section.values[name] = value
        for key in keys:
            if key.required and key.name not in section.lines:
                section.report(f"'{key.name}' is missing. {key.doc}")
        return section

    def unknown_key(self, key_node: yaml.Node, path: str, known: dict[str, Any]) -> None:
        """A key that is not in the language."""
        name = str(key_node.value)[:80]
        self.report(
            line_of(key_node),
            join(path, name),
            f"unknown key '{name}'; {allowed_list(known)}{nearest(name, known)}",
        )

    def value(self, node: yaml.Node, key: Key, path: str) -> Any:
        """The value of one key in its shape, or None after a problem."""
        match key.shape:
            case "text":
                return self._text(node, path, watch_comment=key.name in ("message", "when"))
            case "choice":
                return self._choice(node, key.choices, path)
            case "choices" | "globs" | "types":
                return self._list(node, key, path)
            case "section":
                return self.section(node, key.keys, path)
            case "intercept":
                if isinstance(node, yaml.ScalarNode):
                    return self._choice(node, ("ai", "all"), path)
                return self._list(node, Key(key.name, "globs", key.doc), path)
            case "sections":
                items = self.items(node, path) or []
                return tuple(
                    self.section(item, key.keys, f"{path}[{index}]")
                    for index, item in enumerate(items)
                )
            case "choice_or_section":
                if isinstance(node, yaml.ScalarNode):
                    return self._choice(node, key.choices, path)
                return self.section(node, key.keys, path)
            case "names":
                return self._names(node, path)
            case "duration":
                return self._duration(node, path)
            case "count" | "amount":
                return self._number(node, path, whole=key.shape == "count")

    def _text(self, node: yaml.Node, path: str, watch_comment: bool = False) -> str | None:
        if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:null":
            self.report(line_of(node), path, f"a text is expected, not {_kind(node)}")
            return None
        text = str(node.value).strip()
        if not text or len(text) > TEXT_CHARACTERS_MAX:
            what = f"longer than {TEXT_CHARACTERS_MAX} characters" if text else "empty"
            self.report(line_of(node), path, f"the text is {what}")
            return None
        if watch_comment and node.style is None:
            self._warn_of_comment(node, path)
        return text

    def _warn_of_comment(self, node: yaml.Node, path: str) -> None:
        rest = self._text_lines[node.end_mark.line : node.end_mark.line + 1]
        tail = rest[0][node.end_mark.column :].strip() if rest else ""
        if tail.startswith("#") and not tail.startswith("# "):
            message = f"YAML reads '{tail[:40]}' as a comment: quote the text to keep it"
            self.warnings.append(Problem(self.file, line_of(node), path, message))

    def _choice(self, node: yaml.Node, choices: Sequence[str], path: str) -> str | None:
        text = self._text(node, path)
        if text is None or text in choices:
            return text
        message = f"'{text[:80]}' is not known; {allowed_list(choices)}{nearest(text, choices)}"
        self.report(line_of(node), path, message)
        return None

    def _list(self, node: yaml.Node, key: Key, path: str) -> tuple[str, ...] | None:
        nodes = self.items(node, path)
        if nodes is None:
            return None
        found: list[str] = []
        for index, item in enumerate(nodes):
            place = f"{path}[{index}]"
            if key.shape == "types":
                text = self._type(item, place)
            elif key.shape == "choices":
                text = self._choice(item, key.choices, place)
            else:
                text = self._text(item, place)
            if text is not None and text in found:
                self.report(line_of(item), place, f"'{text}' stands in the list twice")
            elif text is not None:
                found.append(text)
        if key.shape == "types" and not nodes:
            self.report(line_of(node), path, "an empty list finds nothing: name a finding type")
        return tuple(found) if found or not nodes else None

    def _names(self, node: yaml.Node, path: str) -> dict[str, str] | None:
        """A mapping whose keys the author chooses: one name for another."""
        found: dict[str, str] = {}
        for name, key_node, value_node in self.pairs(node, path):
            if not name.strip():
                self.report(line_of(key_node), path, "a name is not empty")
                continue
            value = self._text(value_node, join(path, name[:80]))
            if value is not None:
                found[name] = value
        return found or None

    def _type(self, node: yaml.Node, path: str) -> str | None:
        text = self._text(node, path)
        if text is None or text in self._types:
            return text
        groups = sorted({name.split(".")[0] for name in self._types})
        self.report(
            line_of(node),
            path,
            f"unknown finding type '{text[:80]}'{nearest(text, self._types)}; "
            f"groups: {', '.join(groups)}; all of them: penstock check --types",
        )
        return None

    def _duration(self, node: yaml.Node, path: str) -> int | None:
        text = self._text(node, path)
        if text is None:
            return None
        match = _DURATION.match(text)
        seconds = int(match[1]) * SECONDS[match[2]] if match else 0
        if 0 < seconds <= DURATION_SECONDS_MAX:
            return seconds
        message = f"'{text[:40]}' is not a duration: 30s, 15m, 1h, 1d, 2w (at most 366d)"
        self.report(line_of(node), path, message)
        return None

    def _number(self, node: yaml.Node, path: str, whole: bool) -> int | Decimal | None:
        text = self._text(node, path)
        if text is None:
            return None
        match = _NUMBER.match(text)
        number = Decimal(text.replace("_", "")) if match else Decimal(0)
        if not 0 < number <= NUMBER_MAX or (whole and match and match[1]):
            kind = "a whole number" if whole else "a number"
            message = f"'{text[:40]}' is not {kind} above 0 (200_000 is fine)"
            self.report(line_of(node), path, message)
            return None
        return int(number) if whole else number


def line_of(node: yaml.Node) -> int:
    """The line a node starts in, from 1."""
    return int(node.start_mark.line) + 1


def join(path: str, name: str) -> str:
    """``path`` with one more key."""
    return f"{path}.{name}" if path else name


def with_parents(types: Sequence[str]) -> frozenset[str]:
    """``secret.jwt`` also makes ``secret`` a name a rule may use."""
    return frozenset(
        ".".join(parts[:count])
        for parts in (name.split(".") for name in types)
        for count in range(1, len(parts) + 1)
    )


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if node.tag == "tag:yaml.org,2002:null":
        return "nothing"
    return f"'{str(node.value)[:40]}'"


def _yaml_message(error: yaml.MarkedYAMLError) -> str:
    parts = [part for part in (error.context, error.problem) if part]
    return "not readable as YAML: " + ", ".join(parts) if parts else "not readable as YAML"
