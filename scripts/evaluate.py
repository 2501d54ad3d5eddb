"""Measure detection on labelled texts; print the table and write it into docs/detection.md.

Usage: scripts/evaluate [--corpora DIR] [--show MEASURE] [--only WORD] [--print]

DIR holds JSON lines files (`secret`, `pii`, `benign`, `injection`, `tool_poisoning`), one row
{"id", "kind", "text", "spans": [[start, end, type]] | null, "label", "source"} each.
Rules are measured as they are; models are trained anew without what they are measured on.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "addons"))

from evaluate_answers import answers
from evaluate_model import FROM_TOOLS, learned
from evaluate_table import ANSWERS, HEAD, interval, line, rows, written

from penstock.detect import Detectors, known_types
from penstock.exchange import Finding, Leaf, Zone, matches_type
from penstock.policy.seams import Seams

# Types of the structured part of the PII sets; names, places and dates need a language model.
STRUCTURED = {
    "CREDIT_CARD", "PHONE_NUMBER", "IBAN_CODE", "EMAIL_ADDRESS", "US_SSN", "IP_ADDRESS",
}  # fmt: skip
FILE_CHARACTERS_MAX = 1_000_000
# Below it a finding says of itself that it probably is nobody's (documentation domains).
SCORE_MIN = 0.4


def spans_hit(found: list, spans: list) -> tuple[int, int, int]:
    """(true, false, missed): a span is found when half of the union is common to both."""
    free = [(f.start, f.end) for f in found]
    hit = 0
    for start, end in {(s[0], s[1]) for s in spans}:
        best = max(free, key=lambda f: min(f[1], end) - max(f[0], start), default=None)
        if best is not None:
            common = min(best[1], end) - max(best[0], start)
            if common * 2 >= max(best[1], end) - min(best[0], start):
                hit += 1
                free.remove(best)
    total = len({(s[0], s[1]) for s in spans})
    return hit, len(free), total - hit


def secrets(directory: Path, show: str) -> None:
    detectors = Detectors(["secret"])
    by_source: dict[str, list[bool]] = defaultdict(list)
    false_documents = negatives = 0
    true = false = missed = 0
    for row in rows(directory, "secret"):
        found = detectors.scan(row["text"])
        if row["label"]:
            by_source[row["source"]].append(bool(found))
            if not found and show == "secret-missed":
                print("MISS", row["id"], repr(row["text"][:200]))
            if row["spans"]:
                hit = spans_hit(found, row["spans"])
                true, false, missed = true + hit[0], false + hit[1], missed + hit[2]
                if (hit[1] or hit[2]) and show == "secret-spans":
                    print(
                        hit,
                        row["id"],
                        repr(row["text"][:200]),
                        [row["text"][s[0] : s[1]][:50] for s in row["spans"]],
                        [(f.type, row["text"][f.start : f.end][:50]) for f in found],
                    )
        else:
            negatives += 1
            false_documents += bool(found)
            if found and show == "secret-false":
                print(
                    "FALSE",
                    row["id"],
                    [(f.type, row["text"][f.start : f.end][:60]) for f in found],
                    repr(row["text"][:160]),
                )
    for source, hits in sorted(by_source.items()):
        line(
            f"secrets, document recall, {source}",
            f"{sum(hits) / len(hits):.3f}",
            interval(sum(hits), len(hits)),
            len(hits),
        )
    f1 = 2 * true / max(1, 2 * true + false + missed)
    line("secrets, span F1, all sources", f"{f1:.3f}", "-", true + missed)
    line(
        "secrets, negatives flagged",
        f"{false_documents / max(1, negatives):.3f}",
        interval(false_documents, negatives),
        negatives,
    )


def alarms(directory: Path, wanted: str, show: str, prompts_only: bool) -> None:
    detectors = Detectors(phrases([wanted]))
    flagged = total = 0
    for row in rows(directory, "benign"):
        if prompts_only and row["source"] in ("lockfiles", "source-code"):
            continue
        total += 1
        found = [f for f in detectors.scan(row["text"]) if f.score >= SCORE_MIN]
        flagged += bool(found)
        if found and show == f"{wanted}-alarms":
            print(
                "ALARM",
                row["id"],
                [
                    (f.type, f.score, row["text"][max(0, f.start - 30) : f.end + 5][:110])
                    for f in found
                ][:4],
            )
    what = "benign prompts" if prompts_only else "benign texts"
    low, _, high = interval(flagged, total).partition("-")
    line(
        f"{wanted}, false alarms per 1000 {what}",
        f"{1000 * flagged / total:.1f}",
        f"{1000 * float(low):.1f}-{1000 * float(high):.1f}",
        total,
    )


def installed(wanted: str, show: str) -> None:
    """False alarms on the files of the installed packages (this environment's)."""
    detectors = Detectors([wanted])
    flagged = total = 0
    for folder in {Path(p) for p in sys.path if p.endswith("site-packages")}:
        for path in sorted(folder.rglob("*")):
            if path.suffix not in (".py", ".json", ".md", ".txt", ".toml", ".yaml", ".yml", ".js"):
                continue
            text = path.read_text(encoding="utf-8", errors="ignore")[:FILE_CHARACTERS_MAX]
            found = detectors.scan(text)
            total += 1
            flagged += bool(found)
            if found and show == f"{wanted}-installed":
                print(
                    "ALARM",
                    path,
                    [
                        (f.type, f.score, text[max(0, f.start - 30) : f.end + 5][:110])
                        for f in found
                    ][:3],
                )
    low, _, high = interval(flagged, total).partition("-")
    line(
        f"{wanted}, flagged per 1000 installed files",
        f"{1000 * flagged / max(1, total):.1f}",
        f"{1000 * float(low):.1f}-{1000 * float(high):.1f}",
        total,
    )


def personal(directory: Path, show: str) -> None:
    detectors = Detectors(["pii"])
    true = false = missed = 0
    documents = {"tp": 0, "fp": 0, "fn": 0}
    for row in rows(directory, "pii"):
        found = detectors.scan(row["text"])
        if row["source"] == "presidio-recognizer-tests":
            key = ("tp" if found else "fn") if row["label"] else ("fp" if found else "")
            if key:
                documents[key] += 1
            if key in ("fn", "fp") and show == f"pii-{key}":
                print(
                    key,
                    row["id"],
                    repr(row["text"][:120]),
                    [(f.type, row["text"][f.start : f.end]) for f in found],
                )
            continue
        spans = [s for s in row["spans"] or [] if s[2] in STRUCTURED]
        others = [s for s in row["spans"] or [] if s[2] not in STRUCTURED]
        found = [
            f
            for f in found
            if f.score >= SCORE_MIN and not any(f.start < s[1] and s[0] < f.end for s in others)
        ]
        hit = spans_hit(found, spans)
        true, false, missed = true + hit[0], false + hit[1], missed + hit[2]
        if (hit[1] or hit[2]) and show == "pii-spans":
            print(
                hit,
                row["id"],
                repr(row["text"][:160]),
                [(s[2], row["text"][s[0] : s[1]]) for s in spans],
                [(f.type, row["text"][f.start : f.end]) for f in found],
            )
    f1 = 2 * true / max(1, 2 * true + false + missed)
    line("structured PII, span F1, synthetic sentences", f"{f1:.3f}", "-", true + missed)
    score = 2 * documents["tp"] / max(1, 2 * documents["tp"] + documents["fp"] + documents["fn"])
    line("PII recogniser tests, document F1", f"{score:.3f}", "-", sum(documents.values()))


def phrases(wanted: list[str]) -> list[str]:
    """The types of the rules: the model has seen these rows, so they say nothing of it."""
    return [t for t in known_types() if matches_type(wanted, t) and not t.endswith(".model")]


def orders(directory: Path, show: str) -> None:
    """Injection and tool poisoning: recall by source, alarms on what is benign."""
    for name, wanted, zone in (
        ("injection", ["injection"], "user"),
        ("tool_poisoning", ["tool_poisoning", "injection"], "tool_definition"),
    ):
        detectors = Detectors(phrases(wanted))
        hits: dict[tuple[str, int], list[bool]] = defaultdict(list)
        for row in rows(directory, name):
            here = "tool_result" if row["source"] in FROM_TOOLS else zone
            found = detectors.scan(row["text"], here)
            hits[row["source"], row["label"]].append(bool(found))
            if (not found and row["label"] and show == f"{name}-missed") or (
                found and not row["label"] and show == f"{name}-alarms"
            ):
                print(
                    row["id"],
                    repr(row["text"][:200]),
                    [(f.detector, row["text"][f.start : f.end][:90]) for f in found],
                )
        true = sum(sum(v) for (_, label), v in hits.items() if label)
        total = sum(len(v) for (_, label), v in hits.items() if label)
        false = sum(sum(v) for (_, label), v in hits.items() if not label)
        for (source, label), found in sorted(hits.items(), key=lambda item: -item[0][1]):
            what = "recall" if label else "false alarm share"
            line(
                f"{name}, {what}, {source}",
                f"{sum(found) / len(found):.3f}",
                interval(sum(found), len(found)),
                len(found),
            )
        line(
            f"{name}, F1 (rules, no training)",
            f"{2 * true / max(1, true + total + false):.3f}",
            "-",
            total,
        )
    alarms(directory, "injection", show, prompts_only=False)
    alarms(directory, "tool_poisoning", show, prompts_only=False)


# Ways to write an order so that a pattern does not see it.
EVASIONS = {
    "as written": lambda text: text,
    "capitals": str.upper,
    "letters apart": lambda text: " ".join(text),
    "zero-width characters": lambda text: "\u200b".join(text),
    "look-alike letters": lambda text: text.translate(str.maketrans("aeopc", "аеорс")),
    "full-width letters": lambda text: "".join(
        chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text
    ),
    "tag characters": lambda text: "".join(chr(0xE0000 + ord(c)) for c in text if c.isascii()),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 of gzip": lambda text: base64.b64encode(gzip.compress(text.encode())).decode(),
    "hex": lambda text: text.encode().hex(),
    "percent": lambda text: "".join(f"%{b:02X}" for b in text.encode()),
    "leet": lambda text: text.translate(str.maketrans("aeiot", "43107")),
    "reversed": lambda text: text[::-1],
}


def evasions(directory: Path) -> None:
    """Attacks that the rules find as written, disguised: which share is still found."""
    for name, wanted, zone in (
        ("injection", ["injection"], "user"),
        ("secret", ["secret"], "user"),
    ):
        detectors = Detectors(wanted)
        texts = [row["text"] for row in rows(directory, name) if row["label"]]
        plain = [text for text in texts if len(text) < 400 and detectors.scan(text, zone)]
        for evasion, disguise in EVASIONS.items():
            hit = [bool(detectors.scan(disguise(text), zone)) for text in plain[:300]]
            line(
                f"{name}, recall, {evasion}",
                f"{sum(hit) / len(hit):.3f}",
                interval(sum(hit), len(hit)),
                len(hit),
            )
        cut = [bool(in_two_messages(detectors, text, zone)) for text in plain[:300]]
        line(
            f"{name}, recall, half per message",
            f"{sum(cut) / len(cut):.3f}",
            interval(sum(cut), len(cut)),
            len(cut),
        )


def in_two_messages(detectors: Detectors, text: str, zone: Zone) -> list[Finding]:
    """What is found of a text whose halves stand in two messages."""

    class Remembered:
        def findings(self, window: str, zone: Zone) -> list[Finding]:
            return detectors.scan(window, zone)

    seams, found = Seams(Remembered()), []
    for at, half in enumerate((text[: len(text) // 2], text[len(text) // 2 :])):
        alone = detectors.scan(half, zone)
        found += alone
        found += [one for _, one in seams.across(Leaf((at,), half, zone), alone)]
    return found


def cost(directory: Path) -> None:
    texts = [row["text"] for row in rows(directory, "benign") if row["source"] != "lockfiles"]
    message = "\n".join(texts)[:400_000]
    messages = [message[i : i + 4096] for i in range(0, len(message), 4096)]
    for name, wanted in (
        ("secrets + PII", ["secret", "pii"]),
        ("everything", ["secret", "pii", "injection", "tool_poisoning", "leakage", "toxicity"]),
    ):
        detectors = Detectors(wanted)
        spent = []
        for _ in range(5):
            for text in messages:
                begin = time.process_time_ns()
                detectors.scan(text)
                spent.append((time.process_time_ns() - begin) / 1e6)
        spent.sort()
        line(
            f"CPU per 4 KB message, {name}, p50 / p99",
            f"{statistics.median(spent):.3f} / {spent[int(len(spent) * 0.99)]:.3f} ms",
            "-",
            len(spent),
        )
        big = message[:100_000]
        begin = time.process_time_ns()
        for _ in range(5):
            detectors.scan(big)
        line(f"CPU per 100 KB, {name}", f"{(time.process_time_ns() - begin) / 5e6:.2f} ms", "-", 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).resolve().parent.parent.parent / "shared" / "corpora"
    parser.add_argument("--corpora", type=Path, default=default)
    parser.add_argument("--show", default="", help="print the rows behind a measure")
    parser.add_argument("--print", action="store_true", help="leave docs/detection.md alone")
    parser.add_argument(
        "--only",
        default="",
        help="secret, pii, injection, learned, evasion, installed, cost, answers",
    )
    arguments = parser.parse_args()
    if not arguments.corpora.is_dir():
        parser.error(f"no corpora at {arguments.corpora}: give --corpora DIR")
    print(HEAD)
    only, show, directory = arguments.only, arguments.show, arguments.corpora
    if only in ("", "secret"):
        secrets(directory, show)
        alarms(directory, "secret", show, prompts_only=False)
    if only in ("", "pii"):
        personal(directory, show)
        alarms(directory, "pii", show, prompts_only=True)
    if only in ("", "injection"):
        orders(directory, show)
    if only in ("", "learned"):
        learned(directory)
    if only in ("", "evasion"):
        evasions(directory)
    if only in ("", "installed"):
        installed("secret", show)
    if only in ("", "cost"):
        cost(directory)
    keep = bool(show or arguments.print)
    if not (only or keep):
        written()
    if only in ("", "answers"):
        answers(directory)
        if not keep:
            written(marks=ANSWERS)


if __name__ == "__main__":
    main()
