"""JSON that is changed where it stands: values know where they begin and end."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ttsr_studio.errors import InputError

_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+)', re.DOTALL)
DEEPEST = 200


@dataclass(eq=False)
class Node:
    """A value and where it stands, in characters of the text.

    Attributes:
        value: of a text, a number and the like; None for objects and lists.
        members: of an object, by key. items: of a list.
    """

    start: int
    parent: "Node | None"
    end: int = 0
    value: Any = None
    members: dict[str, "Node"] = field(default_factory=dict)
    items: list["Node"] = field(default_factory=list)

    def get(self, name: str) -> Any:
        """The plain value of a member; None where it is none, or no plain one."""
        return self.members[name].value if name in self.members else None

    def walk(self) -> Iterator["Node"]:
        """This value and all within it, in order."""
        yield self
        for child in (*self.members.values(), *self.items):
            yield from child.walk()

    def above(self) -> Iterator["Node"]:
        """The values that this one is in, from the nearest on."""
        each = self.parent
        while each is not None:
            yield each
            each = each.parent


class JsonText:
    """A JSON document. Raises InputError for what is none.

    Args:
        content: of the file. name: what errors call it.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self.name = name
        try:
            self.text = content.decode()
            json.loads(self.text.removeprefix("\ufeff"))
        except UnicodeDecodeError as error:
            raise InputError(f"{name}: not UTF-8 ({error.reason} at byte {error.start}); save it anew") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{name}: not JSON ({error}); save it anew") from error
        self.at = len(self.text) - len(self.text.removeprefix("\ufeff"))
        self.root = self._value(None, 0)

    def _token(self) -> re.Match[str]:
        found = _TOKEN.match(self.text, self.at)
        if found is None:
            raise InputError(f"{self.name}: not JSON at character {self.at}; save it anew")
        self.at = found.end()
        return found

    def _value(self, parent: Node | None, depth: int) -> Node:
        token = self._token()
        node = Node(token.start(1), parent)
        if depth > DEEPEST:
            raise InputError(f"{self.name}: values within values, more than any session has")
        if token[1] in "{[":
            closing = "}" if token[1] == "{" else "]"
            while (token := self._token())[1] != closing:
                if token[1] == ",":
                    continue
                if closing == "}":
                    self._token()  # the colon
                    node.members[json.loads(token[1])] = self._value(node, depth + 1)
                else:
                    self.at = token.start(1)
                    node.items.append(self._value(node, depth + 1))
        else:
            node.value = json.loads(token[1])
        node.end = token.end()
        return node
