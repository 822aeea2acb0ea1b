"""The shape of the project: rooms in layers, imports that point one way, siblings that do not know each other."""

import ast
import re
from collections.abc import Iterator, Set
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

PACKAGE = Path(__file__).parent.parent / "ttsr_studio"

# From the top down: a room imports from the layers below its own, never from its neighbours.
LAYERS = [
    {"__main__"},
    {"cli", "training"},
    {"farm"},
    {"watch", "evaluation", "batch", "sessions"},
    {"rendering", "config", "diagnostics", "integrations"},
    {"engines", "verifiers", "search", "report"},
    {"diffusion", "analysis", "audio", "weights", "options"},
    {"storage", "plugins"},
    {"errors"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
LOOSE = {"__init__", "__main__", "errors"}
"""Modules that lie at the top of the package."""

SHARED = {
    "search/algorithms": {"local"},
    "verifiers/signal": set[str](),
    "verifiers/pretrained": {"loading"},
    "verifiers/critic": {"network"},
    "verifiers/probe": {"network"},
    "cli/commands": set[str](),
}
"""Folders of siblings, and the modules among them that all may use."""


NAMED = re.compile(r'"(ttsr_studio\.[\w.]+):\w+"')
"""A text that names what is imported when it is asked for."""


def modules_imported(path: Path, module: ast.Module) -> Iterator[str]:
    """Full names that a file imports where it runs, as against where it is checked for types."""
    for_types = [n for n in ast.walk(module) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    for node in set(ast.walk(module)) - {node for block in for_types for node in ast.walk(block)}:
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)


@cache
def files() -> tuple[tuple[Path, frozenset[str]], ...]:
    """Every module, by its path within the package, and what it imports."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return tuple((path.relative_to(PACKAGE), frozenset(modules_imported(path, parsed(path)))) for path in paths)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def rooms_of(names: Set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("ttsr_studio.")} - {"__version__"}


def test_every_module_is_in_a_room() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == LOOSE
    assert {path.name for path in PACKAGE.iterdir() if list(path.glob("*.py"))} | LOOSE == set(LEVEL) | {"__init__"}


def test_imports_point_one_way() -> None:
    wrong = set()
    for path, names in files():
        room = path.parts[0].removesuffix(".py")
        if room != "__init__":
            names |= set(NAMED.findall((PACKAGE / path).read_text(encoding="utf-8")))
            above = {other for other in rooms_of(names) - {room} if LEVEL[other] <= LEVEL[room]}
            wrong |= {f"{path.as_posix()} imports {other}" for other in above}
    assert not wrong


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {".".join(["ttsr_studio", *path.with_suffix("").parts]): names for path, names in files()}

    def module(name: str) -> str | None:
        """The module that an imported name is, or is in; None for those of other projects."""
        return name if name in graph else module(name.rpartition(".")[0]) if "." in name else None

    edges = {name: {module(each) for each in names} - {None, name} for name, names in graph.items()}
    TopologicalSorter(edges).prepare()  # raises CycleError, which tells the way around


def test_no_module_takes_a_private_name_of_another() -> None:
    for path, names in files():
        private = {name for name in names if name.rpartition(".")[2].startswith("_") and not name.endswith("__")}
        assert not {name for name in private if name.startswith("ttsr_studio.")}, path


def test_the_wheel_has_every_room_but_training() -> None:
    names = {file.distribution_path for file in WheelBuilder(str(PACKAGE.parent)).recurse_included_files()}
    rooms = {name.split("/")[1] for name in names if name.endswith(".py") and name.count("/") > 1}
    rooms -= {"_shipped"}  # scripts for other programs
    assert rooms == {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} - {"training"}
    for path, imported in files():
        assert path.parts[0] == "training" or "training" not in rooms_of(imported), path


def test_only_the_command_line_knows_click() -> None:
    users = {path.parts[0] for path, names in files() if {"click"} & {name.split(".")[0] for name in names}}
    assert users == {"cli", "__main__.py"}


def test_siblings_do_not_import_each_other() -> None:
    for path, names in files():
        folder = path.parent.as_posix()
        if folder in SHARED:
            start = f"ttsr_studio.{folder.replace('/', '.')}."
            others = {name.removeprefix(start).split(".")[0] for name in names if name.startswith(start)}
            assert others <= SHARED[folder], f"{path} imports {others - SHARED[folder]}"


def test_engines_do_not_import_each_other() -> None:
    for path, names in files():
        if path.parts[0] == "engines" and len(path.parts) == 3:
            others = {name.split(".")[2] for name in names if name.startswith("ttsr_studio.engines.")}
            assert others <= {path.parts[1], "registry", "device"}


def test_nothing_but_the_command_line_prints_or_exits() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] in ("__main__.py", "cli", "training"):
            continue
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in ("print", "sys.exit", "exit", "click.echo"), f"{path}:{node.lineno} calls {name}"


ALIKE = {"load", "main", "parser", "render", "step", "HOP", "POWER_FLOOR"}
"""What several modules implement or have of their own: an engine's loader, a program's start, the public render and
the one behind it, a sampler's step; hops and floors of one network each."""


def public_names(path: Path) -> Iterator[tuple[str, str]]:
    """Functions, classes, aliases and constants of a module, with what an alias or a constant stands for."""
    for node in parsed(path).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, path.as_posix()
        elif isinstance(node, ast.Assign):
            yield from ((name.id, ast.unparse(node.value)) for name in node.targets if isinstance(name, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, path.as_posix()


def test_a_public_name_means_one_thing() -> None:
    """Constants count where another module imports them: until then they are their module's own."""
    imported = {name.rpartition(".") for _, names in files() for name in names}
    meanings: dict[str, dict[str, str]] = {}
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for name, meaning in public_names(path):
            if not name.startswith("_") and (not name.isupper() or (module, ".", name) in imported):
                meanings.setdefault(name, {})[module] = meaning
    double = {name: sorted(found) for name, found in meanings.items() if len(set(found.values())) > 1}
    assert set(double) == ALIKE, {name: double.get(name) for name in set(double) ^ ALIKE}


LONGEST_FUNCTION, LONGEST_CLASS, MOST_PARAMETERS = 60, 200, 6


def lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def too_large(module: ast.Module) -> Iterator[str]:
    """Names of functions and classes beyond the limits; commands take an argument for each of their options."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            command = any("command(" in ast.unparse(each) for each in node.decorator_list)
            named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len([each for each in named if each.arg not in ("self", "cls")])
            if lines(node) > LONGEST_FUNCTION or (count > MOST_PARAMETERS and not command):
                yield node.name
        elif isinstance(node, ast.ClassDef) and lines(node) > LONGEST_CLASS:
            yield node.name


def test_functions_and_classes_fit_a_screen() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        names = too_large(parsed(path))
        found |= {f"{path.relative_to(PACKAGE).as_posix()} {name}" for name in names}
    assert not found
