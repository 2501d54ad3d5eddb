"""What the weights and the page of figures are made with: the fit, the labels, the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scripts.evaluate_table import ANSWERS, BEGIN, END, interval, line, written
from scripts.training.corpus import Text, result_sentences, sentences
from scripts.training.fit import Matrix, fit
from scripts.training.measure import _taught, lowest

from penstock.detect.injection.features import BUCKETS


def test_the_fit_is_at_the_bottom_of_its_loss() -> None:
    """From where it ends, hundreds of steps downhill find nothing worth a twentieth."""
    chance = np.random.default_rng(5)
    rows, width, penalty = 120, 40, 1e-3
    dense = chance.random((rows, width)) < 0.2
    labels = (dense[:, :5].sum(axis=1) + chance.normal(0, 0.6, rows) > 1.2).astype(int)
    importance = chance.random(rows) + 0.5
    buckets = [np.flatnonzero(row).astype(np.int32) for row in dense]
    data = Matrix(buckets, [np.ones(len(b), np.float32) for b in buckets])
    weights, bias = fit(data, np.arange(rows), labels, importance, penalty)
    assert weights.shape == (BUCKETS,) and not weights[width:].any()
    features = np.hstack([dense, np.ones((rows, 1))])
    signs = np.where(labels > 0, 1.0, -1.0)
    share = importance / importance.sum()

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        room = np.maximum(0, 1 - signs * (features @ point))
        value = penalty / 2 * point @ point + share @ room**2
        return float(value), penalty * point - 2 * features.T @ (share * signs * room)

    point = np.append(weights[:width].astype(float), bias)
    found, _ = loss(point)
    for _ in range(500):
        point -= 0.05 * loss(point)[1]
    assert found <= 1.05 * loss(point)[0]
    assert found < loss(np.zeros(width + 1))[0] / 2


def test_a_window_is_taught_what_it_shows() -> None:
    text = Text("x" * 1000, 1, "g", "s", "tool_result", attack=(400, 500))
    assert _taught(text, 0, 200) == 0
    assert _taught(text, 350, 550) == 1
    assert _taught(text, 390, 410) == -1
    assert _taught(Text("y", 1, "g", "s", "user"), 0, 1) == 1


def test_the_threshold_keeps_every_limit() -> None:
    scores = np.array([5.0, 4, 3, 2, 1, 0, -1, -2, -3, -4])
    honest = np.array([False, True] * 5)
    silent = np.zeros(10, bool)
    assert (
        lowest(scores, [(honest, silent, 0.4)]) == 2
    )  # 4 and 2 alarm, the next honest one may not
    assert lowest(scores, [(honest, silent, 0.0)]) > 4


def test_sentences_of_ours_are_of_both_kinds_and_orders_stand_where_they_say() -> None:
    made = sentences()
    assert {text.label for text in made} == {0, 1}
    assert not any("{" in text.text.split("import")[0] and "{t}" in text.text for text in made)
    spliced = [text for text in result_sentences() if text.attack]
    for text in spliced[:50]:
        assert text.attack is not None
        start, end = text.attack
        alone = text.text[start:end]
        assert alone == alone.strip() and text.text[end] == "\n"


def test_the_table_replaces_what_stands_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\n| old |\n{END}\nafter\n")
    line("a measure", "0.5", interval(5, 10), 10)
    written(page)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n| measure |") and text.endswith(f"{END}\nafter\n")
    assert "| a measure | 0.5 | 0.2366-0.7634 | 10 |" in text and "old" not in text
    page.write_text(f"{BEGIN}\n{END}\n{ANSWERS[0]}\n| old |\n{ANSWERS[1]}\n")
    line("another", "1", "-", 1)
    written(page, ANSWERS)
    begun, _, rest = page.read_text().partition(ANSWERS[0])
    assert begun == f"{BEGIN}\n{END}\n" and "| another | 1 | - | 1 |" in rest
    assert "a measure" not in rest and "old" not in rest, "each table has its own rows"
    page.write_text("no marks")
    with pytest.raises(SystemExit):
        written(page)
    assert page.read_text() == "no marks"
