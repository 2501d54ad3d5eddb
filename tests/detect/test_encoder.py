"""Encoders: what loads, what is refused and why, and what a loaded one may cost."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import pytest

pytest.importorskip("onnxruntime", reason="needs penstock[onnx]")
pytest.importorskip("tokenizers", reason="needs penstock[onnx]")
pytest.importorskip("onnx", reason="builds its models with onnx")

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from penstock.detect import Detectors
from penstock.detect.encoders import folder as encoder_files
from penstock.detect.encoders.encoder import Clock, EncoderTimeoutError, probabilities
from penstock.detect.encoders.folder import EncoderError
from penstock.detect.encoders.named import EncoderSpec, NamedEncoder, load, probes
from penstock.detect.memo import Memo
from penstock.exchange import UNSCANNABLE, Zone
from tests.detect import tiny_models
from tests.detect.tiny_models import digests

PROGRAM = """
import sys
from penstock.detect import Detectors
from penstock.policy.language.load import load
from penstock.policy.language.shipped import resolve
Detectors(load(resolve(["strict"])).finding_types).scan("hello")
print([name for name in ("onnxruntime", "tokenizers", "huggingface_hub") if name in sys.modules])
"""
EVERYWHERE = frozenset(get_args(Zone))


def spec(folder: Path, **more: object) -> EncoderSpec:
    return EncoderSpec("tiny", folder, tuple(sorted(digests(folder).items())), **more)  # type: ignore[arg-type]


def detectors(*encoders: NamedEncoder, types: tuple[str, ...] = ("pii", "injection")) -> Detectors:
    return Detectors(types, probes(encoders, lambda _: EVERYWHERE))


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> NamedEncoder:
    return load(spec(tiny_models.tagger(tmp_path_factory.mktemp("tagger"))))


def test_a_model_says_what_it_is_and_is_loaded_once(tmp_path: Path) -> None:
    tagger = load(spec(tiny_models.tagger(tmp_path / "tagger")))
    classifier = load(spec(tiny_models.classifier(tmp_path / "classifier")))
    assert tagger.types == ("pii.address", "pii.name", "pii.organisation")
    assert classifier.types == ("injection.model", "tool_poisoning.model")
    assert load(spec(tmp_path / "tagger", threshold=0.9)).encoder is tagger.encoder


@pytest.mark.parametrize("name", tiny_models.FILES)
def test_a_file_that_changed_is_refused(tmp_path: Path, name: str) -> None:
    """Each of the three: a tokenizer or a list of labels can undo a model, too."""
    folder = tiny_models.classifier(tmp_path)
    known = spec(folder)
    load(known)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content + b"\n")
    with pytest.raises(EncoderError, match=f"{name} is not the file the policy names"):
        load(known)
    (folder / name).write_bytes(content)
    load(known)


def test_digests_that_are_missing_are_said(tmp_path: Path) -> None:
    folder = tiny_models.classifier(tmp_path)
    with pytest.raises(EncoderError) as refused:
        load(EncoderSpec("tiny", folder, ()))
    for name, digest in digests(folder).items():
        assert f"{name}: {digest}" in str(refused.value)


def test_a_missing_file_and_a_folder_in_its_place_are_refused(tmp_path: Path) -> None:
    folder = tiny_models.classifier(tmp_path)
    known = spec(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(EncoderError, match="there is no file"):
        load(known)
    (folder / "tokenizer.json").mkdir()
    with pytest.raises(EncoderError, match="there is no file"):
        load(known)


def test_an_oversized_file_is_refused_unread(tmp_path: Path) -> None:
    folder = tiny_models.classifier(tmp_path)
    known = spec(folder)
    with (folder / "model.onnx").open("r+b") as stream:
        stream.truncate(encoder_files.BYTES_MAX["model.onnx"] + 1)  # sparse: takes no room
    with pytest.raises(EncoderError, match="larger than"):
        load(known)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("model.onnx", b"", "does not load"),
        ("model.onnx", b"\x08\x09 no model" * 100, "does not load"),
        ("tokenizer.json", b"{}", "tokenizer.json cannot be used"),
        ("tokenizer.json", b"\xff\xfe", "tokenizer.json cannot be used"),
        ("config.json", b"[" * 100_000, "no JSON object"),
        ("config.json", b"[]", "no JSON object"),
        ("config.json", b"{}", "no id2label"),
        ("config.json", b'{"id2label": {"0": "A", "2": "B"}}', "not numbered"),
        ("config.json", b'{"id2label": {"0": "A", "1": 7}}', "not numbered"),
        ("config.json", b'{"id2label": {"0": "A", "1": "B", "2": "C"}}', "has the shape"),
        (
            "config.json",
            b'{"id2label": {"0": "A", "1": "B"}, "max_position_embeddings": -1}',
            "max_position_embeddings",
        ),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    folder = tiny_models.classifier(tmp_path)
    (folder / name).write_bytes(content)
    with pytest.raises(EncoderError, match=says):
        load(spec(folder))


def test_weights_beside_the_model_are_never_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No digest covers them; where the process stands must not matter either."""
    folder = tiny_models.classifier(tmp_path)
    tensor = TensorProto()
    tensor.name, tensor.data_type = "table", TensorProto.FLOAT
    rows = 200
    tensor.dims.extend([rows, 2])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", str(rows * 8))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    np.zeros((rows, 2), np.float32).tofile(folder / "weights.bin")
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("ReduceMax", ["rows"], ["logits"], axes=[1], keepdims=0),
    ]
    tiny_models.model(folder / "model.onnx", nodes, ("input_ids",), [tensor], "logits")
    monkeypatch.chdir(folder)
    with pytest.raises(EncoderError, match="does not load"):
        load(spec(folder))


