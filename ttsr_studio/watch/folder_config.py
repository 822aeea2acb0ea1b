"""What is to be done with a file: from the folders it lies in, their `ttsr-watch.toml`, and its sidecar.

preset = "speech"            # a folder named after a preset says the same
candidates = 16              # any option of `ttsr render`, as in a preset
priority = 5                 # files with more go first; 0
wait-for-sidecar = true      # nothing is rendered before its NAME.ttsr.toml is there
finished = "move"            # sources go to _done/ or _failed/; "leave" them where they are
ignore = ["*_draft.wav"]     # names of files or folders to leave alone
[folders]
"lead vox" = "speech"        # presets of sub-folders
"""

import difflib
import fnmatch
import os
import re
import time
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from ttsr_studio.config import presets
from ttsr_studio.config.option_fields import PRESET_KEYS
from ttsr_studio.config.resolve import resolve
from ttsr_studio.config.sidecar import KEYS as ANNOTATION_KEYS
from ttsr_studio.config.sidecar import read_sidecar, sidecar
from ttsr_studio.errors import OptionError, TtsrError, shown, unknown
from ttsr_studio.options import RenderOptions
from ttsr_studio.storage.home import from_home

CONFIG = "ttsr-watch.toml"
OWN_KEYS: dict[str, type] = {
    "preset": str,
    "priority": int,
    "wait-for-sidecar": bool,
    "finished": str,
    "ignore": list,
    "folders": dict,
}
FINISHED = ("leave", "move")
MEMORY_SECONDS = 1.0
ALIKE = 0.8
"""How much of a folder's name a preset has to share to be told: "speach", "musik" and "drum" do."""


@dataclass(frozen=True)
class FolderRule:
    """What holds in a folder.

    Attributes:
        values: options of `ttsr render` by name, over those of the preset.
        folders: presets of sub-folders by name.
    """

    preset: str = "general"
    values: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    wait_for_sidecar: bool = False
    finished: str = "leave"
    ignore: tuple[str, ...] = ()
    folders: Mapping[str, str] = field(default_factory=dict)

    def ignores(self, path: str) -> bool:
        return any(fnmatch.fnmatchcase(part, pattern) for pattern in self.ignore for part in PurePath(path).parts)


