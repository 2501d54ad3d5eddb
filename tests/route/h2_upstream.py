"""An upstream that speaks HTTP/2 and fails in the ways of HTTP/2. Made of the h2 library."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events

SECONDS = 15.0


@dataclass
class H2Upstream:
    """``does(upstream's connection, stream id, request body)`` answers each request."""

    does: Callable[[H2Answer], None]
    context: ssl.SSLContext
    requests: list[bytes] = field(default_factory=list)

    def __enter__(self) -> H2Upstream:
        self.context.set_alpn_protocols(["h2"])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with suppress(OSError, ssl.SSLError):
            plain.settimeout(SECONDS)
            connection = self.context.wrap_socket(plain, server_side=True)
            assert connection.selected_alpn_protocol() == "h2"
            config = h2.config.H2Configuration(client_side=False)
            engine = h2.connection.H2Connection(config)
            engine.initiate_connection()
            connection.sendall(engine.data_to_send())
            bodies: dict[int, bytes] = {}
            while data := connection.recv(65536):
                for event in engine.receive_data(data):
                    if isinstance(event, h2.events.DataReceived):
                        bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
                        engine.acknowledge_received_data(
                            event.flow_controlled_length, event.stream_id
                        )
                    elif isinstance(event, h2.events.StreamEnded):
                        self.requests.append(bodies.get(event.stream_id, b""))
                        answer = H2Answer(connection, engine, event.stream_id, self.requests[-1])
                        self.does(answer)
                connection.sendall(engine.data_to_send())
        with suppress(OSError):
            plain.close()


@dataclass
class H2Answer:
    """One request's answer, piece by piece."""

    connection: ssl.SSLSocket
    engine: h2.connection.H2Connection
    stream: int
    request: bytes

    @property
    def streamed(self) -> bool:
        """True when the caller asked for a stream."""
        return b'"stream": true' in self.request

    def head(self, status: int, kind: str) -> None:
        """The answer's head."""
        fields = [(":status", str(status)), ("content-type", kind)]
        self.engine.send_headers(self.stream, fields)
        self.flush()

    def body(self, content: bytes, end: bool = True) -> None:
        """More of the body."""
        self.engine.send_data(self.stream, content, end_stream=end)
        self.flush()

    def reset(self) -> None:
        """RST_STREAM with REFUSED_STREAM: nothing was done."""
        self.engine.reset_stream(self.stream, 7)
        self.flush()

    def go_away(self) -> None:
        """GOAWAY, and the connection is closed."""
        self.engine.close_connection(2)
        self.flush()
        self.connection.close()

    def flush(self) -> None:
        """Send what stands ready."""
        self.connection.sendall(self.engine.data_to_send())