def test_a_model_that_asks_for_more_than_a_text_is_refused(tmp_path: Path) -> None:
    folder = tiny_models.write(
        tmp_path, ["SAFE", "INJECTION"], {"x": "INJECTION"}, by_token=False,
        inputs=("input_ids", "pixel_values"),
    )  # fmt: skip
    with pytest.raises(EncoderError, match="pixel_values"):
        load(spec(folder))


def test_a_model_whose_output_is_no_number_is_refused(tmp_path: Path) -> None:
    folder = tiny_models.classifier(tmp_path)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("ReduceMax", ["rows"], ["logits"], axes=[1], keepdims=0),
    ]
    table = numpy_helper.from_array(np.full((200, 2), np.nan, np.float32), "table")
    tiny_models.model(folder / "model.onnx", nodes, ("input_ids",), [table], "logits")
    with pytest.raises(EncoderError, match="no number"):
        load(spec(folder))


def test_labels_must_be_the_models_own_and_mean_what_it_can_say(tmp_path: Path) -> None:
    tagger = tiny_models.tagger(tmp_path / "tagger")
    classifier = tiny_models.classifier(tmp_path / "classifier")
    with pytest.raises(
        EncoderError, match="no label 'B-PER'; its labels are: ADDRESS, O, ORG, PER"
    ):
        load(spec(tagger, labels=(("B-PER", "pii.name"),)))
    with pytest.raises(EncoderError, match=r"'PER' can stand for pii\.address"):
        load(spec(tagger, labels=(("PER", "injection"),)))
    with pytest.raises(EncoderError, match="'INJECTION' can stand for injection"):
        load(spec(classifier, labels=(("INJECTION", "pii.name"),)))
    only = load(spec(tagger, labels=(("PER", "pii.organisation"),)))
    assert only.types == ("pii.organisation",)
    config = json.loads((classifier / "config.json").read_text())
    config["id2label"] = {"0": "LABEL_0", "1": "LABEL_1"}
    (classifier / "config.json").write_text(json.dumps(config))
    with pytest.raises(EncoderError, match=r"say what its labels stand for.*LABEL_0, LABEL_1"):
        load(spec(classifier))
    assert load(spec(classifier, labels=(("LABEL_1", "injection"),))).meanings[1] == "injection"


def test_without_the_extra_the_way_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_models.classifier(tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EncoderError, match=r"pip install 'penstock\[onnx\]'"):
        load(spec(folder))


