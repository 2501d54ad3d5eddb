"""The only room that speaks to mitmproxy."""

from penstock.proxy.lean import defer_default_addons

defer_default_addons()
