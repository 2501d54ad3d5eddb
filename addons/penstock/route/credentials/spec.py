"""What a ``credential`` rule says: which source, with which settings, in which form.

Plain values: a specification names files, addresses and roles, never a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Form = Literal[
    "bearer",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "xi-api-key",
    "ocp-apim-subscription-key",
    "key",
    "sigv4",
    "penstock-identity",
]


IDENTITY = "identity"


@dataclass(slots=True, frozen=True)
class Spec:
    """``kind`` names the source's module; ``values`` are its settings, sorted by name.

    ``form`` None: where the caller put its own token, else what the provider documents.
    """

    kind: str
    values: tuple[tuple[str, Any], ...] = ()
    form: Form | None = None

    def get(self, name: str, default: str = "") -> Any:
        """A setting, or ``default``."""
        return dict(self.values).get(name, default)

    @property
    def of_caller(self) -> bool:
        """True for a credential per caller: its token is exchanged, or its name is stated."""
        return self.kind == IDENTITY or (self.kind == "exchange" and not self.get("subject_file"))
