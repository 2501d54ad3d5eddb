"""Who calls, proved: the Proxy-Authorization of a connection checked against the policy.

A proof is remembered for a while under a keyed hash, so that only the first connection waits
for a password hash or a key set. Key sets are fetched in a worker thread, straight and not
through ourselves, renewed in the background, and once more when a token names an unknown key.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import TYPE_CHECKING

from penstock.caller.identity import CallerCheck, Identity, JwtCheck, NotProvedError

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

logger = logging.getLogger(__name__)

# Proofs remembered, and for how long: a withdrawn password or key counts after that.
PROOFS_MAX = 10_000
PROOF_SECONDS = 60.0
# How old a key set may get before it is renewed, and before it is no longer believed.
KEYS_RENEW_SECONDS = 600.0
KEYS_SECONDS_MAX = 3600.0
# How often a key set is fetched because of a token with an unknown key, or after a failure.
KEYS_AGAIN_SECONDS = 10.0
# Password hashes use 64 MiB each.
HASHES_AT_ONCE = 2
# A name under which the password is a token: most clients can only send Basic.
TOKEN_NAME = "bearer"  # noqa: S105 - a user name
MISSING = "no Proxy-Authorization"

Fetch = Callable[[JwtCheck], bytes]


def fetch_keys(check: JwtCheck) -> bytes:
    """A key set's bytes from its URL or file. Blocking; raises NotProvedError."""
    from penstock.route.credentials.ask import ask
    from penstock.route.credentials.fetched import SourceError
    from penstock.route.credentials.file import read

    try:
        if "://" in check.keys:
            return ask(check.keys, ca=check.ca)
        return read(check.keys).encode()
    except SourceError as error:
        raise NotProvedError(f"the issuer's keys are not to be had: {error}") from None


class Keys:
    """One issuer's key set, kept fresh."""

    def __init__(self, check: JwtCheck, fetch: Fetch, clock: Callable[[], float]) -> None:
        self._check = check
        self._fetch = fetch
        self._clock = clock
        self._set: KeySet | None = None
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self._error: NotProvedError | None = None

    def current(self) -> KeySet | None:
        """The keys if they may be believed; an old set is renewed on the side."""
        age = self._clock() - self._fetched_at
        if age > KEYS_RENEW_SECONDS:
            self._start()
        return self._set if age <= KEYS_SECONDS_MAX else None

    async def renewed(self) -> KeySet:
        """The keys after another fetch, unless there was one a moment ago.

        Raises:
            NotProvedError: there are none that may be believed.
        """
        self._start()
        if self._task is not None:
            await asyncio.shield(self._task)
        if self._set is None or self._clock() - self._fetched_at > KEYS_SECONDS_MAX:
            raise self._error or NotProvedError("the issuer's keys are not to be had")
        return self._set

    def _start(self) -> None:
        now = self._clock()
        if self._task is None and now - self._tried_at >= KEYS_AGAIN_SECONDS:
            self._tried_at = now
            self._task = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        from penstock.caller.tokens import key_set

        try:
            content = await asyncio.to_thread(self._fetch, self._check)
            self._set, self._fetched_at, self._error = key_set(content), self._clock(), None
        except NotProvedError as error:
            self._error = error
            logger.warning("callers: %s", error)
        finally:
            self._task = None


class Authentication:
    """Checks what callers bring. One per policy."""

    def __init__(
        self,
        check: CallerCheck,
        fetch: Fetch = fetch_keys,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.check = check
        self._clock = clock
        self._keys = Keys(check.jwt, fetch, clock) if check.jwt is not None else None
        self._proofs: OrderedDict[bytes, tuple[float, Identity]] = OrderedDict()
        self._hash_key = secrets.token_bytes(32)
        self._hashing: asyncio.Semaphore | None = None

    @property
    def challenges(self) -> list[str]:
        """``Proxy-Authenticate`` values (RFC 9110 section 11.7.1)."""
        if not self.check.passwords and self.check.jwt is None:
            return []  # nothing a header could say
        basic = ['Basic realm="penstock", charset="UTF-8"']
        return basic + (['Bearer realm="penstock"'] if self.check.jwt is not None else [])

    def certified(self, certificate: bytes | None) -> Identity | None:
        """Who the client certificate of a connection (DER) proves; None: there is no proof.

        Raises:
            NotProvedError: it is nobody's we let in.
        """
        if certificate is None or self.check.mtls is None:
            return None
        from penstock.caller.certificates import identity_of

        identity = identity_of(certificate, self.check.mtls)
        if not identity.holds(self._clock()):
            raise NotProvedError("the client certificate has expired")
        return identity

    def prove(self, header: str) -> Identity | Awaitable[Identity]:
        """Who sends this Proxy-Authorization: at once, or to be awaited.

        Raises:
            NotProvedError: it proves nothing.
        """
        digest = blake2b(header.encode("utf-8", "surrogatepass"), key=self._hash_key).digest()
        known = self._proofs.get(digest)
        now = self._clock()
        if known is not None and now < known[0] and known[1].holds(now):
            return known[1]
        scheme, _, value = header.strip().partition(" ")
        if scheme.lower() == "bearer":
            return self._token(value.strip(), digest)
        if scheme.lower() != "basic":
            raise NotProvedError("the scheme is neither Basic nor Bearer")
        name, password = basic_pair(value)
        if name == TOKEN_NAME and self.check.jwt is not None:
            return self._token(password, digest)
        if not self.check.passwords:
            raise NotProvedError("passwords are not accepted here")
        return self._password(name, password, digest)

    def _token(self, token: str, digest: bytes) -> Identity | Awaitable[Identity]:
        from penstock.caller.tokens import UnknownKeyError, check

        if self.check.jwt is None or self._keys is None:
            raise NotProvedError("tokens are not accepted here")
        keys = self._keys.current()
        if keys is None:
            return self._token_later(token, digest)
        try:
            return self._remember(digest, check(token, keys, self.check.jwt, self._clock()))
        except UnknownKeyError:
            return self._token_later(token, digest)

    async def _token_later(self, token: str, digest: bytes) -> Identity:
        from penstock.caller.tokens import check

        assert self._keys is not None and self.check.jwt is not None  # see _token
        keys = await self._keys.renewed()
        return self._remember(digest, check(token, keys, self.check.jwt, self._clock()))

    async def _password(self, name: str, password: str, digest: bytes) -> Identity:
        from penstock.caller.passwords import check

        if self._hashing is None:
            self._hashing = asyncio.Semaphore(HASHES_AT_ONCE)
        async with self._hashing:
            identity = await asyncio.to_thread(check, self.check.passwords, name, password)
        return self._remember(digest, identity)

    def _remember(self, digest: bytes, identity: Identity) -> Identity:
        self._proofs[digest] = self._clock() + PROOF_SECONDS, identity
        self._proofs.move_to_end(digest)
        if len(self._proofs) > PROOFS_MAX:
            self._proofs.popitem(last=False)
        return identity


def basic_pair(encoded: str) -> tuple[str, str]:
    """Name and password of a Basic credential (RFC 7617).

    Raises:
        NotProvedError: it is not one.
    """
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        raise NotProvedError("the Basic credential cannot be read") from None
    name, colon, password = decoded.partition(":")
    if not name or not colon:
        raise NotProvedError("the Basic credential cannot be read")
    return name, password
