"""Decisions without traffic: policy tests, and recorded calls decided again."""
