"""The app in a browser: from files that are dropped to the renders that are taken home, on real audio."""

import json
import multiprocessing
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
from axe_playwright_python.base import AXE_SCRIPT
from helpers import LONGEST, band, level_db, load, until
from tiny_app import serve

from ttsr_studio.watch.filesystem.root import Root
from ttsr_studio.watch.web.token import Token

EXAMPLE = Path(__file__).parents[2] / "examples" / "voice_7k_band.flac"
AXE = """
axe.run(document, {iframes: false, resultTypes: ['violations']}).then((found) => found.violations.map((each) =>
  `${each.id}: ${each.nodes.map((node) => node.target.join(' ')).join(', ')}`))
"""


@contextmanager
def running(root: Path, port: int, said: Path) -> Iterator[psutil.Process]:
    """`ttsr app` on a folder; gone at the end with all that it started, as by a power cut."""
    words = ("app", str(root), "--port", str(port), "--device", "cpu", "--json")
    before = said.read_text().count('"event": "page"') if said.exists() else 0
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(words, said))
    process.start()
    whole = psutil.Process(process.pid)
    try:
        until(lambda: said.read_text().count('"event": "page"') > before)
        yield whole
    finally:
        with suppress(psutil.Error):
            for each in (whole, *whole.children(recursive=True)):
                each.kill()
        process.join()


class Tab:
    """A tab of a browser of its own."""

    def __init__(self, browser: Any, address: str) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
        self.context.set_default_timeout(1000 * LONGEST / 4)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.asked.add(request.url.split("/")[2]))
        self.asked: set[str] = set()
        self.page.goto(address)
        self.page.wait_for_selector("#counts dd")

    def until(self, script: str) -> Any:
        for _ in range(int(LONGEST / 4 / 0.05)):
            if found := self.page.evaluate(script):
                return found
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never became true: {script}; {self.page.locator('main').inner_text()[:2000]}")

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).inner_text())

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def drop(self, *paths: Path) -> None:
        """As by a hand: the browser itself reads files and folders."""
        box = self.page.locator("#drop").bounding_box()
        given = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        session = self.context.new_cdp_session(self.page)
        for kind in ("dragEnter", "dragOver", "drop"):
            place = {"x": box["x"] + 40, "y": box["y"] + 20, "data": given}
            session.send("Input.dispatchDragEvent", {"type": kind, **place})

    def time_told(self) -> str:
        """What it says of the time, when it is known."""
        self.until("document.getElementById('time').textContent.includes('of audio')")
        return self.text("#time")

    def rows(self, section: str) -> list[str]:
        return [text.strip() for text in self.page.locator(f"#{section} tbody .name").all_text_contents()]

    def finished(self, name: str, after: float = 0.0) -> dict[str, Any]:
        """A file's row in the status, once it is done, and later than before."""
        found: dict[str, Any] = self.until(
            "fetch('/status.json').then((answer) => answer.json()).then(({done}) => done.find((row) => "
            f"row.file === {json.dumps(name)} && row.finished_at > {after}))"
        )
        self.until(f"[...document.querySelectorAll('#done .name')].some((n) => n.textContent === {json.dumps(name)})")
        return found

    def violations(self, frame: Any = None) -> list[str]:
        where = frame or self.page
        where.evaluate(AXE_SCRIPT)
        found: list[str] = where.evaluate(AXE)
        return found


