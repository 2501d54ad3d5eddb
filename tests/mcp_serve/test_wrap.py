"""`penstock mcp wrap` as a client starts it: real SDK clients, real servers, hostile ones."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitResult

from mcp import Client
from penstock.cli.mcp_wrap import name_of
from penstock.gateway.stdio.child import Limits, clean_environment

SHOP = Path(__file__).with_name("shop.py")
SECONDS_MAX = 30
POLICY = """
version: 1
name: shop
mode: enforce
rules:
  - id: no-drops
    tools: {server: "stdio://shop", deny: [drop_table], refuse: FORM}
  - id: no-mail
    redact: {find: [pii.email], in: [both], with: placeholder}
"""


def wrapped(folder: Path, *command: str, form: str = "hidden", **more: str) -> list[str]:
    """The command line a client's configuration would hold."""
    policy = folder / "policy.yaml"
    policy.write_text(POLICY.replace("FORM", form))
    options = [f"--{name.replace('_', '-')}={value}" for name, value in more.items()]
    return [
        *(sys.executable, "-m", "penstock", "mcp", "wrap", f"--policy={policy}"),
        *(f"--state-dir={folder / 'state'}", "--name=shop", *options, "--", *command),
    ]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def start(command: list[str], **more: Any) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, **more)


async def answer_with_a_name(_context: Any, _parameters: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"name": "Ada"})


@pytest.mark.parametrize(("mode", "form"), [("legacy", "hidden"), ("auto", "advise")])
async def test_a_real_client_and_a_real_server(tmp_path: Path, mode: Any, form: str) -> None:
    """Lists are filtered, calls and progress work, a mail address never reaches the server."""
    kept = tmp_path / "kept"
    line = wrapped(tmp_path, sys.executable, str(SHOP), form=form, env=f"SHOP_FILE={kept}")
    secret = {**os.environ, "STRIPE_KEY": "sk_live_1", "PENSTOCK_STORE_X": "y"}
    server = StdioServerParameters(command=line[0], args=line[1:], env=secret)
    async with Client(
        stdio_client(server), mode=mode, elicitation_callback=answer_with_a_name
    ) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert "add" in names and "drop_table" not in names
        sum_ = await client.call_tool("add", {"a": 1, "b": 2})
        assert sum_.structured_content == {"result": 3}
        assert (await client.call_tool("slow", {})).content[0].text == "slow done"
        echoed = await client.call_tool("echo", {"text": "to ada@example.org"})
        assert echoed.content[0].text.endswith(":to ada@example.org")
        await client.call_tool("keep", {"text": "to ada@example.org"})
        assert "example.org" not in kept.read_text() and kept.read_text().startswith("to ")
        leaked = await client.call_tool("leak", {})
        assert "@example.org" not in leaked.content[0].text
        environment = (await client.call_tool("variables", {})).structured_content["result"]
        assert "PATH" in environment and not {"STRIPE_KEY", "PENSTOCK_STORE_X"} & set(environment)
        if mode == "legacy":  # the newer era has no questions in between over this transport
            assert (await client.call_tool("ask", {})).content[0].text == "accept Ada"
        if form == "advise":
            assert (await client.call_tool("drop_table", {"name": "t"})).is_error
        else:
            with pytest.raises(MCPError, match="Unknown tool: drop_table"):
                await client.call_tool("drop_table", {"name": "t"})
        assert "tea" in (await client.read_resource("shop://prices")).contents[0].text
    lines = map(json.loads, (tmp_path / "state" / "audit.jsonl").read_text().splitlines())
    records = [line for line in lines if line["type"] == "call"]
    tools = {r["mcp"]["tool"]: r for r in records if r.get("mcp", {}).get("tool")}
    assert tools["drop_table"]["verdict"] == "deny" and tools["add"]["outcome"] == "answered"
    assert tools["echo"]["findings"] and tools["echo"]["destination"]["host"] == "shop"


def test_exit_code_and_last_words_are_passed_on(tmp_path: Path) -> None:
    """What the server says before it ends arrives, a half line included; noise does not."""
    server = python("""
        import sys
        print("listening", flush=True)
        sys.stdin.readline()
        print('{"jsonrpc":"2.0","id":1,"result":{}}')
        sys.stdout.write('{"jsonrpc":"2.0","method":"notifications/bye"}')
        sys.stdout.flush()
        sys.exit(7)
    """)
    process = start(wrapped(tmp_path, *server))
    out, error = process.communicate(
        b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n', timeout=SECONDS_MAX
    )
    assert process.returncode == 7, error
    assert out == (
        b'{"jsonrpc":"2.0","id":1,"result":{}}\n{"jsonrpc":"2.0","method":"notifications/bye"}'
    )
    assert b"not passed on" in error and b"listening" not in error


