"""Small addons the engine tests load into a real process."""

from __future__ import annotations

from mitmproxy import http
