"""A server that cannot be had, and how that is said."""

from __future__ import annotations

from mcp.shared.exceptions import MCPError


class UnreachableError(MCPError):
    """The server cannot be had: nothing was answered."""


def unreachable(name: str) -> UnreachableError:
    return UnreachableError(-32603, f"the server {name} cannot be reached")


def name_of(error: BaseException) -> str:
    """The class of what went wrong; texts can hold addresses and headers."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return type(error).__name__
