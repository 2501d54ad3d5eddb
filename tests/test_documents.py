"""What documents say of commands and files is so: options exist, links lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from penstock.cli import COMMANDS, main

REPOSITORY = Path(__file__).resolve().parent.parent
PROSE = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
CALL = re.compile(r"penstock ((?:[a-z]+)(?: [a-z]+)?)([^`|#;.]*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command by the words that call it."""

    def below(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        yield words, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                assert inner is not None
                yield from below(f"{words} {name}", inner)

    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        yield from below(name, command)


KNOWN = dict(commands())


@pytest.mark.parametrize("file", PROSE, ids=lambda file: file.name)
def test_options_that_documents_name_exist(file: Path) -> None:
    wrong = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        for words, rest in CALL.findall(line):
            name = next((one for one in (words, words.split()[0]) if one in KNOWN), None)
            if name is None:
                continue
            options = {"--help", "--version"}
            for parameter in KNOWN[name].params:
                options |= {*parameter.opts, *parameter.secondary_opts}
            asked = OPTION.findall(rest.partition(" -- ")[0])
            wrong += [f"{number}: penstock {name} {one}" for one in asked if one not in options]
    assert wrong == []


@pytest.mark.parametrize("file", PROSE, ids=lambda file: file.name)
def test_links_lead_somewhere(file: Path) -> None:
    links = LINK.findall(file.read_text())
    assert [one for one in links if not (file.parent / one).exists()] == []


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_command_has_an_example(name: str) -> None:
    command = KNOWN[name]
    assert isinstance(command, click.Group) or "xample" in (command.epilog or "")


def test_runbooks_are_all_listed() -> None:
    folder = REPOSITORY / "docs" / "runbooks"
    listed = (folder / "README.md").read_text()
    assert [one.name for one in folder.glob("*.md") if one.name not in (listed + "README.md")] == []
