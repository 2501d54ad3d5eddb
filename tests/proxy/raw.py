"""Raw helpers for tests against a real process: a scripted TLS upstream and a raw client.

``RawUpstream`` serves exactly the bytes a test scripts, under certificates of its own test
CA for any names; ``running_proxy`` starts a real engine process; ``Client`` opens raw
tunnels through it. Everything is on loopback. Any test may
``from tests.proxy.raw import …``.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HERE = Path(__file__).parent
SOURCE = HERE.parent.parent / "addons"
TIMEOUT = 10.0

HOST = "api.openai.com"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class TestCa:
    """A certificate authority for upstreams; ``pem`` goes to --upstream-ca."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.pem = folder / "test-ca.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test upstream CA")])
        self._cert = (
            self._builder(name, name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(False, False, False, False, False, True, True, False, False),
                critical=True,
            )
            .sign(self._key, hashes.SHA256())
        )
        self.pem.write_bytes(self._cert.public_bytes(serialization.Encoding.PEM))

    @staticmethod
    def _builder(subject: x509.Name, issuer: x509.Name, key: Any) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=10))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )

    def context(self, *names: str) -> ssl.SSLContext:
        """A server context with a certificate for ``names``."""
        key = ec.generate_private_key(ec.SECP256R1())
        cert = (
            self._builder(x509.Name([]), self._cert.subject, key.public_key())
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=True
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        file = self.folder / f"{names[0]}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + cert.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    """Read up to the blank line; returns (head with blank line, bytes already read after it)."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return data, b""
        data += piece
    head, separator, rest = data.partition(b"\r\n\r\n")
    return head + separator, rest


def read_request(connection: socket.socket) -> bytes:
    """Read one whole request (content-length or chunked); b"" when the peer closed."""
    head, rest = read_head(connection)
    lower = head.lower()
    if b"\r\ntransfer-encoding: chunked" in lower:
        while not rest.endswith(b"0\r\n\r\n"):
            rest += connection.recv(65536)
        return head + rest
    length = 0
    for line in lower.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(rest) < length:
        piece = connection.recv(65536)
        if not piece:
            break
        rest += piece
    return head + rest


Script = Callable[[socket.socket, bytes, int], bool | None]


@dataclass
class RawUpstream:
    """A TLS (or plain) server on loopback that answers with what ``script`` sends.

    ``script(connection, request, number)`` is called for each request; it returns False to
    close the connection. ``script`` may also be the bytes to answer with.
    """

    script: Script | bytes = OK
    context: ssl.SSLContext | None = None
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    closed_at: list[float] = field(default_factory=list)

    def __enter__(self) -> RawUpstream:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ssl.SSLError):
            connection.settimeout(TIMEOUT)
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            self._open.append(connection)
            while request := read_request(connection):
                self.requests.append(request)
                if isinstance(self.script, bytes):
                    connection.sendall(self.script)
                elif self.script(connection, request, len(self.requests)) is False:
                    break
        self.closed_at.append(time.monotonic())
        with suppress(OSError):
            connection.close()


@dataclass
class RunningProxy:
    """A started engine process."""

    process: subprocess.Popen[str]
    port: int
    state_dir: Path
    lines: list[dict[str, Any]]
    log: Path

    @property
    def ca(self) -> Path:
        return self.state_dir / "ca.pem"

    def redirected(self) -> Client:
        """A bare TCP connection to the transparent port."""
        port = self.lines[0]["ready"]["transparent"][1]
        return Client(socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT))

    def reverse(self) -> Client:
        """A bare TCP connection to the port that stands for one server."""
        port = self.lines[0]["ready"]["reverse"][1]
        return Client(socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT))

    def stop(self, number: int = signal.SIGTERM, timeout: float = TIMEOUT) -> int:
        """Send a signal and wait; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout)

    def tunnel(self, host: str, port: int = 443, **wrapping: Any) -> Client:
        """CONNECT and, unless ``tls=False``, TLS under our CA."""
        client = self.raw()
        status = client.connect(host, port)
        assert status.startswith(b"HTTP/1.1 200"), status
        if wrapping.pop("tls", True):
            client.start_tls(wrapping.pop("server_name", host), wrapping.pop("ca", self.ca))
        return client

    def raw(self) -> Client:
        """A bare TCP connection to the proxy port."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)
        return Client(connection)


