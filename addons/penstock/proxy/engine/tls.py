"""TLS towards clients: leaf certificates from the installation's authority.

Replaces the stock addon's certificate store: leaves have a key of their own that lives
in memory only (the stock store signs leaves over the authority's key), the authority is
read from our state directory, and no file is written. Also the refusal at the
ClientHello: a connection marked as denied gets a TLS alert instead of a certificate.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from datetime import timedelta
from time import monotonic
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from mitmproxy import certs, http
from mitmproxy.addons.tlsconfig import TlsConfig
from mitmproxy.proxy import commands, layer
from mitmproxy.proxy.layers import tls as tls_layers

from penstock.proxy.engine.certificates import Authority, make_leaf

# Public roots limit leaves to 398 days; ours are remade long before a client could notice.
LEAF_LIFETIME = timedelta(days=30)
LEAF_RENEWAL_SECONDS = 24 * 3600.0
# About 2 KB each; a sidecar talks to a handful of hosts, `intercept: all` to some hundreds.
LEAVES_MAX = 1000
# TLS 1.2 record: alert (21), fatal (2), access_denied (49), RFC 8446 section 6.
ALERT_ACCESS_DENIED = bytes((21, 3, 3, 0, 2, 2, 49))
DENIED = "destination denied"


class Leaves:
    """Leaf certificates by their names, oldest thrown out first."""

    dhparams = None  # finite-field Diffie-Hellman is not offered

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._entries: OrderedDict[
            tuple[x509.GeneralName, ...], tuple[float, certs.CertStoreEntry]
        ] = OrderedDict()
        self.default_ca = certs.Cert(authority.certificate)

    def get_cert(
        self,
        commonname: str | None,
        sans: Iterable[x509.GeneralName],
        organization: str | None = None,
        crl_url: str | None = None,
    ) -> certs.CertStoreEntry:
        """The certificate for ``sans``, made when there is none yet; the rest is ignored."""
        names = tuple(sans)
        found = self._entries.get(names)
        if found and monotonic() - found[0] < LEAF_RENEWAL_SECONDS:
            return found[1]
        leaf = make_leaf(self._authority, self._key.public_key(), list(names), LEAF_LIFETIME)
        # The stock entry is annotated for RSA; the TLS library takes any private key.
        key: Any = self._key
        entry = certs.CertStoreEntry(certs.Cert(leaf), key, None, [])
        self._entries[names] = (monotonic(), entry)
        self._entries.move_to_end(names)
        if len(self._entries) > LEAVES_MAX:
            self._entries.popitem(last=False)
        return entry


class Tls(TlsConfig):
    """The stock TLS addon over our certificates."""

    name = "tlsconfig"

    def __init__(self, authority: Authority) -> None:
        leaves: Any = Leaves(authority)
        self.certstore = leaves

    def request(self, flow: http.HTTPFlow) -> None:
        """The stock method answers requests for a revocation list we never name."""

    def running(self) -> None:
        """The stock method loads the stock store; ours is complete."""

    def configure(self, updated: Any) -> None:
        """The stock method would read or create files in a configuration directory."""


class ClientTls(tls_layers.ClientTLSLayer):
    """TLS with the client; a client marked as denied is told by an alert."""

    def start_tls(self) -> layer.CommandGenerator[None]:
        """Begin the handshake, or refuse it."""
        if self.conn.error:
            yield commands.SendData(self.conn, ALERT_ACCESS_DENIED)
            yield commands.CloseConnection(self.conn)
            return
        yield from super().start_tls()