class FolderRules:
    """The rules of a tree. Files are read again when they have changed.

    Args:
        base: what holds at the root.

    Attributes:
        misleading: folders whose name has nearly a preset's in it, and that have another -> what to do.
    """

    def __init__(self, root: Path, base: FolderRule) -> None:
        self.root, self.base = root, base
        self._read: dict[Path, tuple[int, Mapping[str, Any]]] = {}
        self.patience = MEMORY_SECONDS
        self.changed = False
        self.misleading: dict[str, str] = {}
        self._found: dict[str, tuple[float, FolderRule]] = {}

    def of(self, path: str) -> FolderRule:
        """The rule for a file, by its path relative to the root; for a moment the one that a neighbour had.

        Raises OptionError for a broken `ttsr-watch.toml`.
        """
        folder, now = os.path.dirname(path), time.monotonic()
        if folder not in self._found or now - self._found[folder][0] > self.patience:
            self._found[folder] = now, self._find(PurePath(folder).parts)
        return self._found[folder][1]

    def _find(self, folders: tuple[str, ...]) -> FolderRule:
        known = presets.available()
        folder, rule = self.root, self._within(self.root, self.base)
        for name in folders:
            folder = folder / name
            named = name.strip().casefold()
            preset = rule.folders.get(name) or (named if named in known else rule.preset)
            rule = self._within(folder, replace(rule, preset=preset))
            if named not in known and name not in rule.folders and "preset" not in self._config(folder / CONFIG):
                self._note_misleading(folder, rule.preset, known.keys())
        return rule

    def _note_misleading(self, folder: Path, preset: str, known: Collection[str]) -> None:
        """Remember a folder whose name has nearly that of another preset in it, which does not count."""
        words = re.split(r"[\W_]+", folder.name.casefold())
        near = [name for word in words for name in difflib.get_close_matches(word, sorted(known), 1, ALIKE)]
        for meant in near[:1] if preset not in near else ():
            self.misleading[shown(folder.relative_to(self.root))] = (
                f"is rendered with {preset}, as it is not named like a preset; name it {meant}, or put "
                f'[folders] "{folder.name}" = "{meant}" into {CONFIG}'
            )

    def _within(self, folder: Path, rule: FolderRule) -> FolderRule:
        values = dict(self._config(folder / CONFIG))
        if not values:
            return rule
        own = {key: values.pop(key) for key in OWN_KEYS if key in values}
        return FolderRule(
            preset=own.get("preset", rule.preset),
            values={**rule.values, **values},
            priority=own.get("priority", rule.priority),
            wait_for_sidecar=own.get("wait-for-sidecar", rule.wait_for_sidecar),
            finished=own.get("finished", rule.finished),
            ignore=(*rule.ignore, *own.get("ignore", ())),
            folders={**rule.folders, **own.get("folders", {})},
        )

    def _config(self, path: Path) -> Mapping[str, Any]:
        try:
            stamp = path.stat().st_mtime_ns
        except OSError:
            return {}
        if path not in self._read or self._read[path][0] != stamp:
            self._read[path] = stamp, self._parse(path)
            self.changed = True
        return self._read[path][1]

    def _parse(self, path: Path) -> Mapping[str, Any]:
        name = shown(path.relative_to(self.root))
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise OptionError(f"{name}: not valid TOML: {error}") from error
        for key, value in values.items():
            if key in OWN_KEYS:
                refuse_folder_kind(name, key, value)
            elif key not in PRESET_KEYS:
                raise OptionError(f"{name}: {unknown('key', key, [*OWN_KEYS, *PRESET_KEYS])}")
            else:
                values[key] = self._checked(path, key, value)
        if values.get("finished", "leave") not in FINISHED:
            raise OptionError(f"{name}: {unknown('value of finished', values['finished'], FINISHED)}")
        for preset in (*values.get("folders", {}).values(), *([values["preset"]] if "preset" in values else [])):
            if preset not in presets.available():
                raise OptionError(f"{name}: {unknown('preset', str(preset), presets.available())}")
        return values

    def options_for(self, path: str, rule: FolderRule) -> RenderOptions:
        """Options of one render: the rule's, then the sidecar's.

        Raises OptionError or InputError for a wrong key or value, or a sidecar that names a file outside the root.
        """
        beside = sidecar(self.root / path)
        values = dict(read_sidecar(beside) if beside.is_file() else {})
        for name in (*values.get("speaker", ()), *([values["reference"]] if "reference" in values else [])):
            if not (beside.parent / from_home(name)).resolve().is_relative_to(self.root.resolve()):
                raise OptionError(f"{shown(beside.relative_to(self.root))}: {name} lies outside the watched root")
        own = {key: value for key, value in values.items() if key not in ANNOTATION_KEYS}
        preset, reference = own.pop("preset", rule.preset), own.pop("reference", None)
        if preset not in presets.available():
            raise OptionError(
                f"{shown(beside.relative_to(self.root))}: {unknown('preset', preset, presets.available())}"
            )
        own = {key: self._checked(beside, key, value) for key, value in own.items()}
        options = resolve(preset, {**rule.values, **own})
        return replace(options, reference=beside.parent / from_home(reference)) if reference else options

    def preset_of(self, path: str, rule: FolderRule) -> str:
        """The preset of one render, for the log; the rule's where the sidecar is wrong, which its render says."""
        try:
            return self.options_for(path, rule).preset
        except TtsrError:
            return rule.preset

    def _checked(self, file: Path, key: str, value: Any) -> Any:
        """A value that stands in a file of the tree. Raises OptionError for a chain that lies outside the root."""
        name = file.relative_to(self.root)
        if key == "chain" and isinstance(value, str):
            value = str((file.parent / from_home(value)).absolute())
            if not Path(value).resolve().is_relative_to(self.root.resolve()):
                raise OptionError(f"{shown(name)}: {value} lies outside the watched root")
        return presets.checked(name, key, value)


def refuse_folder_kind(name: str, key: str, value: Any) -> None:
    """Raise OptionError for a value of another kind than its key takes."""
    kind = OWN_KEYS[key]
    right = isinstance(value, kind) and (kind is not int or not isinstance(value, bool))
    if kind is list:
        right = right and all(isinstance(item, str) for item in value)
    if kind is dict:
        right = right and all(isinstance(item, str) for item in value.values())
    if not right:
        wanted = {str: "a text", int: "a whole number", bool: "true or false", list: "a list of names", dict: "a table"}
        raise OptionError(f"{name}: {key} takes {wanted[kind]}, not {value!r}")
