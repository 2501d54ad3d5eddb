"""A second look, off the hot path: what only detect-secrets' plug-ins see."""
