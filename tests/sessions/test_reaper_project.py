"""`ttsr session` on REAPER projects, read back by a parser of somebody else: `rpp`."""

import difflib
import json
from pathlib import Path

import pytest
import rpp
from cuts import media
from helpers import Ttsr

QUICK = ("--candidates", 1, "--steps", 2, "--loudness", "off", "--no-report")
ITEM = """    <ITEM
      POSITION {position}
      SNAPOFFS 0
      LENGTH {length}
      LOOP 1
      ALLTAKES 0
      FADEIN 1 0.01 0 1 0 0 0
      MUTE 0 0
      SEL 1
      IGUID {{11111111-2222-3333-4444-{number:012}}}
      IID {number}
      NAME {name}
      VOLPAN 1 0.25 0.5 -1
      SOFFS {offset}
      PLAYRATE 2 1 0 -1 0 0.0025
      CHANMODE 0
      GUID {{AAAAAAAA-2222-3333-4444-{number:012}}}
{source}{more}    >
"""
WAVE = """      <SOURCE WAVE
        FILE {file}
      >
"""
SECTION = """      <SOURCE SECTION
        LENGTH 0.5
        MODE 1
        STARTPOS 0.25
        <SOURCE WAVE
          FILE {file} 1
        >
      >
"""
TAKE = """      TAKE SEL
      NAME "second take"
      TAKEVOLPAN 0.1 0.9 -1
      SOFFS 0
      PLAYRATE 1 1 0 -1 0 0.0025
      CHANMODE 0
      GUID {{BBBBBBBB-2222-3333-4444-000000000003}}
      <SOURCE WAVE
        FILE {file}
      >
"""


def item(number: int, position: float, source: str, more: str = "", **told: object) -> str:
    values = {"length": 0.5, "offset": 0.25, "name": '"a name"'} | told
    return ITEM.format(number=number, position=position, source=source, more=more, **values)


def project(folder: Path) -> Path:
    """A project as REAPER 7 lays it out: paths of every kind, a section, two takes, an item of notes."""
    _, drums = media(folder)
    items = [
        item(1, 1.5, WAVE.format(file='"media/My voice.wav"')),
        item(2, 3, SECTION.format(file=r'"media\My voice.wav"'), name="plain"),
    ]
    other = [
        item(3, 0, WAVE.format(file='"media/gone.wav"'), TAKE.format(file=f'"{drums}"')),
        item(4, 5, "      <SOURCE MIDI\n        HASDATA 1 960 QN\n        E 480 b0 7b 00\n      >\n"),
    ]
    tracks = [
        f"  <TRACK {{{number}}}\n    NAME {name}\n    PEAKCOL 16576\n    VOLPAN 1 0 -1 -1 1\n{''.join(each)}  >\n"
        for number, (name, each) in enumerate((("Vocals", items), ('"Drums & Co"', other)))
    ]
    text = f'<REAPER_PROJECT 0.1 "7.16/linux-x86_64" 1700000000\n  RIPPLE 0\n  TEMPO 120 4 4\n{"".join(tracks)}>\n'
    path = folder / "song.RPP"
    path.write_bytes(text.replace("\n", "\r\n").encode())
    return path


def takes_of(path: Path) -> list[list[tuple[str, bool]]]:
    """Of every item the files of its takes and which of them plays, as the other parser reads them."""
    root = rpp.loads(path.read_bytes().decode().replace("\r\n", "\n"))
    found = []
    for each in root.findall(".//ITEM"):
        takes, playing = [""], 0
        for child in each:
            words = [child] if isinstance(child, str) else child  # a line of one word is a text
            if isinstance(words, list) and words[:1] == ["TAKE"]:
                takes.append("")
                playing = len(takes) - 1 if "SEL" in words else playing
            elif not isinstance(words, list) and child.tag == "SOURCE":
                file = child.find(".//FILE") if child.find("FILE") is None else child.find("FILE")
                takes[-1] = file[1] if file else child.attrib[0]
        found.append([(name, number == playing) for number, name in enumerate(takes)])
    return found


def test_references_of_active_takes_change_and_nothing_else(ttsr: Ttsr, tmp_path: Path) -> None:
    made, out = project(tmp_path), tmp_path / "new.RPP"
    before = made.read_bytes()
    done = ttsr("session", made, "-o", out, *QUICK)
    assert done.exit_code == 0, done.output
    assert made.read_bytes() == before
    old, new = (path.read_bytes().decode().splitlines(keepends=True) for path in (made, out))
    steps = [step for step in difflib.SequenceMatcher(None, old, new, False).get_opcodes() if step[0] != "equal"]
    assert [(kind, b - a, d - c) for kind, a, b, c, d in steps] == [("replace", 1, 1)] * 3
    drums = str(tmp_path / "new_ttsr/drums é_ttsr.wav")
    assert takes_of(out) == [
        [("new_ttsr/My voice_ttsr.wav", True)],
        [("new_ttsr/My voice_ttsr.wav", True)],
        [("media/gone.wav", False), (drums, True)],
        [("MIDI", True)],
    ]
    assert b'\r\n          FILE "new_ttsr/My voice_ttsr.wav" 1\r\n' in out.read_bytes()


def test_alternatives_are_takes_that_do_not_play(ttsr: Ttsr, tmp_path: Path) -> None:
    made, out = project(tmp_path), tmp_path / "new.RPP"
    done = ttsr("session", made, "-o", out, *QUICK, "--as", "alternatives", "--tracks", "drums & co, Vocals")
    assert done.exit_code == 0, done.output
    old, new = made.read_bytes().decode().splitlines(), out.read_bytes().decode().splitlines()
    assert all(line.startswith("+") for line in difflib.unified_diff(old, new, n=0) if line[:2] not in ("@@", "--"))
    drums = str(tmp_path / "new_ttsr/drums é_ttsr.wav")
    found = takes_of(out)
    assert found[0] == [("media/My voice.wav", True), ("new_ttsr/My voice_ttsr.wav", False)]
    assert found[2] == [("media/gone.wav", False), (str(tmp_path / "media/drums é.wav"), True), (drums, False)]
    first = rpp.loads("\n".join(new)).findall(".//ITEM")[0]
    take = list(first)[list(first).index("TAKE") :]
    assert ["NAME", "a name - TTSR"] in take
    assert ["TAKEVOLPAN", "0.25", "0.5", "-1"] in take
    assert ["SOFFS", "0.25"] in take
    assert len({line for line in new if "GUID {" in line}) == len([line for line in new if "GUID {" in line])


def test_what_items_play_is_listed(ttsr: Ttsr, tmp_path: Path) -> None:
    done = ttsr("session", project(tmp_path), "--list", "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(use["at"], use["start_s"], use["stop_s"]) for use in found[0]["uses"]] == [
        ("1.5 s", 0.25, 1.25), ("3 s", 0.0, None),
    ]  # fmt: skip
    assert [(use["track"], use["clip"]) for use in found[1]["uses"]] == [("Drums & Co", "second take")]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [("<REAPER_PROJECT", "<OTHER", "no project of REAPER"), ("  >\r\n>\r\n", "", "breaks off in <TRACK")],
)
def test_a_project_that_is_none_costs_one_line(ttsr: Ttsr, tmp_path: Path, old: str, new: str, said: str) -> None:
    made = project(tmp_path)
    made.write_bytes(made.read_bytes().replace(old.encode(), new.encode()))
    done = ttsr("session", made, "-o", tmp_path / "new.rpp")
    assert done.exit_code == 2
    assert said in done.output
