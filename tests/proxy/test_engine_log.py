"""What the protocol core says is cut to what can be written down."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from penstock.proxy.engine import log as engine_log


class Lines(logging.Handler):
    """What arrives at our own logger."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += self.format(record) + "\n"


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    engine_log.logger.addHandler(handler)
    yield handler
    engine_log.logger.removeHandler(handler)


@pytest.fixture
def core() -> Iterator[logging.Logger]:
    """The core's logger, routed; put back afterwards."""
    logger = logging.getLogger(engine_log.CORE)
    kept = logger.level, logger.handlers, logger.propagate
    engine_log.install()
    yield logger
    logger.level, logger.handlers, logger.propagate = kept


def test_quoted_bytes_are_withheld(core: logging.Logger, lines: Lines) -> None:
    """Texts end where a value begins."""
    core.error("Unexpected data from server: b'sk-canary'")
    core.error("b'sk-canary' was unexpected")
    assert "canary" not in lines.text
    assert "Unexpected data from server" in lines.text


def test_exceptions_leave_their_class_only(core: logging.Logger, lines: Lines) -> None:
    """Neither text nor traceback: both can quote the call."""
    try:
        raise ValueError("sk-canary")
    except ValueError:
        core.exception("mitmproxy has crashed!")
    assert "canary" not in lines.text
    assert "(ValueError)" in lines.text


def test_known_harmless_texts_stay_whole(core: logging.Logger, lines: Lines) -> None:
    """A client that does not trust us is worth a whole sentence."""
    text = (
        "Client TLS handshake failed. The client does not trust the proxy's certificate "
        "for api.openai.com (tlsv1 alert unknown ca)"
    )
    core.warning(text)
    assert text in lines.text


def test_information_is_not_even_formatted(core: logging.Logger, lines: Lines) -> None:
    """Each connection would log several lines otherwise."""
    core.info("client connect")
    assert lines.text == ""
