"""An encoder: an exported transformer that says of a text, or of each of its tokens, what it is.

The second stage behind phrases and linear models, and what finds names and addresses. Models
are files of whoever writes the policy; onnxruntime and tokenizers (``penstock[onnx]``) are
imported when a policy names one. A run costs milliseconds to seconds, so an encoder is asked in
worker threads only; both libraries let go of the interpreter lock while they work.
"""

from __future__ import annotations

import importlib.util
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock.detect.encoders.folder import TOKENS_MIN, EncoderError, Folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

EXTRA = "needs onnxruntime and tokenizers: pip install 'penstock[onnx]'"
NEEDED = ("onnxruntime", "tokenizers")
# Runs at once: each takes a core and its own working memory. As many as there are workers.
RUNS_MAX = 2
# Characters given to the tokenizer at a time, so that the clock is looked at between.
SLICE_CHARACTERS = 4096
# What pieces have in common: a name, or an order, that one of them cuts stands whole in the next.
COMMON_CHARACTERS = 256
COMMON_TOKENS = 64
# A text to try a model on when it is loaded: longer than any piece.
TRIAL = "Ms Ada Lovelace of 12 Main Street wrote to the Analytical Engine Company in London. " * 40
# Names of graph inputs; others would need values nobody here knows.
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# A folder that is none: with it, no weights beside the model are ever read.
NOWHERE = "/dev/null/none"
_SURROGATES = re.compile("[\ud800-\udfff]")


class EncoderTimeoutError(Exception):
    """The model was not done in time, or too many waited for it."""


@dataclass(slots=True, frozen=True)
class Piece:
    """What a model says of one piece of a text.

    ``scores`` has a row for the piece, or one for each token; ``spans`` are the tokens'
    places in the text, empty for tokens that stand for no character.
    """

    start: int
    end: int
    scores: Floats
    spans: tuple[tuple[int, int], ...]


class Clock:
    """The time a text may take, over all its pieces; ends a run that is over it."""

    __slots__ = ("_timer", "ends", "options")

    def __init__(self, seconds: float) -> None:
        import onnxruntime

        self.ends = time.monotonic() + seconds
        self.options: Any = onnxruntime.RunOptions()
        self._timer = threading.Timer(max(0.0, seconds), self._stop)
        self._timer.daemon = True

    def _stop(self) -> None:
        self.options.terminate = True

    def __enter__(self) -> Clock:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    @property
    def left(self) -> float:
        """Seconds that are left, never less than 0."""
        return max(0.0, self.ends - time.monotonic())


