"""The folder of an exported model: read once, compared with its digests, never fetched.

What is hashed is what is loaded: a file is read into memory and its bytes go both ways. A
model that keeps weights beside ``model.onnx`` is refused, because no digest covers those.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

MODEL, TOKENIZER, CONFIG = "model.onnx", "tokenizer.json", "config.json"
FILES = (MODEL, TOKENIZER, CONFIG)
# Bytes of each. One ONNX file holds at most 2 GiB; the tokenizers of models for a hundred
# languages have some 20 MB; a configuration is a page.
BYTES_MAX = {MODEL: 2**31 - 1, TOKENIZER: 64 * 1024 * 1024, CONFIG: 1024 * 1024}
# Labels of a model; name taggers have a few dozen.
LABELS_MAX = 256
# Tokens read at once: what BERT, RoBERTa and DeBERTa were made for. Time grows faster than
# this number, so a model that could read more gets its text in pieces all the same.
TOKENS_MAX = 512
TOKENS_MIN = 8


class EncoderError(Exception):
    """A model that cannot be used; the message says why, and nothing of any text."""


@dataclass(slots=True, frozen=True)
class Folder:
    """What was read of a folder. ``labels`` by the number the model gives them."""

    path: Path
    model: bytes
    tokenizer: bytes
    labels: tuple[str, ...]
    tokens_max: int
    independent: bool  # each label is true or not, whatever the others are


def read_folder(path: Path, digests: Mapping[str, str]) -> Folder:
    """The files of ``path``, each with the SHA-256 that ``digests`` names.

    Raises:
        EncoderError: a file is missing, too large, another than was named, or no use.
    """
    read = {name: _read(path / name) for name in FILES}
    found = {name: sha256(content).hexdigest() for name, content in read.items()}
    missing = [name for name in FILES if name not in digests]
    if missing:
        now = ", ".join(f"{name}: {found[name]}" for name in missing)
        raise EncoderError(f"no sha256 is named for {' and '.join(missing)}; they have now: {now}")
    for name in FILES:
        if found[name] != digests[name].lower():
            raise EncoderError(
                f"{name} is not the file the policy names: its sha256 is {found[name]}"
            )
    config = _config(read[CONFIG])
    return Folder(
        path=path,
        model=read[MODEL],
        tokenizer=read[TOKENIZER],
        labels=_labels(config),
        tokens_max=_tokens_max(config),
        independent=config.get("problem_type") == "multi_label_classification",
    )


def _read(path: Path) -> bytes:
    most = BYTES_MAX[path.name]
    try:
        if not path.is_file():
            raise EncoderError(f"there is no file {path}")
        if path.stat().st_size > most:
            raise EncoderError(f"{path.name} is larger than {most} bytes")
        with path.open("rb") as stream:
            content = stream.read(most + 1)
    except OSError as error:
        raise EncoderError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(content) > most:
        raise EncoderError(f"{path.name} is larger than {most} bytes")
    return content


def _config(content: bytes) -> dict[str, Any]:
    try:
        config = json.loads(content)
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise EncoderError(f"{CONFIG} is no JSON object")
    return config


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of ``id2label``, which must be numbered from 0 on without a gap."""
    named = config.get("id2label")
    if not isinstance(named, dict) or not 2 <= len(named) <= LABELS_MAX:
        raise EncoderError(f"{CONFIG} has no id2label with 2 to {LABELS_MAX} labels")
    labels = tuple(named.get(str(number)) for number in range(len(named)))
    if not all(isinstance(label, str) and label for label in labels):
        raise EncoderError(f'id2label of {CONFIG} is not numbered "0", "1", "2", … by names')
    return tuple(str(label) for label in labels)


def _tokens_max(config: Mapping[str, Any]) -> int:
    """How many tokens are read at once: what the model was made for, and no more than we ask."""
    positions = config.get("max_position_embeddings", TOKENS_MAX)
    if not isinstance(positions, int) or isinstance(positions, bool) or positions < TOKENS_MIN:
        raise EncoderError(f"max_position_embeddings of {CONFIG} is less than {TOKENS_MIN}")
    return min(TOKENS_MAX, positions)
