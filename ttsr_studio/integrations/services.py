"""A watch folder as a service: units for systemd, an agent for launchd."""

import os
import plistlib
import re
import shlex
from pathlib import Path

from ttsr_studio.errors import OptionError, shown
from ttsr_studio.integrations.plan import InstallPlan, Wish, shipped

UNIT, AGENT = "ttsr-watch@.service", "studio.ttsr.watch.plist"
UNIT_PROGRAM = "/opt/ttsr/bin/ttsr"
"""What stands for the program in the units that are shipped."""


def systemd(wish: Wish) -> list[InstallPlan]:
    """A template unit of the machine's or one's own systemd, one instance for each folder.

    Raises OptionError on another system, and where root did not say that the machine's is meant, or another did.
    """
    if wish.into is None:
        if not wish.platform.startswith("linux"):
            raise OptionError("systemd is Linux's; on macOS install launchd; elsewhere pass --into to have the file")
        if wish.system and not wish.administrator:
            raise OptionError("--system writes to /etc/systemd/system, which only root may; without it, it is yours")
        if wish.administrator and not wish.system:
            raise OptionError("this is root: pass --system for a service of the machine, or run it as who it is for")
    unit = shipped("integrations/service") / ("" if wish.system else "user") / UNIT
    text = unit.read_text(encoding="utf-8")
    text = text.replace(UNIT_PROGRAM, unit_word(str(wish.ttsr))).replace("User=ttsr", f"User={wish.run_as}")
    text = text.replace("[Unit]\n", f"[Unit]\nDocumentation={unit_word(watch_guide().as_uri())}\n")
    mine = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd/user"
    folder = wish.into or (Path("/etc/systemd/system") if wish.system else mine)
    steps = machine_steps(wish) if wish.system else own_steps(wish)
    return [InstallPlan(folder, {UNIT: text.encode()}, [*steps, f"guide: {watch_guide()}"])]


def own_steps(wish: Wish) -> list[str]:
    """What is left to do for a service of one's own."""
    unit = instance(wish.root)
    make = [] if wish.root is None or wish.root.is_dir() else [f"    mkdir -p {shlex.quote(str(wish.root))}"]
    return [
        *(["there is no such folder yet:"] if make else []),
        *make,
        "start it, and let it run while you are not logged in:",
        "    systemctl --user daemon-reload",
        f"    systemctl --user enable --now {unit}",
        "    loginctl enable-linger",
        "what it says:",
        f"    journalctl --user --unit {unit}",
    ]


def machine_steps(wish: Wish) -> list[str]:
    """What is left to do for a service of the machine."""
    root, unit = shlex.quote(str(wish.root or "/srv/stems")), instance(wish.root)
    private, steps = closed_to_others(wish.ttsr), []
    if private:
        steps.append(f"{shown(private)} is closed to others: {wish.run_as} cannot start {shown(wish.ttsr)}")
        steps.append("install ttsr into /opt/ttsr by a Python that all may read, and run this again by it:")
        steps.append("    /usr/bin/python3 -m venv /opt/ttsr")
    if not user_exists(wish.run_as):
        steps.append(f"there is no user {wish.run_as} yet:")
        steps.append(f"    useradd --system --home-dir /var/lib/ttsr --shell /usr/sbin/nologin {wish.run_as}")
    return [
        *steps,
        f"the folder is to be {wish.run_as}'s, or to be written to by it:",
        f"    install -d -o {wish.run_as} -m 2775 {root}",
        "start it:",
        "    systemctl daemon-reload",
        f"    systemctl enable --now {unit}",
        "what it says:",
        f"    journalctl --unit {unit}",
    ]


def closed_to_others(program: Path) -> Path | None:
    """The first folder on the way to a program, or to the Python that runs it, that only its owner may enter."""
    python = Path(os.path.realpath(program.with_name("python")))
    ways = [*reversed(program.parents), *reversed(python.parents)]
    return next((each for each in ways if each.is_dir() and not each.stat().st_mode & 0o001), None)


def launchd(wish: Wish) -> list[InstallPlan]:
    """An agent of the user's on macOS. Raises OptionError elsewhere, and without a folder to watch."""
    if wish.into is None and wish.platform != "darwin":
        raise OptionError("launchd is macOS's; on Linux install systemd; elsewhere pass --into to have the file")
    if wish.root is None:
        raise OptionError("pass --root with the folder to watch: it stands in the agent")
    agent = plistlib.loads(shipped(f"integrations/service/{AGENT}").read_bytes())
    agent["ProgramArguments"][0] = str(wish.ttsr)
    agent["ProgramArguments"][2] = str(wish.root)
    log = Path.home() / "Library/Logs/ttsr-watch.log"
    agent["StandardOutPath"] = agent["StandardErrorPath"] = str(log)
    folder = wish.into or Path.home() / "Library/LaunchAgents"
    path = shlex.quote(str(folder / AGENT))
    steps = [
        "start it, now and whenever you log in:",
        f"    launchctl bootstrap gui/$(id -u) {path}",
        "end it:",
        f"    launchctl bootout gui/$(id -u)/{agent['Label']}",
        f"what it says: {log}",
        f"guide: {watch_guide()}",
    ]
    return [InstallPlan(folder, {AGENT: plistlib.dumps(agent)}, steps)]


def watch_guide() -> Path:
    return shipped("docs/studio/watch.md")


def instance(root: Path | None) -> str:
    """The name of the unit for a folder, as a shell takes it."""
    if root is None:
        return '"ttsr-watch@$(systemd-escape --path /srv/stems).service"'
    return shlex.quote(f"ttsr-watch@{escaped_path(root)}.service")


def escaped_path(path: Path) -> str:
    r"""A path as `systemd-escape --path` has it: /srv/my-stems -> srv-my\x2dstems."""
    parts = [part for part in os.fsencode(path).split(b"/") if part]
    words = [re.sub(rb"[^A-Za-z0-9:_.]", lambda match: b"\\x%02x" % match[0][0], part) for part in parts]
    text = b"-".join(words).decode("ascii") or "-"
    return rf"\x2e{text[1:]}" if text.startswith(".") else text


def unit_word(text: str) -> str:
    """A word of a command as a unit has it: percent signs are doubled, spaces quoted."""
    doubled = text.replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"')
    return f'"{doubled}"' if re.search(r"[\s\"'\\;]", text) else doubled


def user_exists(name: str) -> bool:
    """Whether the machine knows a user; yes where that cannot be asked."""
    try:
        import pwd
    except ImportError:
        return True
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
