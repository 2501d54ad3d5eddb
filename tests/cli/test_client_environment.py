"""The table of proxy and CA variables."""

from __future__ import annotations

from penstock.cli import client_environment
from penstock.cli.client_environment import CLUSTER, LOOPBACK, variables

TABLE = variables("http://127.0.0.1:8080", "/s/ca.pem", "/s/ca-bundle.pem")


def test_both_letter_cases_name_the_proxy() -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        assert TABLE[name] == "http://127.0.0.1:8080"
    assert TABLE["NO_PROXY"] == TABLE["no_proxy"] == "localhost,127.0.0.1,::1"


def test_variables_that_replace_the_trust_store_get_the_bundle() -> None:
    """A client told to trust the CA alone could not verify any host that is only tunnelled."""
    for name in client_environment.REPLACING_VARIABLES:
        assert TABLE[name] == "/s/ca-bundle.pem"


def test_variables_that_add_to_the_trust_store_get_the_ca_alone() -> None:
    for name in client_environment.ADDING_VARIABLES:
        assert TABLE[name] == "/s/ca.pem"


def test_every_measured_client_is_served() -> None:
    """What Claude Code, Codex, Gemini CLI, the Python SDKs, requests, boto3 and Node needed."""
    assert {
        "SSL_CERT_FILE",
        "NODE_EXTRA_CA_CERTS",
        "NODE_USE_ENV_PROXY",
        "CODEX_CA_CERTIFICATE",
        "REQUESTS_CA_BUNDLE",
        "AWS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    } <= TABLE.keys()


def test_no_variable_is_named_twice() -> None:
    names = (
        *client_environment.PROXY_VARIABLES,
        *client_environment.NO_PROXY_VARIABLES,
        *client_environment.SWITCHES,
        *client_environment.ADDING_VARIABLES,
        *client_environment.REPLACING_VARIABLES,
    )
    assert len(names) == len(set(names)) == len(TABLE)


def test_metadata_is_left_out_of_the_proxy_only_in_a_cluster() -> None:
    assert "169.254.169.254" in CLUSTER
    assert "169.254.169.254" not in LOOPBACK
