"""Make a render again from its report: the options and seed in it are all that a render depends on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttsr_studio.errors import InputError, OptionError, shown
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.summary import Rendered, versions
from ttsr_studio.report.schema import Report
from ttsr_studio.report.validate import load_report
from ttsr_studio.storage.checksum import sha256

LEFT_TO_THE_USER = ("preset", "reference", "engine_weights", "speakers")


@dataclass(frozen=True)
class Earlier:
    """A report as read back."""

    path: Path
    report: Report

    def options(self) -> dict[str, Any]:
        """Resolved options by parameter name, in the form in which a command line gives them."""
        given = self.report.tool.options.items()
        options = {name: value for name, value in given if name not in LEFT_TO_THE_USER}
        # Renders knew nothing of skirts at first, and lifted them unasked for a while.
        options.setdefault("lift_skirt", not options.get("keep_skirt", True))
        return options | {"rate": str(options["rate"]), "loudness": str(options["loudness"])}

    @property
    def name(self) -> str:
        """Its file's name, as messages have it."""
        return shown(Path(self.path.name))

    @property
    def preset(self) -> str:
        """Name of the preset that the options come from."""
        return str(self.report.tool.options["preset"])

    def refuse_other_input(self, source: Path) -> None:
        """Raise InputError when a file is not the one that the report is of."""
        expected = self.report.input.sha256
        try:
            digest = sha256(source)
        except OSError as error:
            raise InputError(f"{shown(source)}: {error.strerror or error}") from error
        if digest != expected:
            raise InputError(
                f"{shown(source)}: not the file that {self.name} is of ({shown(Path(self.report.input.name))}, "
                f"sha256 {expected[:12]}…)"
            )

    def other_plugins(self, session: Session) -> list[str]:
        """What was of another package, or another version of it, each in words."""
        parts, other = session.parts(), []
        for before in self.report.tool.plugins:
            now = parts.get((before.kind, before.name))
            if (before.kind, before.name) in parts and (now is None or now.of != before.of):
                of = now.of if now else "this package itself"
                other.append(f"{before.kind} {before.name!r} of {before.of}, here of {of}")
        return other

    def expected(self, take: int) -> str | None:
        """The checksum of the render that is the N-th best, None where the report does not know it."""
        if take == self.report.tool.options.get("take", 1):
            return self.report.output.sha256
        known = {best.rank: best.sha256 for best in self.report.best}
        return known.get(take)

    def same(self, result: Rendered, take: int) -> bool:
        """Whether the render came out the same, bit for bit."""
        return bool(result.summary["sha256"] == self.expected(take))

    def verdict(self, session: Session, result: Rendered) -> str:
        """Whether the render came out the same, and if not, what is known to differ."""
        tool, take = self.report.tool, session.options.take
        if self.expected(take) is None:
            return f"number {take} of the best, of which {self.name} has no checksum to compare with"
        if self.same(result, take):
            return f"the same, bit for bit, as {self.name} says"
        here = {
            **versions(session.options),
            "weights": session.engine.weights(),
            "device": session.device,
            "batch": session.limit.rows,
        }
        there = {**tool.versions, "weights": tool.weights, "device": tool.device, "batch": tool.batch_size}
        known = [name for name in here if here[name] != there.get(name)] + self.other_plugins(session)
        options = session.options.to_json()
        known += [
            f"--{name}"
            for name, value in self.report.tool.options.items()
            if name in options
            and name not in (*LEFT_TO_THE_USER, "device", "batch", "take", "keep_top", "page")
            and options[name] != value
        ]
        return f"NOT the same as {self.name} says; different: {', '.join(known) or 'options given beside it'}"


def read_report(path: Path) -> Earlier:
    """Read a report. Raises InputError when it is none, OptionError when its render cannot be repeated."""
    try:
        report = load_report(path)
    except InputError as error:
        raise InputError(
            f"{shown(path)}: not a report of ttsr ({error}); give the .ttsr.json beside a render"
        ) from error
    if report.search.cut.get("interrupted"):
        raise OptionError(f"{shown(path)}: its search was interrupted, so it cannot be repeated exactly")
    if str(report.tool.options.get("budget")).endswith("s"):
        raise OptionError(f"{shown(path)}: its search was cut by a budget in seconds, so it cannot be repeated exactly")
    return Earlier(path, report)
