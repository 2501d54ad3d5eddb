"""Signed checkpoints of the audit log, in a form that other tools verify.

The text is C2SP's tlog-checkpoint (origin, number of lines, base64 root hash) in C2SP's
signed-note with one Ed25519 signature. The key is made once per state directory. Who can
read that directory can sign: a checkpoint proves something once a copy has left the
machine, which is why each one is also given to the log.

Sources: c2sp.org/tlog-checkpoint, c2sp.org/signed-note.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from penstock.record.files import write_atomically

ORIGIN = "penstock/audit"
ED25519 = b"\x01"  # signed-note's algorithm byte
NOTE_CHARACTERS_MAX = 4096  # a checkpoint is three lines and a signature


@dataclass(slots=True, frozen=True)
class Checkpoint:
    """What a verified note says: a log of ``size`` lines has this Merkle ``root``."""

    origin: str
    size: int
    root: bytes


def load_key(path: Path) -> Ed25519PrivateKey:
    """The key in ``path`` (32 bytes), made on first use. ValueError when it is not a key."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        key = Ed25519PrivateKey.generate()
        write_atomically(path, key.private_bytes_raw())
        return key
    return Ed25519PrivateKey.from_private_bytes(content)


def verifier_key(key: Ed25519PublicKey, origin: str = ORIGIN) -> str:
    """The public key as signed-note's one-line text: ``name+id+base64``."""
    raw = ED25519 + key.public_bytes_raw()
    return f"{origin}+{_key_id(origin, key).hex()}+{base64.b64encode(raw).decode()}"


def parse_verifier_key(text: str) -> tuple[str, Ed25519PublicKey]:
    """The inverse of ``verifier_key``: (origin, key). ValueError when the text is not one."""
    origin, _, rest = text.strip().partition("+")
    named_id, _, encoded = rest.partition("+")
    raw = base64.b64decode(encoded, validate=True)
    if raw[:1] != ED25519:
        raise ValueError("not an Ed25519 key")
    key = Ed25519PublicKey.from_public_bytes(raw[1:])
    if _key_id(origin, key).hex() != named_id:
        raise ValueError("the key does not match its id")
    return origin, key


def sign(key: Ed25519PrivateKey, size: int, root: bytes, origin: str = ORIGIN) -> str:
    """A signed checkpoint of a log of ``size`` lines."""
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    signature = _key_id(origin, key.public_key()) + key.sign(text.encode())
    return f"{text}\n— {origin} {base64.b64encode(signature).decode()}\n"


def verify(note: str, key: Ed25519PublicKey, origin: str = ORIGIN) -> Checkpoint:
    """Check the signature and read the note. ValueError says what is wrong with it."""
    text, separator, signatures = note[:NOTE_CHARACTERS_MAX].partition("\n\n")
    if not separator:
        raise ValueError("the checkpoint has no signature")
    text += "\n"
    wanted = _key_id(origin, key)
    for line in signatures.splitlines():
        name, _, encoded = line.removeprefix("— ").partition(" ")
        raw = base64.b64decode(encoded, validate=True)
        if name == origin and raw[:4] == wanted:
            try:
                key.verify(raw[4:], text.encode())
            except InvalidSignature:
                raise ValueError("the checkpoint's signature is wrong") from None
            named, size, root = text.splitlines()[:3]
            return Checkpoint(named, int(size), base64.b64decode(root, validate=True))
    raise ValueError("the checkpoint is not signed by this key")


def _key_id(origin: str, key: Ed25519PublicKey) -> bytes:
    return sha256(origin.encode() + b"\n" + ED25519 + key.public_bytes_raw()).digest()[:4]
