"""The texts a model is trained and measured on: labelled rows, sentences of our own, and
what the installed packages say of themselves.

Rows come from the development half only. Sentences and splices are written for this
project, honest and hostile side by side.
"""

from __future__ import annotations

import gzip
import json
import random
import sysconfig
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from penstock.exchange import Zone

HERE = Path(__file__).parent
# Sources whose texts are what a tool returned.
FROM_TOOLS = {"agentdojo", "asb-observation", "bipia-email", "bipia-clean-email"}
# Our sentences stand in two files: by intent, and by what people ask for every day.
SENTENCES = ("sentences.yaml", "everyday.yaml")
# The part of them that is written into documents, for a model that reads them.
IN_DOCUMENTS = "sentences:hostile:documents"
SEED = 20_26
# What of an installed package is read: its description, a few of its files, the beginning.
FILES_PER_PACKAGE = 6
DOCUMENT_CHARACTERS = 4000
DOCUMENT_KINDS = (".py", ".md", ".json", ".txt", ".yaml", ".rst", ".toml", ".html", ".js")
# Honest texts that each order of ours is written into, and how many wordings it has.
SPLICES = 2
WORDINGS = 3
CARRIER_CHARACTERS = 1500


@dataclass(slots=True)
class Text:
    """One labelled text. ``group``: near-duplicates share it; ``measured``: False for ours;
    ``attack``: where the order stands in a text that is honest otherwise."""

    text: str
    label: int
    group: str
    source: str
    zone: Zone
    measured: bool = True
    attack: tuple[int, int] | None = None

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
    made = []
    for name in SENTENCES:
        document = yaml.safe_load((HERE / name).read_text(encoding="utf-8"))
        for title, entry in document.items():
            for label, slot, values, kind in (
                (0, "{t}", entry["topics"], "honest"),
                (1, "{s}", entry["secrets"], "hostile"),
            ):
                for sentence in entry[kind]:
                    for value in values if slot in sentence else [""]:
                        text = sentence.replace(slot, value)
                        source = f"sentences:{kind}:{title}"
                        made.append(Text(text, label, sentence, source, "user", False))
    return made


def result_sentences() -> list[Text]:
    """Results and orders of our own; each order also inside honest texts."""
    document = yaml.safe_load((HERE / "results.yaml").read_text(encoding="utf-8"))
    slots = {"{t}": "topics", "{s}": "secrets", "{a}": "places"}
    chance = random.Random(SEED)

    def worded(pattern: str) -> Iterator[str]:
        for _ in range(WORDINGS if "{" in pattern else 1):
            text = pattern
            for slot, name in slots.items():
                text = text.replace(slot, chance.choice(document[name]))
            yield text

    def ours(text: str, label: int, pattern: str) -> Text:
        return Text(text, label, pattern, "results", "tool_result", False)

    honest = [ours(text, 0, pattern) for pattern in document["honest"] for text in worded(pattern)]
    carriers = [text.text for text in honest] + [text.text for text in documents()]
    made = honest
    for pattern in document["orders"]:
        for order in worded(pattern):
            made.append(ours(order, 1, pattern))
            for _ in range(SPLICES):
                carrier = chance.choice(carriers)[:CARRIER_CHARACTERS]
                at = chance.choice([0, len(carrier), chance.randrange(len(carrier))])
                text = f"{carrier[:at]} {order}\n{carrier[at:]}"
                attack = (at + 1, at + 1 + len(order))
                made.append(replace(ours(text, 1, pattern), attack=attack))
    return made


def documents() -> list[Text]:
    """Descriptions and files of the installed packages: honest texts as tools return them."""
    site = Path(sysconfig.get_path("purelib"))
    found = []
    for folder in sorted(site.glob("*.dist-info")):
        name = folder.name.split("-")[0]
        if name == "penstock":
            continue
        _, _, description = (folder / "METADATA").read_text("utf-8", "ignore").partition("\n\n")
        members = [line.split(",")[0] for line in (folder / "RECORD").read_text().split("\n")]
        members = sorted(
            (path for path in members if path.endswith(DOCUMENT_KINDS)),
            key=lambda path: zlib.crc32(path.encode()),
        )
        texts = (
            (site / path).read_text("utf-8", "ignore")
            for path in members
            if (site / path).is_file()
        )
        long = [text for text in texts if len(text) >= 200][:FILES_PER_PACKAGE]
        group = f"package/{name}"
        for kind, text in [("description", description), *(("file", text) for text in long)]:
            if len(text) >= 200:
                beginning = text[:DOCUMENT_CHARACTERS]
                found.append(Text(beginning, 0, group, f"document:{kind}", "tool_result", False))
    return found


def user_texts(directory: Path) -> list[Text]:
    """What the model for people's texts learns from: measured rows and helpers."""
    texts = [
        text for text in _rows(directory, "injection", "user") if text.source not in FROM_TOOLS
    ]
    return texts + _honest(directory, "user") + sentences()


def result_texts(directory: Path) -> list[Text]:
    """What the model for tools' results learns from. Prompts of people are honest there:
    they do not order the model that reads them about."""
    texts = [
        text for text in _rows(directory, "injection", "tool_result") if text.source in FROM_TOOLS
    ]
    ours = [
        replace(text, zone="tool_result", measured=False)
        for text in (*_honest(directory, "tool_result"), *sentences())
        if not text.label or text.source == IN_DOCUMENTS
    ]
    return texts + ours + result_sentences()


def _honest(directory: Path, zone: Zone) -> list[Text]:
    """Benign rows, texts of other kinds, documents: nothing in them is an attack."""
    texts = [
        replace(text, source=f"benign:{text.source}") for text in _rows(directory, "benign", zone)
    ]
    for name, step in (("toxicity", 2), ("pii", 4), ("tool_poisoning", 1)):
        for text in _rows(directory, name, zone)[::step]:
            if name != "tool_poisoning" or not text.label:
                source = f"other:{name}"
                texts.append(replace(text, label=0, source=source, measured=False, attack=None))
    return texts + [replace(text, zone=zone) for text in documents()]


def definition_texts(directory: Path) -> list[Text]:
    """Everything the tool poisoning model learns from: rows, and orders in honest tools."""
    texts = [
        replace(text, attack=None) for text in _rows(directory, "tool_poisoning", "tool_definition")
    ]
    honest = [text for text in texts if not text.label]
    orders = [text for text in sentences() if text.label]
    chance = random.Random(SEED)
    for order in orders:
        carrier = chance.choice(honest)
        text = f"{carrier.text[:400]}\n{order.text}"
        texts.append(Text(text, 1, order.group, "spliced", carrier.zone, False))
    return texts


def _rows(directory: Path, name: str, zone: Zone) -> list[Text]:
    texts = []
    for row in rows(directory, name):
        group = str(row["id"].split("#")[0])
        attack = tuple(row["spans"][0][:2]) if row["spans"] and row["label"] else None
        texts.append(Text(row["text"], row["label"], group, row["source"], zone, attack=attack))
    return texts
