"""The policies that come with penstock, by name: observe, default, strict, containment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from penstock.policy.language.problem import ConfigError, Problem, nearest

NAMES = ("observe", "default", "strict", "containment")

# Installed beside the package; in a checkout at the top, where people look for them.
PLACES = (
    Path(__file__).resolve().parents[2] / "shipped_policies",
    Path(__file__).resolve().parents[4] / "policies",
)


def resolve(paths: Sequence[Path | str]) -> list[Path]:
    """Files for files and for names of shipped policies; none means ``default``.

    Raises:
        ConfigError: something is neither.
    """
    found, problems = [], []
    for path in paths or ("default",):
        file = Path(path)
        if not file.is_file() and str(path) in NAMES:
            file = shipped(str(path))
        if file.is_file():
            found.append(file)
        else:
            message = "is a directory" if file.is_dir() else "no such file"
            message += f"; shipped policies: {', '.join(NAMES)}"
            problems.append(Problem(str(path), 1, "", message + nearest(str(path), NAMES)))
    if problems:
        raise ConfigError(problems)
    return found


def shipped(name: str) -> Path:
    """The file of a shipped policy."""
    return next(
        (file for place in PLACES if (file := place / f"{name}.yaml").is_file()),
        PLACES[0] / f"{name}.yaml",
    )
