"""Tokens, passwords, keys: what gives access."""
