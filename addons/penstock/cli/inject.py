"""`penstock inject`: print manifests with the sidecar in them, or serve the admission webhook."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from penstock.cli.words import why

# Some thousand manifests. Reading them is work of seconds, not minutes.
DOCUMENTS_BYTES_MAX = 8 * 1024 * 1024


@click.command(
    epilog="Example: penstock inject --file deployment.yaml | kubectl apply -f -",
    short_help="Patch pods with the sidecar; serve the admission webhook.",
)
@click.option(
    "--file",
    "files",
    multiple=True,
    type=click.Path(path_type=Path, allow_dash=True),
    help="Print this manifest with its pods patched ('-': standard input). May be repeated.",
)
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="What to inject: YAML with image, sidecar, redirect, policy, mode, ...",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["yaml", "json"]),
    default="yaml",
    show_default=True,
    help="How --file prints.",
)
@click.option(
    "--listen", default="0.0.0.0:9443", show_default=True, help="Serve the webhook at HOST:PORT."
)
@click.option(
    "--tls-cert",
    type=click.Path(path_type=Path),
    default=Path("/etc/penstock/tls/tls.crt"),
    show_default=True,
    help="The webhook's certificate; a renewed file is picked up.",
)
@click.option(
    "--tls-key",
    type=click.Path(path_type=Path),
    default=Path("/etc/penstock/tls/tls.key"),
    show_default=True,
    help="The webhook's key.",
)
def command(
    files: tuple[Path, ...],
    settings_file: Path | None,
    form: str,
    listen: str,
    tls_cert: Path,
    tls_key: Path,
) -> None:
    """Put the Penstock sidecar into Kubernetes pods.

    With --file the patched manifests are printed: every Pod, and every pod template of a
    Deployment, StatefulSet, DaemonSet, Job, CronJob or List; all else comes out unchanged.
    Without --file the admission webhook is served over HTTPS at POST /mutate.

    Exit codes: 0 patched or served, 1 a pod was refused, 2 wrong usage or settings.
    """
    from penstock.kube.settings import Settings, load_settings

    settings = Settings()
    if settings_file is not None:
        try:
            settings = load_settings(settings_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            _fail(why(error, settings_file))
    if files:
        sys.exit(_print_patched(files, settings, form))
    _serve(settings, listen, tls_cert, tls_key)


def _print_patched(files: tuple[Path, ...], settings: Any, form: str) -> int:
    from penstock.kube.manifests import patch_document

    documents, pods, refused = [], 0, 0
    for file in files:
        for document in _documents(file):
            result = patch_document(document, settings)
            documents.append(result.document)
            pods += result.pods
            refused += len(result.refused)
            for warning in result.warnings:
                click.echo(f"penstock inject: warning: {file}: {warning}", err=True)
            for reason in result.refused:
                click.echo(f"penstock inject: refused: {file}: {reason}", err=True)
    if refused:
        return 1  # nothing is printed: half a set of manifests must not reach `kubectl apply`
    click.echo(_rendered(documents, form), nl=False)
    click.echo(f"penstock inject: {pods} of {len(documents)} documents hold the sidecar", err=True)
    return 0


def _documents(file: Path) -> list[Any]:
    import yaml

    class Loader(yaml.SafeLoader):
        """Without timestamps: a date in a manifest is a text."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in pairs if not tag.endswith(":timestamp")]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    try:
        with click.open_file(str(file), encoding="utf-8") as stream:
            text = stream.read(DOCUMENTS_BYTES_MAX + 1)
        if len(text) > DOCUMENTS_BYTES_MAX:
            _fail(f"{file}: larger than {DOCUMENTS_BYTES_MAX} characters")
        return [document for document in yaml.load_all(text, Loader) if document is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        _fail(f"{file}{line}: not YAML: {getattr(error, 'problem', None) or 'unreadable'}")
        raise AssertionError from error
    except (OSError, UnicodeDecodeError) as error:
        _fail(why(error, file))
        raise AssertionError from error


def _rendered(documents: list[Any], form: str) -> str:
    if form == "json":
        import json

        shown = documents[0] if len(documents) == 1 else documents
        return json.dumps(shown, indent=2) + "\n"
    import yaml

    class Dumper(yaml.SafeDumper):
        """Without anchors: the same list in two containers is written out twice."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    return str(
        yaml.dump_all(documents, Dumper=Dumper, sort_keys=False, explicit_start=len(documents) > 1)
    )


def _serve(settings: Any, listen: str, cert: Path, key: Path) -> None:
    import asyncio
    import ssl

    from penstock.kube.server import build_server, serve

    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        _fail(f"--listen {listen}: must be HOST:PORT")
    try:
        server = build_server(settings, host.strip("[]"), int(port), cert, key)
    except (OSError, ssl.SSLError) as error:
        _fail(f"--tls-cert {cert} and --tls-key {key}: {error}")
        return
    click.echo(f"penstock inject: serving https://{listen}/mutate", err=True)
    asyncio.run(serve(server, cert, key))


def _fail(message: str) -> None:
    click.echo(f"penstock inject: {message}", err=True)
    sys.exit(2)
