"""Proxy passwords: a file of ``name:hash`` lines, hashed with Argon2id (RFC 9106).

Checking one takes tens of milliseconds by design and releases the interpreter lock: call it
in a worker thread. A name nobody has costs the same as a wrong password.
"""

from __future__ import annotations

from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from penstock.caller.identity import Identity, NotProvedError

# Thousands of names; a longer file is not a list of passwords.
FILE_BYTES_MAX = 1024 * 1024
PASSWORD_CHARACTERS_MAX = 1024  # hashing takes longer for more
WRONG = "the name or the password is wrong"

_hasher = PasswordHasher()  # the library's defaults follow RFC 9106's second recommendation
# Of a password nobody knows: what an unknown name is checked against.
_NOBODY = (
    "$argon2id$v=19$m=65536,t=3,p=4$TOFP3A/xsW0alsbLowOt8w"
    "$a2CJCPCnoU7TJCoBVuU2/OgQAYDU+rOCaCzW31YQz4k"
)


def check(file: str, name: str, password: str) -> Identity:
    """The identity of ``name``. Blocking.

    Raises:
        NotProvedError: the pair is not in the file, or the file cannot be used.
    """
    stored = entries(file).get(name)
    try:
        _hasher.verify(stored or _NOBODY, password[:PASSWORD_CHARACTERS_MAX])
    except InvalidHashError:
        raise NotProvedError("the password file holds a line that is no Argon2 hash") from None
    except VerificationError:
        raise NotProvedError(WRONG) from None
    if stored is None:
        raise NotProvedError(WRONG)
    return Identity(name)


def entries(file: str) -> dict[str, str]:
    """The hashes of a password file by name. Empty lines and ``#`` lines are passed over.

    Raises:
        NotProvedError: it cannot be read.
    """
    try:
        with Path(file).open("rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
    except OSError:
        raise NotProvedError("the password file cannot be read") from None
    if len(content) > FILE_BYTES_MAX:
        raise NotProvedError("the password file is too large")
    lines = (line.strip() for line in content.decode("utf-8", "replace").splitlines())
    pairs = (line.partition(":") for line in lines if line and not line.startswith("#"))
    return {name.strip(): stored.strip() for name, _, stored in pairs}


def hashed(password: str) -> str:
    """A hash for the file."""
    return _hasher.hash(password)
