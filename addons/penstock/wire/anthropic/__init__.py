"""Anthropic's APIs, one file each."""
