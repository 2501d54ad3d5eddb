"""The variables of the shell this runs in, the proxy they name, and the exporters."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from penstock.cli.client_environment import (
    ADDING_VARIABLES,
    PROXY_VARIABLES,
    REPLACING_VARIABLES,
)
from penstock.cli.diagnosis import Check

ANSWER_SECONDS = 5


def check_variables(environment: Mapping[str, str], state: Path) -> list[Check]:
    """Whether this shell's clients go through a penstock, and trust its CA if they do."""
    named = {environment[name] for name in PROXY_VARIABLES if environment.get(name)}
    if not named:
        found = "no proxy variable is set in this shell"
        mend = 'penstock exec -- CMD, or: eval "$(penstock env)"'
        return [Check("environment", "proxy", "note", found, mend)]
    if len(named) > 1:
        found = f"HTTPS_PROXY and its siblings disagree: {', '.join(sorted(map(_shown, named)))}"
        mend = 'set all of them alike: eval "$(penstock env)"'
        return [Check("environment", "proxy", "broken", found, mend)]
    (url,) = named
    checks = [_check_proxy(url)]
    if checks[0].status == "ok":
        checks.append(_check_trust(environment, state))
    return checks


def check_running(admin: tuple[str, int]) -> Check:
    """Whether a `penstock run` answers at its admin address."""
    url = "http://{}:{}/readyz".format(*admin)
    if ready(url):
        return Check("proxy", "running", "ok", f"a penstock is ready at {url}")
    mend = "none is needed for `penstock exec`; otherwise start `penstock run`"
    return Check("proxy", "running", "note", f"no penstock is ready at {url}", mend)


def ready(url: str) -> bool:
    """Whether ``url`` answers 200; never through a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=ANSWER_SECONDS) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def check_exporters(environment: Mapping[str, str]) -> list[Check]:
    """Whether the OTLP endpoint takes traces. Sends an empty request, which is a valid one.

    Source: OpenTelemetry, "OTLP Exporter Configuration" (which variable means which address).
    """
    base = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    url = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or (
        base and f"{base.rstrip('/')}/v1/traces"
    )
    if not url:
        found = "off: OTEL_EXPORTER_OTLP_ENDPOINT is not set"
        return [Check("exporter", "OTLP traces", "ok", found)]
    if urlsplit(url).scheme not in ("http", "https"):
        found = f"{_shown(url)} is not an http address"
        mend = "set OTEL_EXPORTER_OTLP_ENDPOINT=http://HOST:4318"
        return [Check("exporter", "OTLP traces", "broken", found, mend)]
    mend = "start the collector, or mend OTEL_EXPORTER_OTLP_ENDPOINT (http/protobuf, port 4318)"
    shown = _shown(url)
    request = urllib.request.Request(  # noqa: S310 - http(s) only, see above
        url, b"", {"Content-Type": "application/x-protobuf"}, method="POST"
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_SECONDS) as answer:
            return [Check("exporter", "OTLP traces", "ok", f"{shown} answers {answer.status}")]
    except urllib.error.HTTPError as error:
        found = f"{shown} answers {error.code}"
        if error.code in (401, 403):
            mend = "the endpoint wants credentials: OTEL_EXPORTER_OTLP_HEADERS"
        return [Check("exporter", "OTLP traces", "broken", found, mend)]
    except (OSError, ValueError) as error:
        return [Check("exporter", "OTLP traces", "broken", f"{shown}: {error}", mend)]


def _check_proxy(url: str) -> Check:
    parts = urlsplit(url if "//" in url else f"http://{url}")
    try:
        address = (parts.hostname or "", parts.port or 80)
        with socket.create_connection(address, timeout=ANSWER_SECONDS):
            pass
    except (OSError, ValueError) as error:
        mend = "start `penstock run` there, or unset the proxy variables"
        return Check("environment", "proxy", "broken", f"{_shown(url)}: {error}", mend)
    return Check("environment", "proxy", "ok", f"{_shown(url)} takes connections")


def _check_trust(environment: Mapping[str, str], state: Path) -> Check:
    try:
        ca = (state / "ca.pem").read_bytes().strip()
    except OSError as error:
        mend = "give doctor the --state-dir that `penstock run` uses"
        return Check("environment", "trust", "note", f"the CA cannot be read: {error}", mend)
    wrong = []
    for name in (*ADDING_VARIABLES, *REPLACING_VARIABLES):
        try:
            if ca not in Path(environment[name]).read_bytes():
                wrong.append(name)
        except (KeyError, OSError):
            wrong.append(name)
    if wrong:
        found = f"without the CA: {', '.join(wrong)}"
        return Check("environment", "trust", "broken", found, 'eval "$(penstock env)"')
    return Check("environment", "trust", "ok", "every CA variable leads to the CA")


def _shown(url: str) -> str:
    """``url`` without the user and password it may carry."""
    parts = urlsplit(url if "//" in url else f"http://{url}")
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
