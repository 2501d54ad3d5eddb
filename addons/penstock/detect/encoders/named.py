"""The encoders a policy names: what each is for, and each loaded once per process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from penstock.detect.encoders.encoder import Encoder
from penstock.detect.encoders.entities import ENTITY_TYPES, find_entities, tag, usual_entity
from penstock.detect.encoders.folder import FILES, EncoderError, read_folder
from penstock.detect.encoders.second_stage import HOSTILE, find_hostile, usual_hostile
from penstock.detect.injection.model import INJECTION, POISONING
from penstock.detect.probe import Probe
from penstock.exchange import Zone

# Models in memory at once; a policy names one or two, and a changed policy one more.
LOADED_MAX = 4

Ask = Literal["unsure", "always"]
ZonesOf = Callable[[Sequence[str]], frozenset[Zone]]
Stamp = tuple[tuple[int, int, int], ...]


@dataclass(slots=True, frozen=True)
class EncoderSpec:
    """An encoder as the policy has it. ``labels`` are the model's, each with what it stands
    for: ``injection``, or one of the types of names and addresses."""

    id: str
    path: Path
    digests: tuple[tuple[str, str], ...]
    labels: tuple[tuple[str, str], ...] = ()
    threshold: float = 0.5
    ask: Ask = "unsure"
    seconds: float = 10.0


@dataclass(slots=True, frozen=True)
class NamedEncoder:
    """A loaded encoder and what it is asked for. ``meanings``: of each of its labels, or None."""

    spec: EncoderSpec
    encoder: Encoder
    meanings: tuple[str | None, ...]

    @property
    def types(self) -> tuple[str, ...]:
        """The finding types it can report."""
        if self.encoder.by_token:
            return tuple(sorted({meaning for meaning in self.meanings if meaning}))
        return INJECTION, POISONING


_loaded: OrderedDict[tuple[Path, tuple[tuple[str, str], ...], Stamp], Encoder] = OrderedDict()
_lock = threading.Lock()


def load(spec: EncoderSpec) -> NamedEncoder:
    """The encoder of ``spec``, its files compared with their digests; raises EncoderError."""
    encoder = _encoder(spec)
    usual = usual_entity if encoder.by_token else usual_hostile
    named = dict(spec.labels)
    unknown = sorted(label for label in named if label not in set(_bare(encoder)))
    if unknown:
        known = ", ".join(sorted({*_bare(encoder)}))
        raise EncoderError(f"it has no label '{unknown[0]}'; its labels are: {known}")
    may_mean = set(ENTITY_TYPES) if encoder.by_token else {HOSTILE}
    for label, meaning in named.items():
        if meaning not in may_mean:
            what = "each word" if encoder.by_token else "a text as a whole"
            allowed = ", ".join(sorted(may_mean))
            raise EncoderError(f"it speaks of {what}: '{label}' can stand for {allowed}")
    meanings = tuple(named.get(label) if named else usual(label) for label in _bare(encoder))
    if not any(meanings):
        known = ", ".join(sorted({*_bare(encoder)}))
        raise EncoderError(f"say what its labels stand for (labels:); it has: {known}")
    return NamedEncoder(spec, encoder, meanings)


def probes(encoders: Sequence[NamedEncoder], zones_of: ZonesOf) -> list[Probe]:
    """The detectors the encoders are. ``zones_of``: where rules look for these types."""
    found = []
    readers = [one for one in encoders if not one.encoder.by_token]
    for one in encoders:
        if one.encoder.by_token:
            find = partial(find_entities, one, zones_of(one.types))
            name = f"encoder.{one.spec.id}"
            found.append(Probe(name, one.types, "", find, live="", slow=True, sentences=True))
    for name in (INJECTION, POISONING) if readers else ():
        judge = partial(find_hostile, readers, zones_of((name,)), name)
        found.append(Probe(name, (name,), "", judge, "always", live="", slow=True))
    return found


def _bare(encoder: Encoder) -> tuple[str, ...]:
    """Labels as a policy names them: those of words without their B- and I-."""
    if not encoder.by_token:
        return encoder.labels
    return tuple(tag(label)[1] for label in encoder.labels)


def _encoder(spec: EncoderSpec) -> Encoder:
    """The loaded model; read again when a file of it is another than it was."""
    key = spec.path, spec.digests, _stamps(spec.path)
    with _lock:
        known = _loaded.get(key)
        if known is None:
            known = _loaded[key] = Encoder(read_folder(spec.path, dict(spec.digests)))
        _loaded.move_to_end(key)
        while len(_loaded) > LOADED_MAX:
            _loaded.popitem(last=False)
        return known


def _stamps(path: Path) -> Stamp:
    try:
        found = [(path / name).stat() for name in FILES]
    except OSError:
        return ()
    return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in found)
