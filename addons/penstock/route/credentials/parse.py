"""A source's text as a credential: a plain key, or AWS keys as ``credential_process`` has them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from penstock.route.credentials.fetched import AwsKeys, SourceError, usable
from penstock.route.credentials.spec import Spec


def credential(spec: Spec, text: str) -> tuple[str | AwsKeys, float | None]:
    """The credential in ``text`` and when it expires (None: nobody says).

    Raises:
        SourceError: the text is not what the rule's form needs.
    """
    if spec.form != "sigv4":
        return usable(text), None
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise SourceError("for sigv4 it must give a JSON object with AccessKeyId, SecretAccessKey")
    return aws_keys(values), moment(values.get("Expiration"))


def aws_keys(
    values: dict[str, Any],
    names: tuple[str, str, str] = ("AccessKeyId", "SecretAccessKey", "SessionToken"),
) -> AwsKeys:
    """AWS keys out of a source's fields, by their names there."""
    identifier, secret, token = (values.get(name) for name in names)
    return AwsKeys(usable(identifier), usable(secret), usable(token) if token else None)


def moment(text: object) -> float | None:
    """An RFC 3339 time as seconds since the epoch; None when there is none.

    Raises:
        SourceError: there is something else.
    """
    if text is None:
        return None
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        raise SourceError("its expiry is not a time") from None