def test_a_run_that_does_not_end_is_ended(tmp_path: Path) -> None:
    found = detectors(load(spec(tiny_models.endless(tmp_path), seconds=0.5)))
    began = time.monotonic()
    with pytest.raises(EncoderTimeoutError):
        found.scan("this goes on forever and ever", "tool_result")
    assert time.monotonic() - began < 30
    assert found.scan("a quiet page about gardens", "tool_result") == []


def test_who_waits_for_a_busy_model_waits_no_longer_than_its_own_time(tmp_path: Path) -> None:
    named = load(spec(tiny_models.endless(tmp_path)))
    held = [named.encoder._turns.acquire() for _ in range(2)]
    assert held == [True, True]
    with Clock(0.2) as clock, pytest.raises(EncoderTimeoutError, match="wait for the model"):
        list(named.encoder.read("a text", clock))
    named.encoder._turns.release(2)


def test_ten_threads_find_the_same(tagger: NamedEncoder) -> None:
    found = detectors(tagger)
    text = "Filler goes here. Ada Lovelace met Grace Hopper. " * 40
    expected = found.scan(text)
    assert len(expected) == 80
    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(found.scan, [text] * 20))
    assert all(result == expected for result in results)


def test_of_a_megabyte_the_beginning_is_read_and_the_rest_counts_as_not_judged(
    tagger: NamedEncoder,
) -> None:
    text = "Ada Lovelace wrote. " * 52_429
    findings = detectors(tagger, types=("pii.name",)).scan(text)
    names = [one for one in findings if one.type == "pii.name"]
    rest = [one for one in findings if one.type == UNSCANNABLE]
    assert len(names) == 3277 and all(one.end <= 64 * 1024 for one in names)
    assert [(one.start, one.end) for one in rest] == [(64 * 1024, len(text))]


def test_other_threads_run_while_a_long_text_is_read(tagger: NamedEncoder) -> None:
    """Tokenizer and model let go of the interpreter lock: a waiting thread wakes all the time."""
    found = detectors(tagger, types=("pii.name",))
    text = "Some words that are no names at all, and then some more of them. " * 900
    wakes: list[float] = []
    done = threading.Event()

    def beat() -> None:
        while not done.is_set():
            wakes.append(time.thread_time())
            time.sleep(0.001)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        for _ in range(5):
            found.scan(text)
    finally:
        done.set()
        thread.join()
    assert len(wakes) > 20


def test_hidden_texts_share_the_time_of_the_text_they_are_in(tmp_path: Path) -> None:
    """A thousand encoded orders must not get a thousand times the time."""
    from base64 import b64encode

    found = detectors(load(spec(tiny_models.endless(tmp_path), seconds=1.0)))
    hidden = " ".join(
        b64encode(f"this goes on forever and ever, {number}".encode()).decode()
        for number in range(50)
    )
    began = time.monotonic()
    with pytest.raises(EncoderTimeoutError):
        found.scan(hidden, "tool_result")
    assert time.monotonic() - began < 30


def test_a_text_that_comes_again_is_not_read_again(
    tagger: NamedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    memo = Memo(detectors(tagger), b"key")
    first = memo.scan("I am Ada Lovelace")
    monkeypatch.setattr(tagger.encoder, "read", None)  # would raise
    assert memo.scan("I am Ada Lovelace") == first != []


def test_without_encoders_neither_library_is_imported() -> None:
    """They take 50 MB and a tenth of a second."""
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["[]"]


def test_independent_labels_are_no_shares() -> None:
    logits = np.array([0.0, 8.0, 8.0], np.float32)
    assert probabilities(logits, False).sum() == pytest.approx(1)
    assert probabilities(logits, True)[1:] == pytest.approx([0.9997, 0.9997], abs=1e-3)
    assert np.isfinite(probabilities(np.array([1e30, -1e30]), True)).all()
    with pytest.raises(ValueError, match="no number"):
        probabilities(np.array([np.nan, 0.0]), False)


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Every test loads anew: a model kept from another one would hide what loading does."""
    from penstock.detect.encoders import named as encoders

    yield
    encoders._loaded.clear()
