"""Proxy passwords: Argon2 hashes in a file, names of nobody cost the same."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from penstock.caller.identity import NotProvedError
from penstock.caller.passwords import check, hashed


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("callers") / "callers"
    path.write_text(f"# team\n\nada:{hashed('s3cret:with colon')}\nbob:plain\n")
    return str(path)


def test_the_right_password(file: str) -> None:
    """Name and password fit: an identity without claims and without an end."""
    identity = check(file, "ada", "s3cret:with colon")
    assert identity.user == "ada" and identity.expires_at is None and not identity.claims


@pytest.mark.parametrize(
    ("name", "password"),
    [("ada", "wrong"), ("ada", ""), ("eve", "s3cret:with colon"), ("#", "x"), ("bob", "plain")],
)
def test_the_wrong_one(file: str, name: str, password: str) -> None:
    """Wrong password, unknown name, a line that is no hash."""
    with pytest.raises(NotProvedError) as raised:
        check(file, name, password)
    assert "s3cret" not in str(raised.value)


def test_an_unknown_name_takes_as_long(file: str) -> None:
    """Both end in a hash: the difference tells nobody who exists."""

    def seconds(name: str) -> float:
        began = time.process_time()
        with pytest.raises(NotProvedError):
            check(file, name, "wrong")
        return time.process_time() - began

    known = min(seconds("ada") for _ in range(3))
    unknown = min(seconds("eve") for _ in range(3))
    assert known > 0.005 and 0.4 < known / unknown < 2.5


def test_a_file_that_is_not_there_proves_nothing(tmp_path: Path) -> None:
    """Fail closed."""
    with pytest.raises(NotProvedError, match="cannot be read"):
        check(str(tmp_path / "none"), "ada", "x")
    (tmp_path / "big").write_bytes(b"a" * 2_000_000)
    with pytest.raises(NotProvedError, match="too large"):
        check(str(tmp_path / "big"), "ada", "x")
