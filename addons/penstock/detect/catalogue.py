"""The literal list of detectors: everything Penstock can find, in one place."""

from __future__ import annotations

from functools import cache

from penstock.detect.answers.toxicity import toxicity_probes
from penstock.detect.answers.unsafe import unsafe_probes
from penstock.detect.injection.hidden import hidden_probes
from penstock.detect.injection.model import model_probes
from penstock.detect.injection.phrases import phrase_probes
from penstock.detect.leakage.links import link_probes
from penstock.detect.personal.accounts import account_probes
from penstock.detect.personal.contact import contact_probes
from penstock.detect.personal.identity import identity_probes
from penstock.detect.probe import Probe
from penstock.detect.rules import load, load_phrases
from penstock.detect.secrets.credentials import credential_probes
from penstock.detect.secrets.keys import key_probes
from penstock.detect.secrets.mnemonic import mnemonic_probes
from penstock.detect.secrets.positions import position_probes
from penstock.detect.secrets.tokens import token_probe
from penstock.detect.secrets.urls import url_probes


@cache
def all_probes() -> tuple[Probe, ...]:
    """Every probe of the package, built once per process."""
    tokens, contextual = load()
    return (
        *key_probes(),
        *(token_probe(rule, number) for number, rule in enumerate(tokens)),
        *url_probes(),
        *credential_probes(contextual),
        *position_probes(),
        *mnemonic_probes(),
        *contact_probes(),
        *account_probes(),
        *identity_probes(),
        *phrase_probes(load_phrases()),
        *model_probes(),
        *link_probes(),
        *hidden_probes(),
        *unsafe_probes(),
        *toxicity_probes(),
    )
