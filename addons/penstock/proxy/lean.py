"""Keeps the core's thirty default addons, and what they import, out of memory.

``mitmproxy.addons`` imports all of them (an LDAP client, a web framework, ...) as soon as one
is wanted: 13 MB and a third of a second per pod, for nothing. The package is put in place
without running its initialiser; the initialiser runs after all if somebody asks the
package for a name that is not one of its modules.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

PACKAGE = "mitmproxy.addons"


class _Deferred(ModuleType):
    """The package, its initialiser not yet run."""

    def __getattr__(self, name: str) -> Any:
        # The import system asks for a submodule's name first; it must be told "not here yet".
        if name.startswith("__") or importlib.util.find_spec(f"{PACKAGE}.{name}"):
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment] # an ordinary module from here on
        assert self.__spec__ is not None
        assert self.__spec__.loader is not None
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def defer_default_addons() -> None:
    """Put the package in place, unless it is loaded already."""
    if PACKAGE in sys.modules:
        return
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        return
    package = _Deferred(PACKAGE)
    package.__spec__ = spec
    package.__path__ = list(spec.submodule_search_locations)
    package.__file__ = spec.origin
    sys.modules[PACKAGE] = package
