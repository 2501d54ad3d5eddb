"""Generic credentials: a password is told from an identifier, a template, a placeholder."""

from __future__ import annotations

import pytest

from penstock.detect import Detectors

SECRETS = Detectors(["secret"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('password = "IhqSb1Gg"', "IhqSb1Gg"),
        ("DB_PASSWORD=Tr0ub4dor&3", "Tr0ub4dor&3"),
        ("mysql -u root --password Sne3sd8AZjq", "Sne3sd8AZjq"),
        ("ALTER USER 'u'@'h' IDENTIFIED BY 'SqLpa5sW0rD';", "SqLpa5sW0rD"),
        ("CREATE ROLE app WITH LOGIN PASSWORD 'SqLpa5sW0rD';", "SqLpa5sW0rD"),
        ('if (password !== "PaS5w0rD2#") {', "PaS5w0rD2#"),
        ('if ("PaS5w0rD2#" == password) {', "PaS5w0rD2#"),
        ("my password is hunter2Zq!", "hunter2Zq!"),
        ('var apiToken string = "k3vh8g2tzr4hw5x1jm7q"', "k3vh8g2tzr4hw5x1jm7q"),
        ("'api_key' => 'Zx81kQp20LmW9vTe4R'", "Zx81kQp20LmW9vTe4R"),
        ('"secret": "8zBhTTWfBKWP9hJ8wunD7z"', "8zBhTTWfBKWP9hJ8wunD7z"),
        ("비밀번호: Prl23Db#@", "Prl23Db#@"),
        ('{\\"password\\": \\"IhqSb1Gg\\"}', "IhqSb1Gg"),
    ],
)
def test_a_credential_is_found_and_only_its_value(text: str, value: str) -> None:
    assert [text[f.start : f.end] for f in SECRETS.scan(text)] == [value]


@pytest.mark.parametrize(
    "text",
    [
        "password = get_password(user)",
        "password: str = None",
        "password: Optional[bytes] = None,",
        'password = os.environ["DB_PASSWORD"]',
        "password = ${DB_PASSWORD}",
        'password: "{{ vault_password }}"',
        'password = "changeme"',
        'password="<your password>"',
        "api_key = 'YOUR_API_KEY'",
        "token = tokens[0]",
        "const primaryKey = row.primary_key_column",
        'keyboard = "qwertz-layout-102"',
        "author: Jane Doe 1984",
        'public_key = "9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit"',
        "commit token_hash 43fc912ef59a83054ea7f6706df4d53a7dea4d80",
        "The key is to stay calm, and the secret is practice.",
        "auth=oauth2",
        "password_file: /run/secrets/db/password.txt",
        "next_page_token: 'CAUQAA8fk30slq'",
        "max_tokens: 4096, token_count=12345678",
    ],
)
def test_code_templates_and_prose_are_no_credentials(text: str) -> None:
    assert SECRETS.scan(text) == []


def test_a_vendors_name_inside_another_word_promises_nothing() -> None:
    digest = "f15b5a04b0f6dc6073f6db0296e6ef2d8b8d1a22"
    detectors = Detectors(["secret.meraki_key"])
    assert detectors.scan(f"ReactNativeCameraKit: {digest}") == []
    assert detectors.scan(f"merakiKey: {digest}")
    assert detectors.scan(f"CISCO_MERAKI_KEY={digest}")
    assert detectors.scan(f"myMerakiKey = '{digest}'")


def test_a_token_that_only_counts_is_documentation() -> None:
    detectors = Detectors(["secret.slack_token"])
    assert detectors.scan("token: xoxp-1234567890") == []
    assert detectors.scan("token: xoxp-1234567890-987654321-a8Kq2LmZ7")