def test_a_signal_reaches_the_server_and_what_it_started(tmp_path: Path) -> None:
    """As a shell would say: 128 + the signal's number; nothing is left running."""
    server = python("""
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print('{"jsonrpc":"2.0","method":"up","params":{"pid":%d}}' % child.pid, flush=True)
        time.sleep(600)
    """)
    process = start(wrapped(tmp_path, *server))
    assert process.stdout is not None
    pid = json.loads(process.stdout.readline())["params"]["pid"]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == 128 + signal.SIGTERM
    deadline = time.monotonic() + SECONDS_MAX
    while Path(f"/proc/{pid}").exists() and b"Z" not in state_of(pid):
        assert time.monotonic() < deadline, "the server's own child is still running"
        time.sleep(0.05)


def state_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return b"Z"


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_line_without_end_ends_the_conversation(tmp_path: Path, who: str) -> None:
    """Nobody's memory is filled, and the client is not left waiting."""
    if who == "client":
        server = python("import sys; [None for _ in sys.stdin]")
        said = b"x" * (2 * 1024 * 1024)
    else:
        server = python(
            "import sys; sys.stdout.write('x' * (2 << 20)); sys.stdout.flush(); sys.stdin.read()"
        )
        said = b""
    process = start(wrapped(tmp_path, *server, line_mib="1"))
    assert process.stdin is not None and process.stderr is not None
    with contextlib.suppress(BrokenPipeError):  # it did not wait for the rest
        process.stdin.write(said)
        process.stdin.flush()
    assert process.wait(timeout=SECONDS_MAX) == 1
    assert b"longer than 1048576 bytes" in process.stderr.read()


def test_what_cannot_be_started_is_said(tmp_path: Path) -> None:
    missing = subprocess.run(
        wrapped(tmp_path, "no-such-program-here"), capture_output=True, timeout=SECONDS_MAX
    )
    assert missing.returncode == 127 and b"no such command" in missing.stderr
    line = wrapped(tmp_path, sys.executable)
    (tmp_path / "policy.yaml").write_text("version: 1\nnme: x\n")
    wrong = subprocess.run(line, capture_output=True, timeout=SECONDS_MAX)
    assert wrong.returncode == 2 and b"policy.yaml:" in wrong.stderr


def test_a_server_is_named_by_what_is_run() -> None:
    """Launchers, options and versions are not its name."""
    assert name_of(("npx", "-y", "@modelcontextprotocol/server-memory@1.2")) == "server-memory"
    assert name_of(("/usr/bin/python3.13", "/opt/my shop.py")) == "my-shop"
    assert name_of(("uvx", "mcp-server-git")) == "mcp-server-git"
    assert name_of(("npx", "-y")) == "server"


def test_a_clean_environment_holds_what_was_named() -> None:
    environ = {"PATH": "/bin", "LC_ALL": "C", "TOKEN": "t", "AWS_SECRET": "s", "HTTPS_PROXY": "p"}
    given = clean_environment(environ, ["TOKEN", "MODE=x=y", "ABSENT"], ["HTTPS_PROXY"])
    assert given == {
        "PATH": "/bin", "LC_ALL": "C", "TOKEN": "t", "MODE": "x=y", "HTTPS_PROXY": "p"
    }  # fmt: skip


def test_limits_hold_in_the_child() -> None:
    """The process that sets them has them; this one keeps its own."""
    import resource

    code = "import resource as r; print(r.getrlimit(r.RLIMIT_NOFILE), r.getrlimit(r.RLIMIT_CORE))"
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    out = subprocess.run(
        [sys.executable, "-c", code],
        preexec_fn=Limits(open_files=64).set,
        capture_output=True,
        text=True,
    ).stdout
    assert out.strip() == "(64, 64) (0, 0)"
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_a_key_of_a_rule_is_in_a_variable_or_nothing_runs(tmp_path: Path) -> None:
    """The rule names the server; a key that nobody takes, or that cannot be had, is said."""
    seen = tmp_path / "seen"
    server = python(f"import os; open({str(seen)!r}, 'w').write(os.environ['SHOP_KEY'])")
    policy = textwrap.dedent(f"""
        version: 1
        name: keys
        mode: enforce
        rules:
          - id: shop-key
            credential: {{hosts: [shop], from: {{file: {tmp_path / "key"}}}}}
    """)

    def run(*options: str) -> subprocess.CompletedProcess[bytes]:
        line = wrapped(tmp_path, *server)
        (tmp_path / "policy.yaml").write_text(policy)
        at = line.index("--")
        line = [*line[:at], *options, *line[at:]]
        return subprocess.run(
            line, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS_MAX
        )

    unsaid = run()
    assert unsaid.returncode == 2 and b"say which variable takes it" in unsaid.stderr
    unknown = run("--key", "SHOP_KEY=other", "--key", "X=shop-key")
    assert unknown.returncode == 2 and b"no credential rule 'other'" in unknown.stderr
    assert run("--key", "SHOP_KEY=shop-key").returncode == 2
    assert not seen.exists(), "nothing ran without its key"
    (tmp_path / "key").write_text("the-real-key-0001\n")
    run("--key", "SHOP_KEY=shop-key")
    assert seen.read_text() == "the-real-key-0001"
