"""MCP in both eras, and A2A: JSON-RPC over HTTP."""
