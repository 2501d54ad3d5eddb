"""WebSocket messages are looked at one by one and then forgotten.

The core keeps every message for the life of the socket; a voice session would fill the
memory of the pod.
"""

from __future__ import annotations

from mitmproxy import http


class Forget:
    """Runs before the other addons: they see the newest message only."""

    name = "forget"

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Drop what has passed."""
        assert flow.websocket
        del flow.websocket.messages[:-1]
