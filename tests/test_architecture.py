"""The shape of the project: imports point one way, siblings do not know each other."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "ttsr_studio"

# From the top down: a part may import from parts below its own line and from leaves, never from its neighbours.
LAYERS = [
    {"__main__"},
    {"cli"},
    {
        "evaluate",
        "watch",
        "training",
        "models",
        "score_command",
        "render_command",
        "job_command",
        "replay_command",
        "tune_command",
        "presets_command",
        "doctor_command",
    },
    {"resolving"},
    {"flags"},
    {"render", "doctor", "jobs", "presets", "again", "scoring", "job_file"},
    {"finishing"},
    {"material", "searching"},
    {"pacing", "rewards", "pool"},
    {"outcome", "observer", "splicing", "session", "candidates", "progress", "finalists", "briefs", "sidecars"},
    {"report"},
    {"verifiers"},
    {"audio", "engines", "search", "analysis"},
    {"diffusion"},
    {"options", "errors", "levels", "weights", "store", "usage", "stopping", "terminal"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
SAME_LEVEL_ALLOWED = {
    ("render", "outcome"), ("outcome", "observer"), ("outcome", "session"), ("outcome", "candidates"),
    ("observer", "candidates"), ("observer", "splicing"), ("splicing", "candidates"), ("session", "progress"),
    ("finalists", "session"), ("briefs", "sidecars"), ("pacing", "session"), ("rewards", "session"),
    ("observer", "finalists"), ("outcome", "finalists"), ("errors", "options"), ("options", "errors"),
    ("render_command", "job_command"),
    ("tune_command", "evaluate"), ("replay_command", "evaluate"),
    ("weights", "errors"), ("store", "errors"), ("usage", "errors"), ("terminal", "errors"),
}  # fmt: skip


def parts_imported(path: Path) -> set[str]:
    found = set()
    tree = ast.parse(path.read_text())
    for_types_only = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    ignored = {node for block in for_types_only for node in ast.walk(block)}
    for node in set(ast.walk(tree)) - ignored:
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{a.name}" for a in node.names] if node.module == "ttsr_studio" else [node.module]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        found |= {n.split(".")[1] for n in names if n.startswith("ttsr_studio.")}
    return found


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_imports_point_one_way() -> None:
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        part = part_of(path)
        if part == "__init__":
            continue
        for other in parts_imported(path) - {part, "__version__"}:
            assert other in LEVEL, f"{path}: {other} has no place in the layers"
            if LEVEL[other] <= LEVEL[part] and (part, other) not in SAME_LEVEL_ALLOWED:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {other}")
    assert not wrong


def test_algorithms_verifiers_and_engines_do_not_import_their_siblings() -> None:
    shared = {"search": {"contract", "rounds"}, "verifiers": {"ensemble", "pretrained"}, "engines": set()}
    for folder, allowed in shared.items():
        files = [p for p in (PACKAGE / folder).glob("*.py") if p.name not in ("__init__.py", "batching.py")]
        for path in files:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"ttsr_studio.{folder}."):
                    assert (node.module or "").split(".")[2] in allowed, f"{path} imports {node.module}"


def test_nothing_but_the_command_line_prints_or_exits() -> None:
    own_commands = {
        PACKAGE / "__main__.py",
        PACKAGE / "cli.py",
        PACKAGE / "evaluate" / "command.py",
        PACKAGE / "models" / "command.py",
        PACKAGE / "watch" / "command.py",
        *PACKAGE.glob("*_command.py"),
        *(PACKAGE / "training").glob("*.py"),
    }
    for path in PACKAGE.rglob("*.py"):
        if path in own_commands:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in ("print", "sys.exit", "exit", "click.echo"), f"{path}:{node.lineno} calls {name}"