@dataclass
class Client:
    """A raw client connection; bytes in, bytes out."""

    socket: socket.socket
    _left: bytes = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with suppress(OSError):
            self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def connect(self, host: str, port: int) -> bytes:
        """Send CONNECT; returns the whole answer (head, and body of a refusal)."""
        authority = f"{host}:{port}".encode()
        self.send(b"CONNECT " + authority + b" HTTP/1.1\r\nHost: " + authority + b"\r\n\r\n")
        return self.answer(connect=True).raw

    def start_tls(self, server_name: str | None, ca: Path | str) -> None:
        context = ssl.create_default_context(cafile=str(ca))
        context.check_hostname = server_name is not None
        self.socket = context.wrap_socket(self.socket, server_hostname=server_name)

    def post(self, host: str, path: str = "/v1/x", body: bytes = b"{}", extra: bytes = b"") -> None:
        """Send a plain POST."""
        self.send(
            b"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n%s\r\n%s"
            % (path.encode(), host.encode(), len(body), extra, body)
        )

    def receive(self) -> bytes:
        """What is there next; b"" at the end of the connection."""
        if self._left:
            data, self._left = self._left, b""
            return data
        return self.socket.recv(65536)

    def until(self, mark: bytes) -> bytes:
        """Read until ``mark`` is in the data (or the end); returns all read."""
        data = b""
        while mark not in data:
            piece = self.receive()
            if not piece:
                break
            data += piece
        return data

    def rest(self) -> bytes:
        """Everything until the connection ends."""
        data = b""
        with suppress(ConnectionError, ssl.SSLError):
            while piece := self.receive():
                data += piece
        return data

    def answer(self, *, connect: bool = False, head: bool = False) -> Answer:
        """Read one answer by its framing; ``complete`` False when the connection ended first."""
        data = self.until(b"\r\n\r\n")
        raw_head, separator, rest = data.partition(b"\r\n\r\n")
        lines = raw_head.split(b"\r\n")
        headers = {
            name.strip().lower().decode("latin-1"): value.strip().decode("latin-1")
            for name, _, value in (line.partition(b":") for line in lines[1:])
        }
        status = int(lines[0].split()[1]) if separator else 0
        answer = Answer(status, headers, raw_head + separator, b"", bool(separator))
        if head or status in (101, 204, 304) or (connect and status == 200):
            self._left = rest
        elif "chunked" in headers.get("transfer-encoding", ""):
            self._read_chunks(answer, rest)
        elif "content-length" in headers:
            length = int(headers["content-length"])
            while len(rest) < length and (piece := self.receive()):
                rest += piece
            answer.body, self._left = rest[:length], rest[length:]
            answer.complete = len(answer.body) == length
        else:
            answer.body = rest + self.rest()
        answer.raw += answer.body
        return answer

    def _read_chunks(self, answer: Answer, rest: bytes) -> None:
        while True:
            while b"\r\n" not in rest:
                piece = self.receive()
                if not piece:
                    answer.complete = False
                    return
                rest += piece
            size_line, _, rest = rest.partition(b"\r\n")
            size = int(size_line, 16)
            while len(rest) < size + 2:
                piece = self.receive()
                if not piece:
                    answer.complete = False
                    return
                rest += piece
            if size == 0:
                self._left = rest[2:]
                return
            answer.chunks.append(rest[:size])
            answer.body += rest[:size]
            rest = rest[size + 2 :]


@dataclass
class Answer:
    """One answer as it was on the wire."""

    status: int
    headers: dict[str, str]
    raw: bytes
    body: bytes
    complete: bool
    chunks: list[bytes] = field(default_factory=list)

    @property
    def code(self) -> str:
        """``error.code`` of a JSON error page."""
        return str(json.loads(self.body)["error"]["code"])


Start = Callable[..., tuple[RunningProxy, RawUpstream]]
"""The ``start`` fixture: (script, host=HOST, tls=True, **options of running_proxy)."""


def wait_for(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until ``condition()`` is true; the test fails when it never is."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


@contextmanager
def running_proxy(
    state_dir: Path,
    *,
    connect_to: dict[str, int] | None = None,
    upstream_ca: Path | None = None,
    wants: dict[str, str] | None = None,
    limits: dict[str, float] | None = None,
    addon: str | None = None,
    on_error: str = "deny",
    redirected_from: tuple[str, int] | None = None,
    **settings: Any,
) -> Iterator[RunningProxy]:
    """A real engine process; ``connect_to`` maps "host:port" to a loopback port.

    ``addon`` is the name of a class in ``engine_addons.py`` beside this file;
    ``redirected_from`` the original destination of every transparent connection.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    asked = {
        "settings": {
            "state_dir": str(state_dir),
            "upstream_ca": str(upstream_ca) if upstream_ca else None,
            "connect_to": [f"{k}=127.0.0.1:{v}" for k, v in (connect_to or {}).items()],
            **settings,
        },
        "limits": limits or {},
        "wants": wants or {},
        "on_error": on_error,
        "redirected_from": redirected_from,
        "addon": f"{HERE / 'engine_addons.py'}:{addon}" if addon else None,
    }
    file = state_dir / "launch.json"
    file.write_text(json.dumps(asked))
    log = state_dir / "engine.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "launcher.py"), str(file)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"},
        )
    assert process.stdout
    first = process.stdout.readline()
    if not first:
        raise RuntimeError(f"the engine did not start: {log.read_text()}")
    lines: list[dict[str, Any]] = [json.loads(first)]

    def follow() -> None:
        assert process.stdout
        lines.extend(json.loads(line) for line in process.stdout)

    threading.Thread(target=follow, daemon=True).start()
    try:
        yield RunningProxy(process, lines[0]["ready"]["proxy"][1], state_dir, lines, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
