"""`penstock inspect`: say what Penstock understands of recorded exchanges."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, cast

import click

GZIP_MAGIC = b"\x1f\x8b"
BOM = b"\xef\xbb\xbf"  # what some editors and shells put before the first line
# One recorded exchange: a body of 64 MiB in base64, twice, and its frame.
LINE_BYTES_MAX = 256 * 1024 * 1024


@click.command(
    epilog="Example: penstock inspect recorded.jsonl.gz session.har flows.mitm | jq .request_model",
    short_help="Say what Penstock understands of recorded exchanges.",
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--jsonl",
    is_flag=True,
    help="FILE holds one exchange a line (request, response). Default: told from its bytes.",
)
def command(files: tuple[Path, ...], jsonl: bool) -> None:
    """Write one JSON line for each exchange recorded in FILE: API, model, usage, tools, texts.

    FILE may be JSONL, HAR or a mitmproxy flow file, plain or gzipped; - or nothing is stdin.
    Exit code 0: all read; 1: some exchanges could not be read; 2: a file could not be opened.
    """
    from penstock.destinations import identify
    from penstock.wire.inspect import inspect

    broken = 0
    out = sys.stdout.buffer
    with _Sources(files or (Path("-"),)) as sources:
        for name, file in sources:
            number = 0
            try:
                for number, line in enumerate(_lines(file, jsonl), 1):
                    if isinstance(line, ValueError):
                        broken += 1
                        click.echo(f"{name}: exchange {number}: {line}", err=True)
                        continue
                    line.setdefault("id", f"{name}#{number}")
                    out.write(_written(inspect(line, identify)) + b"\n")
                    if name == "-":
                        out.flush()
            except BrokenPipeError:
                raise  # whoever read us has enough: click ends the command quietly
            except (ValueError, OSError, EOFError) as error:
                broken += 1
                click.echo(f"{name}: after exchange {number}: {error}", err=True)
    out.flush()
    if broken:
        raise SystemExit(1)


def _written(value: dict[str, Any]) -> bytes:
    import json

    import orjson

    try:
        return orjson.dumps(value)
    except TypeError:  # an integer beyond 64 bits, half of a character
        return json.dumps(value).encode()


class _Sources:
    """The files in turn, opened, with a progress bar on a terminal."""

    def __init__(self, files: tuple[Path, ...]) -> None:
        self._files = files
        self._stack = ExitStack()
        known = [path.stat().st_size for path in files if path.is_file()]
        shown = sys.stderr.isatty() and not sys.stdout.isatty() and sum(known) > 0
        self._bar: Any = None
        if shown:
            bar = click.progressbar(length=sum(known), label="inspect", file=sys.stderr)
            self._bar = self._stack.enter_context(bar)

    def __enter__(self) -> _Sources:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[tuple[str, BinaryIO]]:
        for path in self._files:
            if str(path) == "-":
                yield "-", _unpacked(sys.stdin.buffer)
                continue
            try:
                file = path.open("rb", buffering=0)
            except OSError as error:
                click.echo(f"{path}: {error.strerror}", err=True)
                raise SystemExit(2) from error
            with file:
                watched = _Watched(file, self._bar)
                yield str(path), _unpacked(cast(BinaryIO, io.BufferedReader(watched)))


class _Watched(io.RawIOBase):
    """A file that tells the progress bar how far it was read."""

    def __init__(self, file: io.RawIOBase | BinaryIO, bar: Any) -> None:
        self._file = file
        self._bar = bar

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer)) or b""
        buffer[: len(data)] = data
        if self._bar is not None:
            self._bar.update(len(data))
        return len(data)


def _unpacked(file: BinaryIO) -> BinaryIO:
    if _peek(file).startswith(GZIP_MAGIC):
        return cast(BinaryIO, io.BufferedReader(gzip.GzipFile(fileobj=file)))
    return file


def _peek(file: BinaryIO) -> bytes:
    peek = getattr(file, "peek", None)
    return cast(bytes, peek(64)) if peek else b""


def _lines(file: BinaryIO, jsonl: bool) -> Iterator[dict[str, Any] | ValueError]:
    """The recorded exchanges of one file, whatever its format; an error for a broken line."""
    import orjson

    from penstock.wire.har import har_lines, is_har

    if not jsonl and _peek(file)[:1].isdigit():
        from penstock.proxy.flowfile import flow_lines

        yield from flow_lines(file)
        return
    first = True
    while raw := file.readline(LINE_BYTES_MAX):
        raw = raw.removeprefix(BOM) if first else raw
        if not raw.strip():
            continue
        if first and not jsonl and not _is_exchange(raw):
            document = orjson.loads(raw + file.read())
            if not is_har(document):
                raise ValueError("neither JSONL of exchanges, nor HAR, nor a flow file")
            yield from har_lines(document)
            return
        first = False
        yield _line(raw)


def _line(raw: bytes) -> dict[str, Any] | ValueError:
    import json

    import orjson

    try:
        line = orjson.loads(raw)
    except ValueError as error:
        try:
            line = json.loads(raw)  # half a character in a text, a number beyond all bounds
        except (ValueError, RecursionError):
            return ValueError(f"not JSON: {error}")
    return line if isinstance(line, dict) else ValueError("not a JSON object")


def _is_exchange(raw: bytes) -> bool:
    line = _line(raw)
    return isinstance(line, dict) and "request" in line
