"""Real Redis or Valkey servers for the tests, on loopback, with nothing kept on disk.

One server, one behind a Sentinel with a replica, a cluster of three; with TLS where asked.
"""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.openssl import Pair

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")
needs_redis = pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed")

SECONDS_MAX = 30.0  # for whatever a loaded machine makes slow
CLUSTER_NODES = 3
SLOTS = 16384


def free_port() -> int:
    """A port nobody uses; below 55536, because a cluster node also takes it plus 10000."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            if port < 55_536:
                return port


def eventually(what: str, happens: Callable[[], bool], seconds: float = SECONDS_MAX) -> None:
    """Wait until ``happens``."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)


class RedisServer:
    """One server; it can be killed, paused, flushed, and started again empty."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        password: str = "",
        tls: tuple[Pair, Path] | None = None,
        port: int = 0,
    ) -> None:
        """``tls``: the server's pair and the authority it and its clients trust."""
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.folder = folder
        self.password = password
        self.tls = tls
        self.options = options
        if password:
            self.options += ("--requirepass", password, "--masterauth", password)
        scheme = "redis" if tls is None else "rediss"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start, empty, on the same port."""
        assert PROGRAM is not None  # see needs_redis
        command = [PROGRAM, *self.ports(), "--bind", "127.0.0.1", "--save", ""]
        command += ["--dir", str(self.folder), "--appendonly", "no", *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        eventually("redis-server answers", self.answers)
        self.first_heard_at = 0.0  # for whoever counts from its first message

    def start_blindly(self) -> None:
        """The same with a certificate that nobody here would accept."""
        assert PROGRAM is not None  # see needs_redis
        command = [PROGRAM, *self.ports(), "--bind", "127.0.0.1", "--save", ""]
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL)
        eventually("the port is open", self.listens)

    def listens(self) -> bool:
        """True when the port is open, whoever is behind it."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def ports(self) -> list[str]:
        """The options of the port, in clear or with TLS."""
        if self.tls is None:
            return ["--port", str(self.port)]
        pair, authority = self.tls
        files = ["--tls-cert-file", str(pair.certificate), "--tls-key-file", str(pair.key)]
        files += ["--tls-ca-cert-file", str(authority), "--tls-replication", "yes"]
        return ["--port", "0", "--tls-port", str(self.port), *files]

    def answers(self) -> bool:
        """True when it can be connected to."""
        assert self.process.poll() is None, "the server ended"
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def connect(self) -> socket.socket:
        """A connection, past TLS."""
        plain = socket.create_connection(("127.0.0.1", self.port), 5)
        if self.tls is None:
            return plain
        pair, authority = self.tls
        context = ssl.create_default_context(cafile=str(authority))
        context.load_cert_chain(pair.certificate, pair.key)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def command(self, *words: str) -> str:
        """What the server answers to one command, in the protocol's own form."""
        with self.connect() as connection:
            if self.password:
                connection.sendall(resp("AUTH", self.password))
                assert connection.recv(100).startswith(b"+OK")
            connection.sendall(resp(*words))
            answer = connection.recv(65536)
            while answer[:1] in b"$*" and not answer.endswith(b"\r\n"):
                answer += connection.recv(65536)
            return answer.decode()

    def kill(self) -> None:
        """Gone at once, with all it knew."""
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Connections stay open and nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Answers what has queued up meanwhile."""
        self.process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        """Everything is forgotten."""
        assert self.command("FLUSHALL").startswith("+OK")

    def stop(self) -> None:
        """The end."""
        self.process.send_signal(signal.SIGCONT)
        self.kill()


def resp(*words: str) -> bytes:
    """A command in the protocol of Redis."""
    parts = [f"*{len(words)}\r\n".encode()]
    parts += [f"${len(word.encode())}\r\n{word}\r\n".encode() for word in words]
    return b"".join(parts)


class SentinelServers:
    """A master, its replica, and a Sentinel that makes the replica master when the first dies."""

    def __init__(
        self,
        folder: Path,
        *,
        password: str = "",
        sentinel_password: str = "",
        tls: tuple[Pair, Path] | None = None,
    ) -> None:
        at_once = ("--repl-diskless-sync-delay", "0")
        self.master = RedisServer(folder / "master", *at_once, password=password, tls=tls)
        follow = ("--replicaof", f"127.0.0.1 {self.master.port}")
        self.replica = RedisServer(folder / "replica", *follow, password=password, tls=tls)
        # Before Sentinel begins: it asks the master at once, and then every ten seconds.
        link = "state=online"
        eventually("the replica follows", lambda: link in self.master.command("INFO"))
        self.port = free_port()
        (folder / "sentinel").mkdir()
        file = folder / "sentinel" / "sentinel.conf"
        lines = [
            f"sentinel monitor limits 127.0.0.1 {self.master.port} 1",
            "sentinel down-after-milliseconds limits 300",
            "sentinel failover-timeout limits 3000",
        ]
        if password:
            lines.append(f'sentinel auth-pass limits "{password}"')
        file.write_text("\n".join(lines) + "\n")
        self.sentinel = _Sentinel(
            folder / "sentinel", str(file), password=sentinel_password, tls=tls, port=self.port
        )
        scheme = "redis" if tls is None else "rediss"
        self.url = f"{scheme}+sentinel://127.0.0.1:{self.port}/limits"
        known = "slaves=1"
        eventually("the replica is known", lambda: known in self.sentinel.command("INFO"))

    def stop(self) -> None:
        """The end."""
        for server in (self.sentinel, self.master, self.replica):
            server.stop()


class _Sentinel(RedisServer):
    """The server in its other role: options stand in a file, which it rewrites."""

    def start(self) -> None:
        assert PROGRAM is not None  # see needs_redis
        file, *_ = self.options
        command = [PROGRAM, file, "--sentinel", *self.ports(), "--bind", "127.0.0.1"]
        if self.password:
            command += ["--requirepass", self.password]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        eventually("the sentinel answers", self.answers)


class ClusterServers:
    """Three masters that share the slots."""

    def __init__(
        self, folder: Path, *, password: str = "", tls: tuple[Pair, Path] | None = None
    ) -> None:
        mode = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"]
        if tls is not None:
            mode += ["--tls-cluster", "yes"]
        self.nodes = [
            RedisServer(folder / str(number), *mode, password=password, tls=tls)
            for number in range(CLUSTER_NODES)
        ]
        first, *others = self.nodes
        for number, node in enumerate(self.nodes):
            begin = number * SLOTS // CLUSTER_NODES
            end = (number + 1) * SLOTS // CLUSTER_NODES - 1
            node.command("CLUSTER", "ADDSLOTSRANGE", str(begin), str(end))
        for node in others:
            first.command("CLUSTER", "MEET", "127.0.0.1", str(node.port))
        for node in self.nodes:
            eventually("the cluster agrees", lambda node=node: agrees(node))  # type: ignore[misc]
        scheme = "redis" if tls is None else "rediss"
        self.url = f"{scheme}+cluster://127.0.0.1:{first.port}"

    def owner(self, key: str) -> RedisServer:
        """The node that has a key's slot."""
        slot = int(self.nodes[0].command("CLUSTER", "KEYSLOT", key).strip(":\r\n"))
        return self.nodes[slot * CLUSTER_NODES // SLOTS]

    def stop(self) -> None:
        """The end."""
        stop_all(self.nodes)


def agrees(node: RedisServer) -> bool:
    """True when a node thinks that all slots are served."""
    state = node.command("CLUSTER", "INFO")
    return "cluster_state:ok" in state and f"cluster_known_nodes:{CLUSTER_NODES}" in state


def stop_all(servers: Sequence[RedisServer]) -> None:
    """Stop each."""
    for server in servers:
        server.stop()
