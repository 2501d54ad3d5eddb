"""Is a request's head one we serve: well-formed, framed in one way, its names in agreement?

And where does it go: a redirected request without a TLS name goes to the host it names.
"""

from __future__ import annotations

from mitmproxy.http import Request
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HTTPMode, validate_request

from penstock.proxy.engine import guard
from penstock.proxy.engine.problem import (
    ABSOLUTE_FORM,
    BAD_REQUEST,
    FORBIDDEN,
    TRANSFER_CODING,
    Problem,
)
from penstock.proxy.engine.runtime import Runtime

HTTPS_PORT = 443
HTTP_PORT = 80


def request_problem(
    request: Request, mode: HTTPMode, context: Context, runtime: Runtime
) -> Problem | None:
    """What is wrong with the request, or None."""
    if validate_request(mode, request, True) is not None:
        return BAD_REQUEST
    coding = request.headers.get("transfer-encoding")
    if coding is not None and coding.strip().lower() != "chunked":
        return TRANSFER_CODING  # nobody here undoes it, so what it hides is not judged
    if request.method == "CONNECT":
        return None if request.host and request.port else BAD_REQUEST
    hosts = request.headers.get_all("host")
    if request.is_http2:
        if not request.path.startswith("/") and request.path != "*":
            return ABSOLUTE_FORM  # it would be one for the next hop, which speaks HTTP/1
        if request.authority:
            # HTTP/2 may name the host twice, as long as it is the same (RFC 9113 section 8.3.1).
            hosts = sorted({*hosts, request.authority})
    absolute = bool(request.authority) and not request.is_http2
    client = context.client
    if mode is not HTTPMode.transparent:
        default_port = HTTPS_PORT if request.scheme == "https" else HTTP_PORT
        target = (request.host, request.port) if request.authority else None
        return guard.forward_problem(target, hosts, default_port=default_port)
    if client.proxy_mode.type_name == "reverse":
        assert context.server.address is not None  # the mode's own target
        return guard.reverse_problem(
            context.server.address, client.sockname[0], hosts, absolute=absolute
        )
    target = _tunnel_target(context)
    server_name = client.sni if client.tls_established else None
    default_port = HTTPS_PORT if client.tls_established else HTTP_PORT
    problem = guard.tunnel_problem(
        target, server_name, hosts, absolute=absolute, default_port=default_port
    )
    if problem is None and target is None and server_name is None:
        return _follow(guard.split_authority(hosts[0], default_port), context, runtime)
    return problem


def _tunnel_target(context: Context) -> tuple[str, int] | None:
    """What CONNECT named; None where the connection was redirected to us."""
    if context.client.proxy_mode.type_name != "regular":
        return None
    return context.server.address


def _follow(named: tuple[str, int] | None, context: Context, runtime: Runtime) -> Problem | None:
    """Let a redirected request go to the host it names.

    Nothing else vouches for the name here: with TLS and a server name the upstream's
    certificate does. A call judged (and given a key) as one to the host it names must not
    arrive at whatever address the application has chosen.
    """
    address = context.server.address
    assert address is not None and named is not None  # set by the redirect; looked at before
    literal = guard.literal_address(address[0])
    may_go = literal is None or address in runtime.settings.connect_to
    if not may_go and guard.closed_address(literal or "", address[1], runtime.own_ports):
        return FORBIDDEN
    context.server.address = named[0], address[1]
    return None
