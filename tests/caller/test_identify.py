"""The whole caller, put together, and what must never be in it."""

from __future__ import annotations

import base64

from penstock.caller import identify_caller
from penstock.exchange import Process, Workload

KEY = b"k" * 32


def test_everything_known_about_a_call_comes_together() -> None:
    """Platform, proxy credential, headers and kernel each give their part."""
    basic = "Basic " + base64.b64encode(b"ada:pa55-canary").decode()
    caller = identify_caller(
        {
            "user-agent": "claude-cli/2.1.30 (external, cli)",
            "x-api-key": "sk-ant-canary",
            "x-claude-code-session-id": "s-1",
        },
        path="/v1/messages?beta=true",
        fingerprint_key=KEY,
        workload=Workload(name="checkout", namespace="prod"),
        proxy_authorization=basic,
        process=Process(7, "claude"),
    )
    assert caller.workload.name == "checkout"
    assert (caller.user, caller.agent, caller.session) == ("ada", "claude-code", "s-1")
    assert caller.process == Process(7, "claude")
    assert caller.credential and len(caller.credential) == 16
    assert "canary" not in repr(caller)


def test_the_requests_own_proxy_credential_counts_without_connect() -> None:
    """A plain forward request carries its proxy credential itself."""
    basic = "Basic " + base64.b64encode(b"ada:x").decode()
    assert identify_caller({"proxy-authorization": basic}, fingerprint_key=KEY).user == "ada"


def test_an_mcp_session_id_is_kept_as_fingerprint_only() -> None:
    """Whoever holds a session id may speak in it: it is not written down as it is."""
    caller = identify_caller({"mcp-session-id": "canary-session"}, fingerprint_key=KEY)
    again = identify_caller({"mcp-session-id": "canary-session"}, fingerprint_key=KEY)
    assert caller.session == again.session
    assert caller.session and caller.session.startswith("mcp:") and "canary" not in caller.session


def test_nothing_known_is_all_none() -> None:
    """A bare request has an unknown caller, not an error."""
    caller = identify_caller({}, fingerprint_key=KEY)
    assert (caller.user, caller.agent, caller.session, caller.credential) == (None,) * 4