@pytest.fixture
def dropped(tmp_path: Path) -> Path:
    """A second and a bit of a real voice, another in a folder, and what is no sound."""
    folder = tmp_path / "dropped"
    (folder / "Album").mkdir(parents=True)
    audio, rate = soundfile.read(EXAMPLE)
    soundfile.write(folder / "take one.wav", audio[rate : 2 * rate + rate // 5], rate, subtype="PCM_24")
    soundfile.write(folder / "Album" / "two.flac", audio[2 * rate : 3 * rate], rate, subtype="PCM_24")
    (folder / "Album" / "notes.txt").write_text("no sound")
    return folder


def test_the_whole_loop(browser: Any, dropped: Path, tmp_path: Path) -> None:
    root, said = Root(tmp_path / "stems"), tmp_path / "said.jsonl"
    root.path.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    with running(root.path, port, said):
        link = json.loads(next(line for line in said.read_text().splitlines() if '"event": "token"' in line))["address"]
        token = Token(root.state).text
        assert link == f"{address}#token={token}"
        one, other = Tab(browser, link), Tab(browser, address)
        assert token not in one.page.url, "it does not stay in the address"
        add_files(one, dropped)
        endless(one, other, token)
    killed(one, other)
    with running(root.path, port, said):
        after_the_kill(one, other, root)
        render = hear_and_choose(one, root)
        less_of_it(one, root, render)
        longer(one, root)
        assert one.violations() == []
        until(lambda: other.rows("done") == one.rows("done"))  # two browsers see one queue
        for tab in (one, other):
            assert tab.errors == []
            assert tab.asked == {f"127.0.0.1:{port}"}, "nothing is asked for elsewhere"
            tab.context.close()
    assert said.read_text().count('"event": "token"') == 1, "it is shown once"


def add_files(one: Tab, dropped: Path) -> None:
    """Drop a file and a folder; what they take is told before, and again for other settings."""
    one.drop(dropped / "take one.wav", dropped / "Album")
    assert "2 files, 2.2 s of audio" in one.time_told()
    assert "notes.txt: neither audio nor video" in one.text("#refused")
    assert one.rows("adding") == ["take one.wav", "Album/two.flac"]
    one.page.select_option("#preset", "speech")
    one.page.select_option("#candidates", "128")
    one.until("document.getElementById('time').textContent.includes('measured')")
    one.time_told()
    assert one.violations() == []


def endless(one: Tab, other: Tab, token: str) -> None:
    """Both see a long search begin, and either may steer, with the token."""
    one.press("Pause the queue")
    one.until("!document.getElementById('paused').hidden")
    one.press("Render 2 files")
    other.until("document.querySelectorAll('#next tbody tr').length === 2")
    assert other.rows("next") == ["take one.wav", "Album/two.flac"]
    other.press("First Album/two.flac")
    other.until("document.activeElement.id === 'token'")
    other.page.keyboard.type(token)
    other.page.keyboard.press("Enter")
    other.until("document.getElementById('said').textContent.startsWith('The token is kept')")
    other.page.get_by_role("button", name="First Album/two.flac", exact=True).press("Enter")
    one.until("document.querySelector('#next .name')?.textContent === 'Album/two.flac'")
    other.press("Go on with the queue")
    one.until("document.querySelector('#running .small')?.textContent.startsWith('searching')")


def killed(one: Tab, other: Tab) -> None:
    """What was known stays, and that it may be old is said."""
    for tab in (one, other):
        tab.until("document.getElementById('link').textContent.startsWith('no connection')")
        assert tab.text("#services") == "as it was then:"


def after_the_kill(one: Tab, other: Tab, root: Root) -> None:
    """Nothing was lost; what took too long is asked for in another way, and one is given up and taken up again."""
    other.until("document.getElementById('link').textContent === ''")
    names = ("Album/two.flac", "take one.wav")
    for name in names:
        row = f"[aria-label='Cancel {name}']"
        one.until(f'document.querySelector("{row}")')
        one.page.locator(row).click()
    for name in names:
        again = f"[aria-label='Again: render again with other options, {name}']"
        one.page.locator(again).click()
        one.page.select_option("#again-candidates", "4")
        one.until("document.getElementById('again-time').textContent.startsWith('Takes')")
        assert one.violations() == []
        one.page.locator("#again-go").click()
        one.finished(name)
    assert sorted(path.name for path in root.path.glob("*/two*")) == ["two.flac", "two.ttsr.toml"]


def hear_and_choose(one: Tab, root: Root) -> Path:
    """Listen, switch, and make the second best the render; what comes home is what was heard."""
    output, second = root.renders / "take one.wav", root.path.parent / "second.wav"
    shutil.copyfile(root.renders / "take one_top2.wav", second)
    before = one.finished("take one.wav")
    one.press("Listen to take one.wav")
    frame = opened(one, 1)
    one.until("document.activeElement.id === 'listen-title'")
    frame.locator("#versions button").nth(2).click()
    frame.locator("#play").click()
    until(lambda: frame.evaluate("player.place > 0.05"))
    assert "number 2" in frame.locator("#hearing").inner_text()
    frame.locator("#play").click()
    assert one.violations(frame) == []
    frame.locator("#use").select_option(label="number 2")
    frame.locator("#choose").click()
    one.until("document.getElementById('said').textContent.includes('rendered again')")
    one.finished("take one.wav", before["finished_at"])
    assert np.array_equal(load(output), load(second)), "it is the very one that was heard"
    one.until("document.getElementById('listen-state').textContent === ''")
    with one.page.expect_download() as coming:
        one.page.get_by_role("link", name="Download the render of take one.wav").click()
    assert coming.value.suggested_filename == "take one.wav"
    assert Path(coming.value.path()).read_bytes() == output.read_bytes()
    return second


def opened(one: Tab, rank: int) -> Any:
    """The frame with the player, when it can play and this version is the render."""
    frame = one.page.locator("#frame").element_handle().content_frame()
    ready = f"typeof player !== 'undefined' && Boolean(player) && data.tracks[1].rank === {rank}"
    until(lambda: frame.evaluate(ready))
    return frame


def less_of_it(one: Tab, root: Root, whole: Path) -> None:
    """Half of what was made: the kept band nulls, and of the new one half is left."""
    before = one.finished("take one.wav")
    frame = opened(one, 2)
    frame.evaluate("amount.value = 0.5; amount.dispatchEvent(new Event('input'))")
    frame.locator("#use").select_option(value="1")
    assert "at amount 0.5" in frame.locator("#choose").inner_text()
    frame.locator("#choose").click()
    one.finished("take one.wav", before["finished_at"])
    rate = soundfile.info(whole).samplerate
    full, half = load(whole), load(root.renders / "take one.wav")
    low_full, low_half = band(full, 100, 4000, rate), band(half, 100, 4000, rate)
    gain = float((low_full * low_half).sum() / (low_full**2).sum())
    assert level_db(low_half - gain * low_full) - level_db(low_half) < -60
    high_full, high_half = band(full, 9000, 20000, rate), band(half, 9000, 20000, rate)
    assert level_db(high_half - 0.5 * gain * high_full) - level_db(high_half) < -40
    text = (root.path / "take one.ttsr.toml").read_text()
    assert "amount = 0.5" in text
    assert "take = 2" in text, "what was chosen before stays"


def longer(one: Tab, root: Root) -> None:
    """Render again with more candidates, from the keyboard alone."""
    before = one.finished("Album/two.flac")
    button = one.page.get_by_role("button", name="Render again with other options, Album/two.flac")
    button.focus()
    one.page.keyboard.press("Enter")
    one.page.select_option("#again-candidates", "8")
    one.until("document.getElementById('again-time').textContent.startsWith('Takes')")
    one.page.locator("#again-go").focus()
    one.page.keyboard.press("Enter")
    one.finished("Album/two.flac", before["finished_at"])
    report = json.loads((root.renders / "Album" / "two.ttsr.json").read_text())
    assert {len(window["candidates"]) for window in report["windows"]} == {8}
    one.page.keyboard.press("Escape")
    one.until("document.getElementById('listen').hidden")