class Encoder:
    """A loaded model. ``read`` may run in any thread but the loop's."""

    def __init__(self, folder: Folder) -> None:
        """Load and try the model; raises EncoderError."""
        if any(importlib.util.find_spec(name) is None for name in NEEDED):
            raise EncoderError(EXTRA)
        self.labels = folder.labels
        self.independent = folder.independent
        self._turns = threading.BoundedSemaphore(RUNS_MAX)
        self._session = _session(folder.model)
        self._inputs = _inputs(self._session)
        self._tokenizer = _tokenizer(folder)
        self.by_token = self._tried()

    def read(self, text: str, clock: Clock, base: int = 0) -> Iterator[Piece]:
        """What the model says of ``text``, piece by piece; ``base`` is added to places.

        Raises EncoderTimeoutError; what else a broken model raises is onnxruntime's own.
        """
        text = _SURROGATES.sub("\ufffd", text)
        for start in _starts(len(text)):
            # A batch of one: unlike a single text, it is read without the interpreter lock.
            whole = self._tokenizer.encode_batch([text[start : start + SLICE_CHARACTERS]])[0]
            for encoding in (whole, *whole.overflowing):
                spans = tuple(
                    (base + start + low, base + start + high) for low, high in encoding.offsets
                )
                shown = [span for span in spans if span[1] > span[0]]
                if shown:
                    scores = self._run(encoding, clock)
                    yield Piece(shown[0][0], shown[-1][1], scores, spans)

    def _run(self, encoding: Any, clock: Clock) -> Floats:
        """Probabilities of the labels."""
        if not self._turns.acquire(timeout=clock.left):
            raise EncoderTimeoutError("too many texts wait for the model")
        try:
            found = self._session.run(None, self._given(encoding), clock.options)[0][0]
        except Exception:
            if clock.options.terminate or not clock.left:
                raise EncoderTimeoutError("the model was not done in time") from None
            raise
        finally:
            self._turns.release()
        if not clock.left:
            raise EncoderTimeoutError("the model was not done in time")
        return probabilities(found, self.independent)

    def _given(self, encoding: Any) -> dict[str, NDArray[Any]]:
        import numpy as np

        values = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        return {name: np.array([values[name]], kind) for name, kind in self._inputs.items()}

    def _tried(self) -> bool:
        """Run the model once; whether it speaks of each token."""
        import numpy as np

        whole = self._tokenizer.encode_batch([TRIAL])[0]
        if len(whole.ids) < TOKENS_MIN // 2:
            raise EncoderError("its tokenizer makes next to nothing of an English text")
        try:
            output = self._session.run(None, self._given(whole))[0]
        except Exception as error:  # noqa: BLE001 - of a dozen classes without a base
            raise EncoderError(f"the model fails on a text: {_said(error)}") from None
        shapes = {(1, len(self.labels)), (1, len(whole.ids), len(self.labels))}
        if not isinstance(output, np.ndarray) or output.shape not in shapes:
            raise EncoderError(
                f"the model's first output has the shape {getattr(output, 'shape', None)}; "
                f"for {len(self.labels)} labels it must be one of {sorted(shapes)}"
            )
        if not np.isfinite(output).all():
            raise EncoderError("the model's output is no number")
        return output.ndim == 3


def probabilities(found: NDArray[Any], independent: bool) -> Floats:
    """The last axis of ``found`` as probabilities; raises ValueError where it has no number."""
    import numpy as np

    logits = found.astype(np.float32)
    if not np.isfinite(logits).all():
        raise ValueError("the model's output is no number")
    if independent:
        return np.asarray(1 / (1 + np.exp(-logits.clip(-60, 60))), np.float32)
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), np.float32)


def _starts(length: int) -> Iterator[int]:
    """Where slices of a text begin; the last reaches its end."""
    yield 0
    step = SLICE_CHARACTERS - COMMON_CHARACTERS
    yield from range(step, max(0, length - COMMON_CHARACTERS), step)


def _session(model: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # what a long text took is given back
    options.log_severity_level = 4  # its log would go to stderr, with names out of the file
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", NOWHERE
    )
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - as above
        raise EncoderError(f"the model does not load: {_said(error)}") from None


def _inputs(session: Any) -> dict[str, type[Any]]:
    import numpy as np

    kinds = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
    found = {one.name: kinds.get(one.type) for one in session.get_inputs()}
    if "input_ids" not in found or not set(found) <= set(INPUTS) or None in found.values():
        named = ", ".join(f"{one.name} {one.type}" for one in session.get_inputs())
        raise EncoderError(f"the model asks for {named}; known are {', '.join(INPUTS)} (integers)")
    return {name: kind for name, kind in found.items() if kind is not None}


def _tokenizer(folder: Folder) -> Any:
    from tokenizers import Tokenizer

    try:
        made = Tokenizer.from_str(folder.tokenizer.decode())
        made.no_padding()
        common = min(COMMON_TOKENS, folder.tokens_max // 4)
        made.enable_truncation(max_length=folder.tokens_max, stride=common)
    except Exception as error:  # noqa: BLE001 - tokenizers raises no other
        raise EncoderError(f"tokenizer.json cannot be used: {_said(error)}") from None
    return made


def _said(error: BaseException) -> str:
    """What a library says of a file, in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
