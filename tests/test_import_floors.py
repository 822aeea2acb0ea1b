"""The command that prints the floors of the package."""

from graphlib import CycleError

import import_floors
import pytest
import test_architecture as rules


def test_every_room_stands_on_a_floor_above_those_that_it_imports_from() -> None:
    head, *rows, total = import_floors.page().splitlines()
    told = {room: int(floor) for floor, room, *_ in map(str.split, rows)}
    assert head.split()[:3] == ["floor", "room", "lines"]
    assert set(told) == set(rules.LEVEL)
    for room, others in import_floors.imports().items():
        assert all(told[room] > told[other] for other in others), room
    assert (told["errors"], told["__main__"]) == (0, max(told.values()))
    assert max(told.values()) < len(rules.LAYERS), "not more floors than there are layers"
    assert int(total.split()[1]) == sum(int(row.split()[2]) for row in rows)


def test_a_way_round_in_a_circle_has_no_floor() -> None:
    with pytest.raises(CycleError):
        import_floors.floors({"audio": {"report"}, "report": {"audio"}})
