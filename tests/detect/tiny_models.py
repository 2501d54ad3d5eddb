"""Tiny models in the layout that real ones are exported in: built here, run by onnxruntime.

A model knows words: each is a row of an embedding whose columns are the labels' logits. A
classifier of texts takes the largest of each column over the text, a tagger takes each row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

FILES = ("model.onnx", "tokenizer.json", "config.json")
PIECES = [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]
NAMES = ("ada", "lovelace", "grace", "hopper", "zoe", "quimby")
STREETS = ("12", "elm", "street", "springfield")
# A text longer than any model's piece needs a limit that tests can reach.
POSITIONS = 64


def tokenizer(words: Sequence[str], positions: int) -> Tokenizer:
    """WordPiece over ``words``; what is in none of them falls into letters."""
    listed = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words, *"abcdefghijklmnopqrstuvwxyz0123456789"]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys([*listed, *PIECES]))}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])
    )
    made.enable_truncation(positions)
    return made


def write(
    folder: Path,
    labels: Sequence[str],
    words: Mapping[str, str],
    *,
    by_token: bool,
    positions: int = POSITIONS,
    inputs: Sequence[str] = ("input_ids", "attention_mask", "token_type_ids"),
    nodes: Sequence[onnx.NodeProto] | None = None,
    weights: Sequence[onnx.TensorProto] = (),
    made: Tokenizer | None = None,
) -> Path:
    """A model whose ``words`` have a label; all other words have the first one."""
    folder.mkdir(parents=True, exist_ok=True)
    made = made or tokenizer(list(words), positions)
    made.save(str(folder / "tokenizer.json"))
    table = np.zeros((made.get_vocab_size(), len(labels)), np.float32)
    table[:, 0] = 3.0 if by_token else 0.0
    for word, label in words.items():
        table[made.token_to_id(word), labels.index(label)] = 9.0
    if not by_token:  # the first label's logit is the same whatever the words
        table[:, 1:] -= 4.0
    last = "rows" if by_token else "logits"
    reading = [helper.make_node("Gather", ["table", "input_ids"], ["rows"])]
    if not by_token:
        reading.append(helper.make_node("ReduceMax", ["rows"], [last], axes=[1], keepdims=0))
    model(
        folder / "model.onnx", [*reading, *(nodes or ())], inputs,
        [numpy_helper.from_array(table, "table"), *weights], last if nodes is None else "out",
    )  # fmt: skip
    config = {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "max_position_embeddings": positions,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def model(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[str],
    weights: Sequence[onnx.TensorProto],
    output: str,
) -> None:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "t"]) for name in inputs],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        weights,
    )
    opset = [helper.make_opsetid("", 17)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    )


def tagger(folder: Path, positions: int = POSITIONS) -> Path:
    """Finds the names of NAMES, and 12 Elm Street, Springfield."""
    words = dict.fromkeys(NAMES, "I-PER") | {"ada": "B-PER", "grace": "B-PER", "zoe": "B-PER"}
    words |= dict.fromkeys(STREETS, "I-ADDRESS") | {"12": "B-ADDRESS"}
    labels = ["O", "B-PER", "I-PER", "B-ADDRESS", "I-ADDRESS", "B-ORG"]
    return write(folder, labels, words, by_token=True, positions=positions)


def classifier(folder: Path, positions: int = POSITIONS) -> Path:
    """Takes texts with "zanzibar" for orders, and those with "harmless" for certainly none."""
    words = {"zanzibar": "INJECTION"}
    return write(folder, ["SAFE", "INJECTION"], words, by_token=False, positions=positions)


def endless(folder: Path) -> Path:
    """A classifier that goes round in circles, for a text with "forever" in it."""
    ends = helper.make_node("Identity", ["going"], ["goes"])
    stays = helper.make_node("Identity", ["held"], ["holds"])
    body = helper.make_graph(
        [ends, stays],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("held", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("goes", TensorProto.BOOL, []),
            helper.make_tensor_value_info("holds", TensorProto.FLOAT, None),
        ],
    )
    nodes = [
        helper.make_node("ReduceMax", ["logits"], ["top"], keepdims=0),
        helper.make_node("Greater", ["top", "zero"], ["hot"]),
        helper.make_node("Cast", ["hot"], ["hot_number"], to=TensorProto.INT64),
        helper.make_node("Mul", ["hot_number", "many"], ["turns"]),
        helper.make_node("Loop", ["turns", "yes", "logits"], ["out"], body=body),
    ]
    weights = [
        numpy_helper.from_array(np.array(1.0, np.float32), "zero"),
        numpy_helper.from_array(np.array(10**15), "many"),
        numpy_helper.from_array(np.array(True), "yes"),
    ]
    words = {"forever": "INJECTION"}
    return write(folder, ["SAFE", "INJECTION"], words, by_token=False, nodes=nodes, weights=weights)


def digests(folder: Path) -> dict[str, str]:
    """What a policy names under ``sha256``."""
    return {name: sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


def setting(folder: Path, name: str = "tiny", **more: str) -> str:
    """The ``encoders`` entry of a policy, in YAML's own flow style."""
    entry = {"id": name, "path": str(folder), "sha256": digests(folder), **more}
    return json.dumps([entry])
