"""CEL conditions: names checked at load, evaluated per call, failing in a known way."""

from __future__ import annotations

import subprocess
import sys

import pytest
from making import NOON, call, tool_call

from penstock.exchange import Caller, Workload
from penstock.policy.call import Call
from penstock.policy.conditions.activation import FIELDS, Activation, sample
from penstock.policy.conditions.compile import Condition, compile_condition, make_context


def holds(source: str, called: Call | None = None, now: float = NOON) -> bool:
    condition = compile_condition(source)
    assert isinstance(condition, Condition), condition
    return condition.holds(make_context(Activation(called or call(), now).resolve))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('caller.workload.namespace == "prod" && time.hour < 5', False),
        ("time.hour == 12 && time.minute == 0 && time.weekday == 1", True),
        ('time.date == "2026-01-05"', True),
        ('call.model.startsWith("gpt-") && !call.stream', True),
        ('call.model in ["gpt-5-mini", "gpt-5"]', True),
        ('destination.provider == "openai" && destination.known', True),
        ('call.model.matches("^(gpt|o4)-")', True),
        ('call.tools.exists(t, t == "shell")', False),
        ('has(call.parameters.temperature) && call.parameters["temperature"] > 1.0', False),
        ('caller.process.pid == 0 && caller.user == ""', True),
        ("call.body_bytes > 50 ? true : false", True),
        ('"text with call.nothing in it" != call.model', True),
    ],
)
def test_condition_reads_the_call(source: str, expected: bool) -> None:
    """Fields, lists, maps and functions mean what CEL says; the unknown is "" or 0."""
    assert holds(source) is expected


def test_tool_arguments_are_readable() -> None:
    """``args`` are the arguments of an MCP tool call."""
    called = tool_call("read_file")
    assert called.exchange.mcp is not None
    called.exchange.mcp.arguments = {"path": "/srv/public/x"}
    assert holds('mcp.tool == "read_file" && args.path.startsWith("/srv/public/")', called)
    assert not holds("has(args.path)", call())


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("callr.user == 'x'", "unknown name 'callr'"),
        ("caller.workload.namespce == 'x'", "did you mean 'namespace'"),
        ('caller.workload["nme"] == "x"', "did you mean 'name'"),
        ("caller == 'x'", "'caller' is a group"),
        ("caller.user.name == 'x'", "'caller.user' is a text"),
        ("time.hour < '5'", "No such overload"),
        ("call.model", "true or false"),
        ("1 == 1", "reads nothing of the call"),
        ("nosuch(call.model)", "'nosuch'"),
        ("call.tools.exists(t, t == x)", "unknown name 'x'"),
        ("call.model ==", "not a condition"),
        ("", "not a condition"),
    ],
)
def test_mistake_is_found_at_load(source: str, words: str) -> None:
    """A condition that could never be evaluated is not loaded."""
    problems = compile_condition(source)
    assert isinstance(problems, list)
    assert any(words in problem for problem in problems), problems


def test_every_declared_field_has_a_value_of_its_type() -> None:
    """Declaration and activation cannot drift apart: each is the other's shape."""
    called = tool_call("x")
    activation = Activation(called, NOON)

    def compare(declared: object, value: object, path: str) -> None:
        if declared == {}:
            assert isinstance(value, dict), path
        elif isinstance(declared, dict):
            assert isinstance(value, dict) and value.keys() == declared.keys(), path
            for name in declared:
                compare(declared[name], value[name], f"{path}.{name}")
        else:
            example = sample_types[str(declared)]
            assert type(value) is example, path

    sample_types = {
        "text": str,
        "whole number": int,
        "true or false": bool,
        "list of texts": list,
    }
    for name, declared in FIELDS.items():
        compare(declared, activation.resolve(name), name)
    assert set(sample()) == set(FIELDS)


def test_missing_key_of_a_free_map_raises() -> None:
    """A label nobody set cannot be compared; the rule's on_error decides."""
    with pytest.raises(KeyError):
        holds("caller.workload.labels.team == 'a'")
    labelled = call()
    labelled.caller = Caller(workload=Workload(labels={"team": "a"}))
    assert holds("caller.workload.labels.team == 'a'", labelled)


def test_value_that_is_no_truth_raises() -> None:
    """A free map may hold anything; only true and false decide."""
    called = call()
    called.exchange.parameters = {"flag": 1}
    with pytest.raises(TypeError):
        holds("call.parameters.flag", called)


def test_engine_alone_is_loaded() -> None:
    """The package's own import brings a terminal interface: 30 MB no sidecar needs."""
    code = (
        "import sys; from penstock.policy.conditions.compile import compile_condition as c;"
        "c('time.hour < 5');"
        "print(sorted({'typer', 'prompt_toolkit', 'cel.cli'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
