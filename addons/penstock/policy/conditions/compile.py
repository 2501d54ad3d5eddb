"""``when:`` conditions in CEL: checked against the declared fields at load, compiled once.

Only the expression engine of the ``common-expression-language`` package is loaded (2.6 MB);
its package import would bring a terminal interface with it (32 MB, 0.7 s). Conditions read
values: no clock, no file, no network; what they can call besides CEL's own functions is in
``functions``. The engine's regular expressions run in linear time.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

from penstock.policy.conditions.activation import FIELDS, FREE_MAP, ROOTS, sample
from penstock.policy.conditions.functions import FUNCTIONS, function_problem
from penstock.policy.conditions.sql import known as known_dialect
from penstock.policy.language.problem import allowed_list, nearest

# Words that look like names in an expression and are not variables.
_LITERALS = frozenset(("true", "false", "null", "in"))


@dataclass(slots=True, frozen=True)
class Condition:
    """A compiled condition. ``roots`` are the variables it reads."""

    source: str
    roots: frozenset[str]
    _program: Any = field(repr=False, compare=False)

    def holds(self, context: Any) -> bool:
        """The condition's value for one call; raises where it cannot be evaluated."""
        try:
            value = self._program.execute(context)
        except BaseException as error:
            # A panic inside the engine arrives as a BaseException, which no handler expects.
            if type(error).__name__ == "PanicException":
                raise RuntimeError("the condition engine failed") from None
            raise
        if value is True or value is False:
            return value
        raise TypeError("a condition must be true or false")


@cache
def _engine() -> Any:
    """The compiled part of the ``cel`` package, without the package's own imports."""
    loaded = sys.modules.get("cel.cel")
    if loaded is not None:
        return loaded
    package = importlib.util.find_spec("cel")
    places = list(package.submodule_search_locations or ()) if package else []
    spec = importlib.machinery.PathFinder.find_spec("cel.cel", places)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("conditions need the package common-expression-language")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_context(resolve: Callable[[str], Any]) -> Any:
    """An evaluation context whose variables are asked for by name, when they are read."""
    context = _engine().Context()
    context.set_variable_resolver(resolve)
    for name, function in FUNCTIONS.items():
        context.add_function(name, function)
    return context


def compile_condition(source: str) -> Condition | list[str]:
    """The condition, or everything that is wrong with it in words."""
    try:
        program = _engine().compile(source)
    except ValueError as error:
        return [f"not a condition: {_first_line(str(error))}"]
    problems = list(_unknown_names(source, set(program.variables())))
    problems += _function_problems(source, program.functions())
    if problems:
        return problems
    roots = frozenset(program.variables()) & frozenset(ROOTS)
    condition = Condition(source, roots, program)
    if not roots:
        return ["the condition reads nothing of the call, so it is always the same"]
    wrong = _wrong_type(condition)
    return [wrong] if wrong else condition


def _function_problems(source: str, names: list[str]) -> Iterator[str]:
    """Misspelt functions of ours, those that cannot be used here, and unknown dialects of SQL."""
    for name in names:
        if why := function_problem(name):
            yield why
        elif name not in FUNCTIONS and (meant := nearest(name, FUNCTIONS)):
            yield f"no function '{name}'{meant}"
    for dialect in _dialects(list(_tokens(source))):
        if not known_dialect(dialect):
            yield f"no dialect of SQL is called '{dialect}'"


def _dialects(tokens: list[tuple[str, str]]) -> Iterator[str]:
    """The second arguments of ``sql_read_only``, where they are written out."""
    for index, token in enumerate(tokens):
        if token != ("name", "sql_read_only"):
            continue
        depth = 0
        for before, here in pairwise(tokens[index + 1 :]):
            depth += {"(": 1, ")": -1}.get(before[1], 0) if before[0] == "mark" else 0
            if depth == 0:
                break
            if depth == 1 and before == ("mark", ",") and here[0] == "text":
                yield here[1]


def _wrong_type(condition: Condition) -> str | None:
    """Try the condition on an example call: a wrong type shows here, not in production."""
    try:
        condition.holds(make_context(sample().get))
    except (KeyError, IndexError):
        return None  # a free-form map (labels, parameters, args) without the key
    except TypeError as error:
        return _first_line(str(error))
    except (ValueError, RuntimeError) as error:
        if "args" in condition.roots or "call" in condition.roots or "caller" in condition.roots:
            return _only_if_certain(str(error))
        return _first_line(str(error))
    return None


