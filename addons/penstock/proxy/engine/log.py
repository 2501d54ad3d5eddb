"""What the protocol core says, made fit to be written down.

The core's log texts and exception texts can carry bytes of a call (a header line it could
not parse, an event it did not expect). Only warnings and errors pass, cut to their first
words unless they are known to be harmless; of an exception only its class and place.
"""

from __future__ import annotations

import logging
import re

CORE = "mitmproxy"
HARMLESS = ("Client TLS handshake failed. The client", "Server TLS handshake failed. Cert")
FIRST_WORDS = re.compile(r"[A-Za-z0-9 ,/-]{0,80}")

logger = logging.getLogger(__name__)


class CoreLog(logging.Handler):
    """Passes the core's records on to our own logger."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, cleaned."""
        text = record.getMessage()
        if not text.startswith(HARMLESS):
            found = FIRST_WORDS.match(text)
            text = found.group() if found else "message withheld"
        if record.exc_info and record.exc_info[0]:
            text = f"{text} ({record.exc_info[0].__name__})"
        logger.log(record.levelno, "%s", text)


def install() -> None:
    """Route everything the core logs through CoreLog, and ours to stderr if nobody else did.

    The core puts a handler of its own on the root logger, which would swallow our warnings.
    """
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    core = logging.getLogger(CORE)
    core.setLevel(logging.WARNING)
    core.handlers = [CoreLog()]
    core.propagate = False
