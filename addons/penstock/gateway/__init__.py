"""MCP servers reached by other ways than the proxy's path: over pipes, and many behind one URL.

Rules, detectors, records and limits are the proxy's own (``proxy/governance.py``): a message is
turned into the call it stands for and judged there. Nothing here decides anything by itself.
"""
