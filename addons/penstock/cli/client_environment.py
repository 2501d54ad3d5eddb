"""The one table of proxy and CA variables, used by `env`, `exec` and the pod patch alike.

Which client honours which variable was measured with the clients themselves; docs/clients.md
holds the table. Variables that *add* a certificate get the CA alone, variables that *replace*
the trust store get the bundle (public roots + CA), so that tunnelled hosts stay trusted.
It never reads the environment and never touches a file.
"""

from __future__ import annotations

from collections.abc import Sequence

# Lower case too: curl reads only http_proxy, some clients only HTTPS_PROXY.
PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
NO_PROXY_VARIABLES = ("NO_PROXY", "no_proxy")

# Node's own clients ignore HTTPS_PROXY without it (Node >= 22.21 and >= 24.5 read it).
SWITCHES = {"NODE_USE_ENV_PROXY": "1"}

ADDING_VARIABLES = (
    "NODE_EXTRA_CA_CERTS",  # Node, Bun, Claude Code, Gemini CLI
    "DENO_CERT",  # Deno
)

REPLACING_VARIABLES = (
    "SSL_CERT_FILE",  # OpenSSL, Python ssl and httpx, Go, Ruby, rustls-native-certs, .NET
    "REQUESTS_CA_BUNDLE",  # requests, botocore
    "CURL_CA_BUNDLE",  # curl, libcurl bindings
    "AWS_CA_BUNDLE",  # boto3, AWS CLI
    "PIP_CERT",  # pip
    "GIT_SSL_CAINFO",  # git
    "CODEX_CA_CERTIFICATE",  # Codex CLI
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",  # gRPC core: C++, Python, Ruby, PHP
    "CARGO_HTTP_CAINFO",  # cargo
    "NIX_SSL_CERT_FILE",  # nixpkgs builds of OpenSSL and curl
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",  # gcloud
    "HTTPLIB2_CA_CERTS",  # httplib2: older Google clients
)

# The proxy refuses to dial loopback for anybody (it would open every local port to its clients),
# so a client that sent loopback calls through it would only lose its local servers.
LOOPBACK = ("localhost", "127.0.0.1", "::1")

# In a cluster: what is neither a model nor a tool server outside. The metadata address hands out
# workload credentials and is link-local, which the proxy never dials.
CLUSTER = (
    *LOOPBACK,
    "169.254.169.254",
    "metadata.google.internal",
    ".svc",
    ".cluster.local",
    "$(KUBERNETES_SERVICE_HOST)",  # expanded by the kubelet
)


def variables(
    proxy_url: str, ca_pem: str, ca_bundle: str, no_proxy: Sequence[str] = LOOPBACK
) -> dict[str, str]:
    """The variables that send a client through the proxy and make it trust the proxy's CA.

    ``proxy_url``: ``http://host:port``; ``ca_pem``: path of the CA certificate alone;
    ``ca_bundle``: path of public roots + CA; ``no_proxy``: hosts a client reaches directly.
    """
    return {
        **dict.fromkeys(PROXY_VARIABLES, proxy_url),
        **dict.fromkeys(NO_PROXY_VARIABLES, ",".join(no_proxy)),
        **SWITCHES,
        **dict.fromkeys(ADDING_VARIABLES, ca_pem),
        **dict.fromkeys(REPLACING_VARIABLES, ca_bundle),
    }


def way_out() -> tuple[str, ...]:
    """Names of all variables that send a program's calls through a proxy and make it trusted."""
    return (
        *PROXY_VARIABLES,
        *NO_PROXY_VARIABLES,
        *SWITCHES,
        *ADDING_VARIABLES,
        *REPLACING_VARIABLES,
    )
