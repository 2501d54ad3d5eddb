"""tiktoken without a network: its vocabularies come out of this package, checked before use.

Left to itself tiktoken looks into a cache directory, deletes a file that is not what it expects
and fetches it anew. It never gets so far: its definitions of the encodings are evaluated with
our loader in the place of its own, so there is no path, no cache and no request.

Loading takes half a second to a second and 45 to 75 MB: only when a limit asks for exact
counts, and in a worker thread.
"""

from __future__ import annotations

import base64
import lzma
from hashlib import sha256
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiktoken import Encoding

FOLDER = Path(__file__).parent / "vocabularies"
# What tiktoken expects of the files it would fetch; compared with its own word for it, too.
SHA256 = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}
# Both hold a token of each single byte, so that every text can be encoded.
TOKENS = {"cl100k_base": 100_256, "o200k_base": 199_998}
# Unpacked, the larger has 1.6 MB; a file that unpacks to more is not ours.
UNPACKED_BYTES_MAX = 4 * 1024 * 1024

# Which vocabulary a model has, by the beginning of its name; the longest that fits. Other
# providers keep theirs to themselves, and OpenAI's first models have others.
_MODELS = {
    "o1": "o200k_base",
    "o3": "o200k_base",
    "o4": "o200k_base",
    "gpt-5": "o200k_base",
    "gpt-4.": "o200k_base",
    "gpt-4o": "o200k_base",
    "chatgpt-4o": "o200k_base",
    "gpt-oss": "o200k_base",
    "codex-mini": "o200k_base",
    "computer-use": "o200k_base",
    "gpt-4": "cl100k_base",
    "gpt-3.5": "cl100k_base",
    "gpt-35": "cl100k_base",
    "text-embedding-3": "cl100k_base",
    "text-embedding-ada-002": "cl100k_base",
    "davinci-002": "cl100k_base",
    "babbage-002": "cl100k_base",
}


class VocabularyError(Exception):
    """A vocabulary is missing, damaged, or not the one tiktoken asks for."""


def vocabulary_of(model: str) -> str | None:
    """The name of the vocabulary a model's tokens come from; None where nobody knows."""
    name = model.lower().rpartition("/")[2].removeprefix("ft:")
    fitting = [start for start in _MODELS if name.startswith(start)]
    return _MODELS[max(fitting, key=len)] if fitting else None


def unpack(name: str, packed: bytes) -> list[bytes]:
    """The tokens of a packed vocabulary in the order of their ranks.

    Raises:
        VocabularyError: they are not what tiktoken asks for.
    """
    count = TOKENS[name]
    try:
        content = lzma.LZMADecompressor().decompress(packed, UNPACKED_BYTES_MAX)
    except lzma.LZMAError:
        raise VocabularyError(f"the vocabulary {name} is damaged") from None
    tokens, at = [], count
    for length in content[:count]:
        tokens.append(content[at : at + length])
        at += length
    canonical = sha256()
    for rank, token in enumerate(tokens):
        canonical.update(b"%b %d\n" % (base64.b64encode(token), rank))
    if at != len(content) or canonical.hexdigest() != SHA256[name]:
        raise VocabularyError(f"the vocabulary {name} is damaged")
    return tokens


def load(name: str, folder: Path = FOLDER) -> Encoding:
    """The encoding of that name. Blocking.

    Raises:
        VocabularyError: it cannot be had.
    """
    try:
        packed = (folder / f"{name}.xz").read_bytes()
    except OSError:
        raise VocabularyError(f"the vocabulary {name} cannot be read") from None
    tokens = unpack(name, packed)

    def ranks(_source: str, expected_hash: str | None = None) -> dict[bytes, int]:
        """Stands where tiktoken's own loader does."""
        if expected_hash != SHA256[name]:
            raise VocabularyError(f"tiktoken asks for another vocabulary {name}")
        return {token: rank for rank, token in enumerate(tokens)}

    import tiktoken
    from tiktoken_ext import openai_public

    theirs = getattr(openai_public, name)
    ours = FunctionType(theirs.__code__, {**vars(openai_public), "load_tiktoken_bpe": ranks})
    definition: dict[str, Any] = ours()
    return tiktoken.Encoding(**definition)
