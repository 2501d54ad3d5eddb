"""Proxy passwords: Argon2 and bcrypt hashes in a file, names of nobody cost the same."""

from __future__ import annotations

import time
from pathlib import Path

import bcrypt
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


@pytest.mark.parametrize("variant", [b"2b", b"2a", b"2y"])
def test_bcrypt_hashes_as_other_tools_write_them(tmp_path: Path, variant: bytes) -> None:
    """One file may hold both kinds; the variants differ in name only."""
    stored = bcrypt.hashpw(b"pass w\xc3\xb6rd", bcrypt.gensalt(5)).replace(b"2b", variant, 1)
    file = tmp_path / "callers"
    file.write_text(f"ada:{stored.decode()}\nbob:{hashed('bobs')}\n")
    assert check(str(file), "ada", "pass wörd").user == "ada"
    assert check(str(file), "bob", "bobs").user == "bob"
    for name, password in (("ada", "pass word"), ("ada", ""), ("eve", "pass wörd"), ("bob", "x")):
        with pytest.raises(NotProvedError, match="wrong"):
            check(str(file), name, password)


def test_a_long_password_is_cut_as_bcrypt_does(tmp_path: Path) -> None:
    """72 bytes count; the library would raise on more."""
    stored = bcrypt.hashpw(b"a" * 72, bcrypt.gensalt(4)).decode()
    (tmp_path / "callers").write_text(f"ada:{stored}\n")
    assert check(str(tmp_path / "callers"), "ada", "a" * 5000).user == "ada"
    with pytest.raises(NotProvedError):
        check(str(tmp_path / "callers"), "ada", "a" * 71)


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        ("$2b$31$" + "a" * 53, "cost above"),
        ("$2b$03$" + "a" * 53, "neither"),  # below what the algorithm has
        ("$2b$05$short", "neither"),
        ("$apr1$abc$def", "neither"),
        ("", "neither"),
    ],
)
def test_a_hash_that_is_none_proves_nothing(tmp_path: Path, stored: str, says: str) -> None:
    """Also one whose check would take a day."""
    (tmp_path / "callers").write_text(f"ada:{stored}\n")
    with pytest.raises(NotProvedError, match=says):
        check(str(tmp_path / "callers"), "ada", "secret")
