"""The webhook's settings."""

from __future__ import annotations

import pytest

from penstock.kube.settings import Settings, load_settings


def test_an_empty_file_means_the_defaults() -> None:
    assert load_settings("") == Settings()


def test_values_are_read_with_either_spelling_of_the_name() -> None:
    settings = load_settings("no-proxy: [.svc, 10.0.0.0/8]\nredirect: true\npolicy: team\n")
    assert settings == Settings(no_proxy=(".svc", "10.0.0.0/8"), redirect=True, policy="team")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("imge: x", "imge"),
        ("- image", "mapping"),
        ("mode: of", "observe"),
        ("resources: {cpu: 1}", "resources"),
        ("annotations: [policy, colour]", "annotations"),
        ("no_proxy: 7", "hosts"),
        ("image: ''", "text"),
    ],
)
def test_a_wrong_setting_is_named(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load_settings(text)
