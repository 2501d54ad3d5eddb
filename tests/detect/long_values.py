"""Secrets of any length, in the places where they stand: (before, value, behind)."""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable

LETTERS = string.ascii_letters + string.digits
_source = random.Random(7)


def some(count: int, letters: str = LETTERS) -> str:
    return "".join(_source.choice(letters) for _ in range(count))


def header(fields: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


def signed(size: int) -> str:
    return f"{header({'alg': 'RS256'})}.eyJ{some(size)}.{some(342)}"


def signed_with_certificates(size: int) -> str:
    return f"{header({'alg': 'RS256', 'x5c': [some(size)]})}.eyJ{some(40)}.{some(342)}"


def encrypted(size: int) -> str:
    first = header({"alg": "RSA-OAEP", "enc": "A256GCM"})
    return ".".join([first, some(342), some(16), some(size), some(22)])


def key(size: int, line_end: str = "\n") -> str:
    body = some(size, LETTERS + "+/")
    lines = [body[at : at + 64] for at in range(0, size, 64)]
    return line_end.join(
        ["-----BEGIN RSA PRIVATE KEY-----", *lines, "-----END RSA PRIVATE KEY-----"]
    )


def halves(size: int, middle: str) -> str:
    return some(size // 2) + middle + some(size - size // 2)


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


Place = tuple[str, str, str]
PLACES: dict[str, Callable[[int], Place]] = {
    "single quotes": lambda n: ("password = '", some(n), "'"),
    "double quotes": lambda n: ('password = "', some(n), '"'),
    "another quote inside": lambda n: ('password = "', halves(n, "'"), '" x'),
    "an escaped quote inside": lambda n: ('password = "', halves(n, '\\"'), '" x'),
    "brackets inside": lambda n: ('password = "', halves(n, "<{"), '" x'),
    "three quotes": lambda n: ('token = """', some(n), '"""'),
    "backticks": lambda n: ("token = `", some(n), "`"),
    "environment": lambda n: ("DB_PASSWORD=", some(n), "\nX=1"),
    "yaml": lambda n: ("password: ", some(n), "\nname: x"),
    "yaml in columns": lambda n: ("password:" + 20 * " ", some(n), "\n"),
    "terraform in columns": lambda n: ("password" + 20 * " " + '= "', some(n), '"\n'),
    "a long name": lambda n: (
        "PASSWORD_FOR_LEGACY_REPORTING_DATABASE_IN_EUROPE_WEST=",
        some(n),
        "\n",
    ),
    "json": lambda n: ('{"api_key": "', some(n), '"}'),
    "json in a string": lambda n: ('{\\"api_key\\": \\"', some(n), '\\"}'),
    "xml": lambda n: ("<password>", some(n), "</password>"),
    "html": lambda n: ("password=&quot;", some(n), "&quot; "),
    "a command's option": lambda n: ("mysql --password=", some(n), " -u x"),
    "connection string": lambda n: ("Server=db;User Id=x;Password=", some(n), ";Encrypt=yes"),
    "url": lambda n: ("postgres://user:", some(n), "@db.example.org/x"),
    "bearer": lambda n: ("Authorization: Bearer ", some(n), "\nX: y"),
    "basic": lambda n: ("Authorization: Basic ", some(n) + "==", "\nX: y"),
    "curl": lambda n: ("curl -u admin:", some(n), " https://x.example"),
    "curl in php": lambda n: ("CURLOPT_USERPWD, '", "user:" + some(n), "')"),
    "cookie": lambda n: ("Set-Cookie: sessionid=", some(n), "; Path=/"),
    "signed token": lambda n: ("x ", signed(n), " y"),
    "signed token with a long header": lambda n: ("x ", signed_with_certificates(n), " y"),
    "encrypted token": lambda n: ("x ", encrypted(n), " y"),
    "private key": lambda n: ("x ", key(n), "\ny"),
    "private key in json": lambda n: ('"pem": "', key(n, "\\n") + "\\n", '", y'),
    "private key in base64": lambda n: ("data: ", coded(key(n)), "\n"),
    "kubeconfig's key": lambda n: ("    client-key-data: ", some(n), "\n"),
    "kubeconfig's token": lambda n: ("    token: ", some(n), "\n"),
    "aws session": lambda n: ("it is ", "IQoJb3JpZ2luX2Vj" + some(n), " yes"),
    "google token": lambda n: ("it is ", "ya29." + some(n), " yes"),
    "vault token": lambda n: ("it is ", "hvs." + some(n), " yes"),
    "slack token": lambda n: ("it is ", "xoxe-1-" + some(n), " yes"),
    "npm": lambda n: ("//registry.example.org/:_authToken=", some(n), "\n"),
    "docker": lambda n: ('{"auths":{"r":{"auth": "', coded("u:" + some(n)), '"}}}'),
    "json web key": lambda n: ('{"kty":"RSA","d": "', some(n), '"}'),
    "percent-encoded": lambda n: ("t=", signed(n).replace(".", "%2E"), " "),
    "an invisible character": lambda n: ("t ", halves_of(signed(n), "\u200b"), " x"),
    "a policy's own": lambda n: ("corp ", f"KEY<{some(n)}>", " x"),
}


def halves_of(value: str, middle: str) -> str:
    return value[: len(value) // 2] + middle + value[len(value) // 2 :]
