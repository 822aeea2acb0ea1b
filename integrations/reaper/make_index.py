"""Write index.xml, which ReaPack reads, from the headers of the packages in the folders beside this file.

    python make_index.py --url https://where.the.files/will/be/     # writes index.xml
    python make_index.py --check                                    # exit code 1 unless index.xml is up to date

A package is a script with `@version` in its header, other scripts say `@noindex`. The format of the headers is that of
ReaPack's own indexer (https://github.com/cfillion/reapack-index/wiki/Packaging-Documentation), of which this reads the
tags below; the format of the index is https://github.com/cfillion/reapack/wiki/Index-Format.
"""

import argparse
import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

HERE = Path(__file__).resolve().parent
INDEX = HERE / "index.xml"
NAME = "TTSR Studio"
URL = "https://ttsr.example/reaper/"
"""A host that is reserved for examples: whoever publishes the folder says with --url where it is."""

TAGS = ("about", "author", "changelog", "description", "noindex", "provides", "version")
NEEDED = ("author", "changelog", "description", "provides", "version")


class HeaderError(Exception):
    """A header that ReaPack would not understand, or that does not fit the files."""


@dataclass(frozen=True)
class Package:
    """One script and what comes with it.

    Attributes:
        tags: the header's values by tag.
        sources: file names, each with whether it is an action.
    """

    path: Path
    tags: dict[str, str]
    sources: tuple[tuple[str, bool], ...]


def read_header(path: Path) -> dict[str, str]:
    """Values of the comment that a script begins with; further lines of a value are indented. Raises HeaderError."""
    tags: dict[str, list[str]] = {}
    name = None
    for line in path.read_text(encoding="utf-8").splitlines():
        comment = re.fullmatch(r"--(.*)", line)
        if not comment:
            break
        tag = re.fullmatch(r" @(\w+)\s*(.*)", comment[1])
        if tag:
            name = tag[1]
            if name not in TAGS:
                raise HeaderError(f"{path.name}: unknown tag @{name}; known: {' '.join(TAGS)}")
            tags[name] = [tag[2]] if tag[2] else []
        elif name and (comment[1].startswith("  ") or not comment[1].strip()):
            tags[name].append(comment[1].strip())
        else:
            name = None
    return {name: "\n".join(lines).strip() for name, lines in tags.items()}


def read_provides(path: Path, text: str) -> tuple[tuple[str, bool], ...]:
    """Files of a package, the script itself first. Raises HeaderError where one is missing or named twice."""
    sources: dict[str, bool] = {}
    for line in text.splitlines():
        entry = re.fullmatch(r"\[(main|nomain)\] (\S+)", line)
        if not entry:
            raise HeaderError(f"{path.name}: @provides: {line!r} is not '[main] FILE' or '[nomain] FILE'")
        name = path.name if entry[2] == "." else entry[2]
        if name in sources:
            raise HeaderError(f"{path.name}: @provides: {name} comes twice")
        if not (path.parent / name).is_file():
            raise HeaderError(f"{path.name}: @provides: there is no {name}")
        sources[name] = entry[1] == "main"
    if path.name not in sources:
        raise HeaderError(f"{path.name}: @provides lacks the script itself, '[main] .'")
    return tuple(sorted(sources.items(), key=lambda each: (each[0] != path.name, each[0])))


def find_packages() -> list[Package]:
    """All packages, sorted. Raises HeaderError for scripts that belong to none."""
    packages = []
    orphans = set()
    for path in sorted(HERE.glob("*/*.lua")):
        tags = read_header(path)
        if "noindex" in tags:
            orphans.add(path)
            continue
        missing = [name for name in NEEDED if not tags.get(name)]
        if missing:
            raise HeaderError(f"{path.name}: the header lacks @{' @'.join(missing)}")
        packages.append(Package(path, tags, read_provides(path, tags["provides"])))
    for package in packages:
        orphans -= {package.path.parent / name for name, _ in package.sources}
    if orphans:
        raise HeaderError(f"no package provides {' '.join(sorted(path.name for path in orphans))}")
    return packages


def rich_text(text: str) -> str:
    """Plain paragraphs as RTF, which is what ReaPack shows."""
    escaped = re.sub(r"([\\{}])", r"\\\1", text)
    escaped = "".join(c if ord(c) < 128 else f"\\u{ord(c)}?" for c in escaped)
    paragraphs = (" ".join(each.split()) for each in re.split(r"\n\s*\n", escaped))
    return "{\\rtf1 " + "\\par\\par ".join(paragraphs) + "}"


def make_index(url: str) -> str:
    """The index of all packages, for files that lie below a URL."""
    root = ElementTree.Element("index", version="1", name=NAME)
    categories: dict[str, ElementTree.Element] = {}
    for package in find_packages():
        folder = package.path.parent.name
        if folder not in categories:
            categories[folder] = ElementTree.SubElement(root, "category", name=folder)
        entry = ElementTree.SubElement(
            categories[folder], "reapack", name=package.path.name, type="script", desc=package.tags["description"]
        )
        if package.tags.get("about"):
            metadata = ElementTree.SubElement(entry, "metadata")
            ElementTree.SubElement(metadata, "description").text = rich_text(package.tags["about"])
        version = ElementTree.SubElement(entry, "version", name=package.tags["version"], author=package.tags["author"])
        for name, is_action in package.sources:
            source = ElementTree.SubElement(version, "source")
            if is_action:
                source.set("main", "main")
            if name != package.path.name:
                source.set("file", name)
            source.text = url.rstrip("/") + "/" + quote(str(PurePosixPath(folder, name)))
        ElementTree.SubElement(version, "changelog").text = package.tags["changelog"]
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Write index.xml for ReaPack from the headers of the scripts.")
    parser.add_argument("--url", default=URL, help="where this folder can be fetched from (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=INDEX, help="default: index.xml beside this script")
    parser.add_argument("--check", action="store_true", help="only say whether the file is up to date")
    arguments = parser.parse_args()
    try:
        text = make_index(arguments.url)
    except HeaderError as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.check:
        same = arguments.output.is_file() and arguments.output.read_text(encoding="utf-8") == text
        print(f"{arguments.output} is {'up to date' if same else 'out of date'}")
        return 0 if same else 1
    arguments.output.write_text(text, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
