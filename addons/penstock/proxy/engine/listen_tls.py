"""TLS on the proxy's own port: an HTTPS proxy, and callers known by their certificate.

Certificate, key and the authority of clients are files that others rotate (a mounted secret,
SPIRE's agent): each new connection uses what they hold now, running ones go on. A pair that
cannot be used leaves the one before in place. Never on the port of redirected connections.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

logger = logging.getLogger(__name__)

# How often the files are looked at, as those of credentials.
LOOK_SECONDS = 1.0
# A TLS handshake takes two round trips; who needs longer holds a connection for nothing.
HANDSHAKE_SECONDS = 10.0

SAY_SECONDS = 10.0  # a reason is logged once in so long: a scan of the port fills no disk
REFUSED = "client_tls"  # the code handshakes that failed are counted under

# When a file was changed: (name, modification time, size, inode).
Stamp = tuple[str, int, int, int]


class ListenTls:
    """Makes the TLS context of new connections out of files that change."""

    def __init__(
        self,
        certificate: Path,
        key: Path,
        client_ca: Callable[[], str],
        refused: Callable[[str, str], None],
    ) -> None:
        """``client_ca()`` is the authority of client certificates, "" when none are asked for.

        ``refused(code, host)`` counts handshakes that failed.

        Raises:
            OSError, ValueError: the files cannot be used.
        """
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        self._refused = refused
        self._said: dict[str, float] = {}  # by reason, of which the library has some hundred
        self._looked_at = monotonic()
        self._authority = client_ca()
        self._stamps = self._stamp()
        self._context = self._load(self._authority)

    def context(self) -> ssl.SSLContext:
        """What to give to the server: it stands for the newest context."""
        made = _Newest(ssl.PROTOCOL_TLS_SERVER)
        made.begin = self.begin
        return made

    def begin(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """The server's end of a new connection."""
        made = self.current().wrap_bio(*args, **kwargs)
        assert isinstance(made, _Watched)  # see _load
        made.failed = self.failed
        return made

    def failed(self, error: ssl.SSLError) -> None:
        """A handshake failed: the one place where it is known why. asyncio closes silently."""
        why = getattr(error, "verify_message", None) or _why(error)
        self._refused(REFUSED, "")
        if monotonic() - self._said.get(why, -SAY_SECONDS) >= SAY_SECONDS:
            self._said[why] = monotonic()
            logger.warning("TLS of the proxy's port: a client was turned away: %s", why)

    def current(self) -> ssl.SSLContext:
        """The context for a connection that begins now."""
        authority = self._client_ca()
        moved = authority != self._authority
        if not moved and monotonic() - self._looked_at < LOOK_SECONDS:
            return self._context
        self._looked_at = monotonic()
        stamps = self._stamp()
        if moved or stamps != self._stamps:
            self._stamps, self._authority = stamps, authority
            try:
                self._context = self._load(authority)
            except (OSError, ValueError) as error:
                logger.error("TLS of the proxy's port: %s", error)
                if moved:  # nobody is let in by an authority the policy has left
                    self._context = self._load("")
        return self._context

    def _load(self, authority: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # Each connection proves itself: nobody lives on in a session that was kept.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        context.sslobject_class = _Watched
        try:
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except OSError as error:
            raise ValueError(f"{self._certificate} and {self._key}: {_why(error)}") from None
        if authority:
            # Optional: who has none is told so in HTTP, where the reason can be read.
            context.verify_mode = ssl.CERT_OPTIONAL
            try:
                context.load_verify_locations(cafile=authority)
            except OSError as error:
                raise ValueError(f"callers.mtls.ca {authority}: {_why(error)}") from None
        return context

    def _stamp(self) -> tuple[Stamp, ...]:
        found = []
        for name in (str(self._certificate), str(self._key), self._authority):
            try:
                stat = Path(name).stat()
                found.append((name, stat.st_mtime_ns, stat.st_size, stat.st_ino))
            except OSError:
                found.append((name, 0, 0, 0))
        return tuple(found)


class _Newest(ssl.SSLContext):
    """Stands where a server keeps one context for all its life."""

    begin: Callable[..., ssl.SSLObject]

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a connection with the newest context."""
        return self.begin(*args, **kwargs)


class _Watched(ssl.SSLObject):
    """Tells when a handshake fails."""

    failed: Callable[[ssl.SSLError], None]

    def do_handshake(self) -> None:
        """A step of the handshake."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLSyscallError):
            raise
        except ssl.SSLError as error:
            self.failed(error)
            raise


def _no_password() -> str:
    """An encrypted key would ask at the terminal and wait."""
    raise ValueError("the key is encrypted: give one that is not")


def _why(error: OSError) -> str:
    """Without what the file holds."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not usable").replace("_", " ").lower()
    return error.strerror or "not usable"


def client_certificate(transport_ssl: Any) -> bytes | None:
    """The verified certificate of the client of a connection, in DER, if it showed one."""
    if transport_ssl is None:
        return None
    found: bytes | None = transport_ssl.getpeercert(binary_form=True)
    return found or None
