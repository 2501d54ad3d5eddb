"""The rows about leakage, output that does harm, tone, and what only a second look knows."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import train_toxicity
from evaluate_table import interval, line, rows
from training import measure

from penstock.detect import Detectors
from penstock.detect.answers.toxicity import TOXICITY, without_concepts
from penstock.detect.calls import CANDIDATE
from penstock.detect.hindsight.plugins import ENTROPY_SCORE, looked_at_again
from penstock.detect.stream import scanner
from penstock.exchange import Finding, Zone
from penstock.policy.state import Kept

SOURCES = ("hatecheck", "openai-moderation", "surge-toxicity")
# What one event of a stream brings, about: a word.
PIECE_CHARACTERS = 5


def answers(directory: Path) -> None:
    """Every row; models are trained anew without what they are measured on."""
    benign = [row["text"] for row in rows(directory, "benign")]
    tools = [row["text"] for row in rows(directory, "tool_poisoning") if not row["label"]]
    leakage = found_by(["leakage"])
    flagged("leakage, false alarms per 1000 benign texts", leakage, benign)
    flagged("leakage, false alarms per 1000 honest tool definitions", leakage, tools)
    flagged("leakage, flagged per 1000 descriptions of installed packages", leakage, described())
    flagged("unsafe, false alarms per 1000 benign texts", found_by(["unsafe"]), benign)
    tone(directory)
    in_streams(directory, benign)
    second_look(directory, benign)


def found_by(types: Sequence[str], zone: Zone = "assistant") -> Callable[[str], bool]:
    detectors = Detectors(types)
    return lambda text: bool(detectors.scan(text, zone))


def described() -> list[str]:
    """What the authors of the packages in this environment say of them."""
    texts = (one.metadata.get_payload() or "" for one in importlib.metadata.distributions())
    return sorted({str(text) for text in texts if str(text).strip()})


def flagged(measured: str, found: Callable[[str], bool], texts: Iterable[str]) -> None:
    hits = [found(text) for text in texts]
    low, _, high = interval(sum(hits), len(hits)).partition("-")
    between = f"{1000 * float(low):.1f}-{1000 * float(high):.1f}"
    line(measured, f"{1000 * sum(hits) / len(hits):.1f}", between, len(hits))


def share(measured: str, hits: Sequence[bool] | np.ndarray) -> None:
    total = int(np.sum(hits))
    line(measured, f"{total / max(1, len(hits)):.3f}", interval(total, len(hits)), len(hits))


def tone(directory: Path) -> None:
    """The toxicity model on texts it has not seen."""
    task = measure.prepared(train_toxicity.texts(directory), ["toxicity"], without_concepts())
    task.rules[:] = False  # there are no phrases beside it
    scores = measure.cross_validated(task)
    hit = scores >= train_toxicity.threshold(task, scores)
    labelled = np.isin(task.sources, SOURCES)
    positive = task.labels == 1
    share("toxicity, 5-fold by group, precision, labelled texts", positive[hit & labelled])
    share("toxicity, 5-fold by group, recall, labelled texts", hit[positive & labelled])
    for source in SOURCES:
        here = task.sources == source
        share(f"toxicity, 5-fold by group, recall, {source}", hit[here & positive])
        share(f"toxicity, 5-fold by group, false alarm share, {source}", hit[here & ~positive])
    honest = np.char.startswith(task.sources, "benign:")
    share("toxicity, 5-fold by group, false alarm share, benign texts", hit[honest])
    for source in SOURCES:
        unseen, _ = measure.without_source(task, source)
        share(f"toxicity, recall without training on {source}", unseen)


def in_streams(directory: Path, benign: Sequence[str]) -> None:
    """What of it a stream shows before its end: the model as it is, not its quality."""
    detectors = Detectors(["secret", "toxicity"])

    def ends(text: str) -> bool:
        hits: list[str] = []

        def react(finding: Finding, value: str) -> str:
            hits.append(finding.type)
            return Kept(value)

        reading = scanner(detectors, detectors.wanted, react)
        for start in range(0, len(text), PIECE_CHARACTERS):
            reading.feed(text[start : start + PIECE_CHARACTERS])
        reading.finish()
        return TOXICITY in hits

    def whole(text: str) -> bool:
        return any(one.type == TOXICITY for one in detectors.scan(text, "assistant"))

    texts = [row["text"] for row in rows(directory, "toxicity")]
    hostile = [text for text in texts if whole(text)]
    share("toxicity in streams, of what is found in whole texts", [ends(one) for one in hostile])
    flagged("toxicity in streams, false alarms per 1000 benign texts", ends, benign)


def second_look(directory: Path, benign: Sequence[str]) -> None:
    """What detect-secrets' plug-ins know and our rules do not."""
    detectors = Detectors(["secret", "pii.email"])

    def late(text: str) -> set[bool]:
        """Of which kinds a candidate is: by its form (True), by its looks (False)."""
        found = looked_at_again(text, detectors.scan(text))
        return {one.score > ENTROPY_SCORE for one in found if one.type == CANDIDATE}

    of_benign = [late(text) for text in benign]
    of_secrets = [late(row["text"]) for row in rows(directory, "secret") if row["label"]]
    share("second look, benign texts with a value by its form", [True in one for one in of_benign])
    share("second look, benign texts with one by its looks", [False in one for one in of_benign])
    share("second look, texts with secrets, by its form", [True in one for one in of_secrets])
