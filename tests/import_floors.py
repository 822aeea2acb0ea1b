"""The floors of the package: `python tests/import_floors.py` prints which room imports from which.

A room stands one floor above the highest of those that it imports from, where it runs or by a text "module:name" that
is imported on use. What one could not stand on any floor for, a way round in a circle, is an error.
"""

from collections import defaultdict
from graphlib import TopologicalSorter

import test_architecture as rules

Rooms = dict[str, set[str]]


def imports() -> Rooms:
    """Rooms, and those that each imports from."""
    found: Rooms = defaultdict(set)
    for path, names in rules.files():
        room = path.parts[0].removesuffix(".py")
        if room != "__init__":
            names |= set(rules.NAMED.findall((rules.PACKAGE / path).read_text(encoding="utf-8")))
            found[room] |= (rules.rooms_of(names) - {room}) & set(rules.LEVEL)
    return found


def floors(of: Rooms) -> dict[str, int]:
    """The floor of every room, 0 for those that import from none. Raises CycleError."""
    found: dict[str, int] = {}
    for room in TopologicalSorter(of).static_order():
        found[room] = max((found[each] + 1 for each in of[room]), default=0)
    return found


def lines_of(room: str) -> int:
    """Lines of Python in a room."""
    paths = (rules.PACKAGE / room).rglob("*.py") if (rules.PACKAGE / room).is_dir() else [rules.PACKAGE / f"{room}.py"]
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def page() -> str:
    """A line for each room, the highest floor first."""
    rooms = imports()
    floor = floors(rooms)
    rows = sorted(rooms, key=lambda room: (-floor[room], room))
    told = [
        f"{floor[room]:5}  {room:12} {lines_of(room):6}  {', '.join(sorted(rooms[room]))}".rstrip() for room in rows
    ]
    return "\n".join(["floor  room          lines  imports from", *told, f"total {sum(map(lines_of, rooms)):20}"])


if __name__ == "__main__":
    print(page())
