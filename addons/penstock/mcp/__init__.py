"""MCP governance: which server, which tools, pinned how, seen by whom.

Reading and answering MCP is ``wire``'s work (``wire/jsonrpc``); what is allowed is the
policy's. Here is what both need to speak of servers and tools.
"""

from penstock.mcp.answers import EventFilter, LineFilter, judge_document
from penstock.mcp.headers import follow_edits
from penstock.mcp.provider_side import ProviderServer, provider_servers
from penstock.mcp.servers import governs, origin, server_problem, url_of
from penstock.mcp.tools import filter_list_answer

__all__ = [
    "EventFilter",
    "LineFilter",
    "ProviderServer",
    "filter_list_answer",
    "follow_edits",
    "governs",
    "judge_document",
    "origin",
    "provider_servers",
    "server_problem",
    "url_of",
]
