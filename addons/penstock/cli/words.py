"""How commands say numbers and why a file cannot be used."""

from __future__ import annotations

from pathlib import Path


def counted(number: int, noun: str) -> str:
    """``1 call``, ``2 calls``, ``no calls``."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def why(error: Exception, file: Path | str) -> str:
    """``FILE: No such file or directory``, without numbers and classes."""
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.filename or file}: {error.strerror or error}"
    if isinstance(error, UnicodeError):
        return f"{file}: not UTF-8 text"
    if isinstance(error, OSError):
        return str(error)  # a sentence of our own
    return f"{file}: {error}"
