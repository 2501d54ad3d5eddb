"""The texts a model is trained and measured on: labelled rows, and sentences of our own.

Rows come from the development half only. Sentences and splices are written for this
project, in twenty languages, honest and hostile side by side.
"""

from __future__ import annotations

import gzip
import json
import random
import zlib
from dataclasses import dataclass
from pathlib import Path

import yaml

HERE = Path(__file__).parent
# Sources whose texts are what a tool returned.
FROM_TOOLS = {"agentdojo", "asb-observation", "bipia-email", "bipia-clean-email"}
# Texts used of a long row: an attack of a hundred windows counts as often as its beginning.
WINDOWS_PER_TEXT = 6
SEED = 20_26


@dataclass(slots=True)
class Text:
    """One labelled text. ``group``: near-duplicates share it; ``measured``: False for ours."""

    text: str
    label: int
    group: str
    source: str
    zone: str
    measured: bool = True

    @property
    def fold(self) -> int:
        return zlib.crc32(self.group.encode()) % 5


def rows(directory: Path, name: str) -> list[dict]:
    """The rows of one file, plain or gzipped."""
    plain = directory / f"{name}.jsonl"
    if plain.exists():
        lines = plain.read_text(encoding="utf-8").split("\n")
    else:
        with gzip.open(directory / f"{name}.jsonl.gz", "rt", encoding="utf-8") as stream:
            lines = stream.read().split("\n")
    return [json.loads(line) for line in lines if line.strip()]


def concept_words() -> dict[str, list[str]]:
    document = yaml.safe_load((HERE / "concepts.yaml").read_text(encoding="utf-8"))
    return {name: words.split() for name, words in document.items()}


def sentences() -> list[Text]:
    """Our own sentences with every topic and secret put in."""
    document = yaml.safe_load((HERE / "sentences.yaml").read_text(encoding="utf-8"))
    made = []
    for entry in document.values():
        for label, slot, values, kind in (
            (0, "{t}", entry["topics"], "honest"),
            (1, "{s}", entry["secrets"], "hostile"),
        ):
            for sentence in entry[kind]:
                for value in values if slot in sentence else [""]:
                    text = sentence.replace(slot, value)
                    made.append(Text(text, label, sentence, "sentences", "user", False))
    return made


def user_texts(directory: Path) -> list[Text]:
    """What the model for people's texts learns from: measured rows and helpers."""
    texts = [
        Text(row["text"], row["label"], _group(row), row["source"], "user")
        for row in rows(directory, "injection")
        if row["source"] not in FROM_TOOLS
    ]
    for row in rows(directory, "benign"):
        texts.append(Text(row["text"], 0, _group(row), f"benign:{row['source']}", "user"))
    for name, step in (("toxicity", 2), ("pii", 4), ("tool_poisoning", 1)):
        for row in rows(directory, name)[::step]:
            if name != "tool_poisoning" or not row["label"]:
                texts.append(Text(row["text"], 0, _group(row), f"other:{name}", "user", False))
    return texts + sentences()


def result_texts(directory: Path) -> list[Text]:
    """What tools returned; only measured, by the model for people's texts."""
    return [
        Text(row["text"], row["label"], _group(row), row["source"], "tool_result")
        for row in rows(directory, "injection")
        if row["source"] in FROM_TOOLS
    ]


def definition_texts(directory: Path) -> list[Text]:
    """Everything the tool poisoning model learns from: rows, and orders in honest tools."""
    texts = [
        Text(row["text"], row["label"], _group(row), row["source"], "tool_definition")
        for row in rows(directory, "tool_poisoning")
    ]
    honest = [text for text in texts if not text.label]
    orders = [text for text in sentences() if text.label]
    chance = random.Random(SEED)
    for order in orders:
        carrier = chance.choice(honest)
        texts.append(
            Text(
                f"{carrier.text[:400]}\n{order.text}",
                1,
                order.group,
                "spliced",
                carrier.zone,
                False,
            )
        )
    return texts


def _group(row: dict) -> str:
    return str(row["id"].split("#")[0])
