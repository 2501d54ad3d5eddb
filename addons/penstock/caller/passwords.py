"""Proxy passwords: a file of ``name:hash`` lines, hashed with Argon2id (RFC 9106) or bcrypt.

Checking one takes tens of milliseconds by design and releases the interpreter lock: call it
in a worker thread. A name nobody has costs the same as a wrong password.
"""

from __future__ import annotations

import re
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from penstock.caller.identity import Identity, NotProvedError

# Thousands of names; a longer file is not a list of passwords.
FILE_BYTES_MAX = 1024 * 1024
PASSWORD_CHARACTERS_MAX = 1024  # hashing takes longer for more
WRONG = "the name or the password is wrong"
NO_HASH = "the password file holds a line that is neither an Argon2 nor a bcrypt hash"
# What `htpasswd -B` and the libraries write: variant, cost, 22 characters of salt, 31 of hash.
BCRYPT = re.compile(r"\$2[abxy]\$(\d\d)\$[./A-Za-z0-9]{53}")
# Each step doubles the time; 12 takes a quarter of a second, 16 four. More would hold a worker.
BCRYPT_COST_MAX = 16
BCRYPT_BYTES_MAX = 72  # the algorithm reads no more of a password, and the library refuses more

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
    known = entries(file)
    stored = known.get(name)
    # Somebody else's hash takes the same time as the caller's own would.
    against = stored if stored is not None else next(iter(known.values()), _NOBODY)
    if not matches(against, password[:PASSWORD_CHARACTERS_MAX]) or stored is None:
        raise NotProvedError(WRONG)
    return Identity(name)


def matches(stored: str, password: str) -> bool:
    """True when ``password`` is what was hashed.

    Raises:
        NotProvedError: ``stored`` is no hash we know.
    """
    if (found := BCRYPT.fullmatch(stored)) is not None:
        import bcrypt

        if int(found[1]) > BCRYPT_COST_MAX:
            raise NotProvedError(f"a bcrypt hash has a cost above {BCRYPT_COST_MAX}")
        try:
            return bcrypt.checkpw(password.encode()[:BCRYPT_BYTES_MAX], stored.encode())
        except ValueError:  # a salt or a cost the library does not take
            raise NotProvedError(NO_HASH) from None
    try:
        return _hasher.verify(stored, password)
    except InvalidHashError:
        raise NotProvedError(NO_HASH) from None
    except VerificationError:
        return False


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