def _only_if_certain(text: str) -> str | None:
    """Values of free-form maps have no declared type: only name errors are certain there."""
    return _first_line(text) if "Undefined" in text else None


def _unknown_names(source: str, variables: set[str]) -> Iterator[str]:
    """Names in the expression that no call has, each with the nearest that exists."""
    chains = list(_chains(source))
    bound = {name for name in variables if _is_bound(name, source)}
    for chain in chains:
        root = chain[0]
        if root not in variables or root in bound:
            continue
        if root not in ROOTS:
            yield f"unknown name '{root}'; {allowed_list(ROOTS)}{nearest(root, ROOTS)}"
            continue
        yield from _unknown_fields(chain)


def _unknown_fields(chain: list[str]) -> Iterator[str]:
    here: Any = FIELDS
    for depth, name in enumerate(chain):
        if here == FREE_MAP:
            return
        owner = ".".join(chain[:depth])
        if not isinstance(here, dict):
            yield f"'{owner}' is a {here}, it has no field '{name}'"
            return
        if name not in here:
            yield (
                f"'{owner}' has no field '{name}'; {allowed_list(here, 30)}{nearest(name, here)}"
            )
            return
        here = here[name]
    if isinstance(here, dict) and here:
        whole = ".".join(chain)
        yield f"'{whole}' is a group, compare one of its fields; {allowed_list(here)}"


def _chains(source: str) -> Iterator[list[str]]:
    """``a.b.c`` and ``a["b"].c`` as name lists; the name of a called method is left out."""
    tokens = list(_tokens(source))
    index = 0
    while index < len(tokens):
        kind, text = tokens[index]
        before = tokens[index - 1] if index else ("", "")
        index += 1
        if kind != "name" or text in _LITERALS or before == ("mark", "."):
            continue
        chain = [text]
        while True:
            following = tokens[index : index + 3]
            shapes = [token[0] if token[0] != "mark" else token[1] for token in following]
            if shapes[:2] == [".", "name"]:
                chain.append(following[1][1])
                index += 2
            elif shapes == ["[", "text", "]"]:
                chain.append(following[1][1])
                index += 3
            else:
                break
        if tokens[index : index + 1] == [("mark", "(")]:
            chain.pop()
        if chain:
            yield chain


def _tokens(source: str) -> Iterator[tuple[str, str]]:
    """Names, quoted texts and single marks of an expression that is known to compile."""
    index = 0
    while index < len(source):
        character = source[index]
        start = index
        if character in "\"'":
            index = _end_of_text(source, index)
            yield "text", source[start:index].strip("\"'")
            continue
        index += 1
        if source.startswith("//", start):
            end = source.find("\n", start)
            index = len(source) if end < 0 else end
        elif character.isalpha() or character == "_":
            while index < len(source) and (source[index].isalnum() or source[index] == "_"):
                index += 1
            if source[index : index + 1] not in ('"', "'") or index - start > 2:
                yield "name", source[start:index]
        elif character.isdigit():
            while index < len(source) and (source[index].isalnum() or source[index] == "."):
                index += 1
            yield "number", source[start:index]
        elif not character.isspace():
            yield "mark", character


def _end_of_text(source: str, start: int) -> int:
    """The index behind the quoted text that starts at ``start``."""
    quote = source[start] * 3 if source.startswith(source[start] * 3, start) else source[start]
    raw = source[start - 1 : start].lower() == "r"
    index = start + len(quote)
    while index < len(source) and not source.startswith(quote, index):
        index += 2 if source[index] == "\\" and not raw else 1
    return min(index + len(quote), len(source))


def _is_bound(name: str, source: str) -> bool:
    """True for the variable of a macro: ``call.tools.exists(t, t == "x")``."""
    tokens = list(_tokens(source))
    return any(
        tokens[index : index + 3] == [("mark", "("), ("name", name), ("mark", ",")]
        and tokens[index - 1][1] in ("all", "exists", "exists_one", "map", "filter")
        for index in range(1, len(tokens))
    )


def _first_line(text: str) -> str:
    """The engine's first sentence; what follows it explains the engine."""
    line = text.strip().splitlines()[0] if text.strip() else "it cannot be evaluated"
    return line.split(". ")[0][:300]
