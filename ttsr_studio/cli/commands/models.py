"""`ttsr models`: weights that are not shipped."""

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from ttsr_studio.cli import completing
from ttsr_studio.cli.command import UserPath
from ttsr_studio.cli.interrupt import left_at_once
from ttsr_studio.cli.json_output import echo_json
from ttsr_studio.cli.render_options import device_flag
from ttsr_studio.cli.terminal import Cell, print_table
from ttsr_studio.engines.audiosr.models import AUDIOSR_MODELS
from ttsr_studio.errors import MissingError, OptionError, TtsrError, on_one_line, shown, unknown
from ttsr_studio.weights import store
from ttsr_studio.weights.install import PRECISIONS, fetch, install
from ttsr_studio.weights.registry import VERIFIER_MODELS, Model

MODELS = AUDIOSR_MODELS | VERIFIER_MODELS
MODEL_NAMES = completing.names(lambda: MODELS)
PRECISION = click.option(
    "--precision", type=click.Choice(PRECISIONS), default="fp16", show_default=True, help="Of the weights on disk."
)


def errors_in_one_line(command: Callable[..., None]) -> Callable[..., None]:
    """Turn the library's errors into one line and exit code 1."""

    @wraps(command)
    def called(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except TtsrError as error:
            click.echo(f"Error: {on_one_line(str(error))}", err=True)
            sys.exit(2 if isinstance(error, OptionError) else 1)

    return called


def find(name: str) -> Model:
    """A model by name. Raises OptionError for an unknown one."""
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return MODELS[name]


def tell_progress(line: str) -> None:
    click.echo(line, err=True)


@click.group("models")
def models_group() -> None:
    """Weights that are not shipped: fetch, import and check them. Rendering never reaches for the network."""


@models_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="A JSON array on standard output.")
@errors_in_one_line
def models_list(as_json: bool) -> None:
    """All models, and which are installed."""
    rows: list[dict[str, Any]] = []
    for model in MODELS.values():
        try:
            manifest, problem = store.installed(model.name), None
        except MissingError as error:
            manifest, problem = None, str(error)
        rows.append(
            {
                "name": model.name,
                "kind": model.kind,
                "installed": manifest is not None,
                "download_bytes": model.bytes,
                "licence": model.licence,
                "about": model.about,
                "folder": str(store.folder(model.name)) if manifest else None,
                "origin": manifest.origin if manifest else None,
                "problem": problem,
            }
        )
    if as_json:
        echo_json(rows, indent=2)
        return
    table: list[list[Cell]] = []
    for row in rows:
        state = Text("installed", "green") if row["installed"] else Text("not installed")
        state = Text("broken", "red") if row["problem"] else state
        table.append([row["name"], state, f"{row['download_bytes'] / 1e9:.2f} GB", row["licence"], row["about"]])
    print_table(("name", "state", "download", "licence", "about"), table, wrapped="about")
    click.echo(f"\nfolder: {shown(store.root())} (set {store.VARIABLE} for another)")


@models_group.command("fetch")
@click.argument("names", nargs=-1, required=True, shell_complete=MODEL_NAMES)
@PRECISION
@click.option("--offline", is_flag=True, help="Install what was downloaded before; never ask the network.")
@click.option("--keep", is_flag=True, help="Keep the download after it is converted.")
@errors_in_one_line
def models_fetch(names: tuple[str, ...], precision: str, offline: bool, keep: bool) -> None:
    """Download models from the hub, check and convert them. An interrupted download goes on where it stopped."""
    for model in [find(name) for name in names]:
        fetch(model, precision, tell_progress, offline=offline, keep=keep)
        click.echo(f"{model.name}: installed in {shown(store.folder(model.name))}")


@models_group.command("import")
@click.argument("name", shell_complete=MODEL_NAMES)
@click.argument("file", type=UserPath(path_type=Path))
@PRECISION
@errors_in_one_line
def models_import(name: str, file: Path, precision: str) -> None:
    """Install a model from a FILE or folder that you have, e.g. AudioSR's pytorch_model.bin. It is not touched."""
    install(find(name), file, precision, tell_progress)
    click.echo(f"{name}: installed in {shown(store.folder(name))}")


@models_group.command("path")
@click.argument("name", required=False, shell_complete=MODEL_NAMES)
@errors_in_one_line
def models_path(name: str | None) -> None:
    """Print the folder of a model, or of all."""
    if name is not None:
        find(name)
        store.require(name)
    click.echo(store.folder(name) if name else store.root())


@models_group.command("bench")
@click.option("--seconds", default=5.12, show_default=True, help="Length of a candidate.")
@click.option("--candidates", default=4, show_default=True, help="Scored at once.")
@device_flag
@errors_in_one_line
def models_bench(seconds: float, candidates: int, device: str) -> None:
    """Print what every verifier that is here costs: milliseconds for a second of a candidate's audio."""
    with left_at_once():
        from ttsr_studio.diagnostics.verifier_speed import bench_verifiers
        from ttsr_studio.engines.device import resolve_device

    for name, cost in bench_verifiers(seconds, candidates, resolve_device(device)):
        click.echo(f"{name:18} {cost if isinstance(cost, str) else f'{cost:8.1f} ms'}")


@models_group.command("verify")
@click.argument("names", nargs=-1, shell_complete=MODEL_NAMES)
@click.option(
    "--listen",
    type=UserPath(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also try an engine on a full-band FILE of 5.12 s or more, and write a short report of what its weights have "
    "to confirm.",
)
@click.option(
    "-o", "--output", type=UserPath(path_type=Path), default="ttsr-listen", show_default=True, help="Report's folder."
)
@errors_in_one_line
def models_verify(names: tuple[str, ...], listen: Path | None, output: Path) -> None:
    """Check installed models (all, or those named) against their checksums. Exit code 1 when one is damaged."""
    chosen = [find(name).name for name in names] or [name for name in MODELS if store.folder(name).exists()]
    if not chosen:
        raise MissingError(f"no model is installed; {store.remedy('NAME')}")
    wrong = 0
    for name in chosen:
        try:
            files = store.damaged(name)
        except MissingError as error:
            wrong += 1
            click.echo(f"{name}: {error}")
            continue
        wrong += bool(files)
        state = f"DAMAGED: {', '.join(files)}; {store.remedy(name)}" if files else "checksums as installed"
        click.echo(f"{name}: {state}")
        if listen and not files and MODELS[name].kind == "engine":
            from ttsr_studio.diagnostics.engine_check import listen_to

            for line in listen_to(name, listen, output / name, tell_progress):
                click.echo(f"{name}: {line}")
    if wrong:
        sys.exit(1)
