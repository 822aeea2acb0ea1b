"""Where REAPER and Ardour look for scripts, and what has to lie there."""

import os
import shlex
import sys
from pathlib import Path

from ttsr_studio.integrations.plan import InstallPlan, Wish, settings_folders, shipped

REAPER_ACTIONS = ("ttsr_setup.lua", "ttsr_render_selected.lua", "ttsr_render_again.lua")


def reaper(wish: Wish) -> list[InstallPlan]:
    """The folder `TTSR` of scripts, for REAPER's folder `Scripts`. Raises OptionError where there is no REAPER."""
    folder = (
        wish.into or settings_folders("REAPER", "its folder Scripts", [reaper_resources(wish.platform)])[0] / "Scripts"
    )
    scripts = shipped("integrations/reaper/TTSR")
    contents = {f"TTSR/{path.name}": path.read_bytes() for path in sorted(scripts.glob("*.lua"))}
    steps = [
        "in REAPER: Actions: Show action list: New action: Load ReaScript, for each of",
        *(f"    {folder / 'TTSR' / name}" for name in REAPER_ACTIONS),
        "then run ttsr_setup.lua; if it asks for the path of ttsr:",
        f"    {wish.ttsr}",
        f"guide: {shipped('docs/studio/reaper.md')}",
    ]
    return [InstallPlan(folder, contents, steps)]


def reaper_resources(platform: str) -> Path:
    """REAPER's resource path, unless it was installed portably."""
    if platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData/Roaming") / "REAPER"
    return user_settings(platform, "Library/Application Support") / "REAPER"


def ardour(wish: Wish) -> list[InstallPlan]:
    """The action for Ardour's menu, and what it has to know; for every Ardour that has settings.

    Raises OptionError where there is no Ardour.
    """
    config = user_settings(wish.platform, "Library/Preferences")
    found = sorted(config.glob("[Aa]rdour[0-9]*"))
    folders = (
        [wish.into] if wish.into else settings_folders("Ardour", f"its settings folder, {config / 'ardour7'}", found)
    )
    tool = shipped("integrations/ardour/ttsr_ardour.py")
    action = shipped("integrations/ardour/ttsr_render.lua").read_bytes()
    values = {"python": sys.executable, "tool": str(tool), "ttsr": str(wish.ttsr), "preset": "general"}
    lines = "".join(f"{key}={value}\n" for key, value in values.items())
    by_hand = [sys.executable, str(tool), "SESSION.ardour", "--ttsr", str(wish.ttsr), "--preset", "speech"]
    steps = [
        "in Ardour: Edit > Lua Scripts > Script Manager, a free action, Add/Set, TTSR: Render Selected Regions, Add",
        "for whole tracks of a session that is closed:",
        f"    {shlex.join(by_hand)}",
        f"guide: {shipped('docs/studio/ardour.md')}",
    ]
    contents = {"scripts/ttsr_render.lua": action, "ttsr.conf": os.fsencode(lines)}
    return [InstallPlan(folder, contents, steps) for folder in folders]


def user_settings(platform: str, on_macos: str) -> Path:
    """Where programs of the user keep their settings, on Linux and macOS."""
    if platform == "darwin":
        return Path.home() / on_macos
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
