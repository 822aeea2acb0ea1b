"""The page of a watched root shows what goes on, to those who may see it, and nothing else."""

import http.client
import json
import os
import re
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from helpers import LONGEST, Ttsr, below, save, voice
from watch_folder import served, service_context

from ttsr_studio.cli.main import main
from ttsr_studio.report.paths import report_names
from ttsr_studio.report.validate import validate
from ttsr_studio.watch.context import ServiceOptions
from ttsr_studio.watch.filesystem.instance_lock import instance_lock
from ttsr_studio.watch.filesystem.root import Root, Signature
from ttsr_studio.watch.queue.jobs import Offer, Queue
from ttsr_studio.watch.queue.states import Hold
from ttsr_studio.watch.queue.store import JobRecord
from ttsr_studio.watch.web import patience, view
from ttsr_studio.watch.web.keeper import PageKeeper
from ttsr_studio.watch.web.options import PageOptions
from ttsr_studio.watch.web.server import serve_page
from ttsr_studio.watch.web.view import MOST_FILES

HOSTILE = ("<script>alert(1)</script>.wav", "\"quoted' & <b>.wav", "two\nlines.wav", os.fsdecode(b"latin-\xe9.wav"))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A render with its reports, as the command line makes it."""
    folder = tmp_path_factory.mktemp("rendered")
    source = save(folder / "take.wav", below(voice(0.6), 4000))
    options = ("--preset", "preview", "--candidates", 2, "--steps", 1, "--device", "cpu")
    result = CliRunner().invoke(main, ["render", str(source), "-o", str(folder / "out.wav"), *map(str, options)])
    assert result.exit_code == 0, result.output
    return folder / "out.wav"


@pytest.fixture(autouse=True)
def _always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "FRESH_SECONDS", 0.0)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    (tmp_path / "root").mkdir()
    root = Root(tmp_path / "root")
    root.make()
    Queue(root.database).close()
    return root


@pytest.fixture
def queue(root: Root) -> Iterator[Queue]:
    with closing(Queue(root.database)) as queue:
        yield queue


@pytest.fixture
def address(root: Root) -> Iterator[str]:
    with served(root) as address:
        yield address


def taken(queue: Queue, name: str) -> JobRecord:
    """A job that was dropped and begun just now, before any other."""
    queue.offer([Offer(name, Signature(1, 1, 1), priority=100)])
    claim = queue.claim("service-1-abcd")
    assert claim
    assert claim.path == name
    return claim


def finish(root: Root, queue: Queue, rendered: Path, name: str, duplicate_of: str | None = None) -> int:
    """Finish a file with a copy of the render; returns its number."""
    claim = taken(queue, name)
    output = Path("_renders", name)
    queue.identify(claim, "0" * 64, name.encode(errors="replace").hex(), str(output), str(report_names(output)[0]))
    (root.path / output).parent.mkdir(parents=True, exist_ok=True)
    for source, target in zip(report_names(rendered), report_names(root.path / output), strict=True):
        shutil.copyfile(source, target)
    queue.finish(claim, lambda: None, duplicate_of=duplicate_of)
    return claim.id


def fail(queue: Queue, name: str, reason: str) -> int:
    claim = taken(queue, name)
    queue.fail(claim, reason)
    return claim.id


def ask(
    address: str, path: str, method: str = "GET", host: str | list[str] | None = None, body: bytes | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """One request, with the Host headers that are given; the path goes out as it is."""
    where = urlsplit(address)
    assert where.hostname
    connection = http.client.HTTPConnection(where.hostname, where.port or 80, timeout=LONGEST / 4)
    with closing(connection):
        connection.putrequest(method, path, skip_host=host is not None)
        for name in [host] if isinstance(host, str) else host or []:
            connection.putheader("Host", name)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def status(address: str) -> dict[str, Any]:
    code, _, body = ask(address, "/status.json")
    assert code == 200, body
    return json.loads(body)


# What it serves


def test_every_address_answers_with_its_kind(root: Root, queue: Queue, rendered: Path, address: str) -> None:
    number = finish(root, queue, rendered, "speech/take.wav")
    kinds = {
        "/": "text/html; charset=utf-8",
        "/status.json": "application/json",
        "/icon.svg": "image/svg+xml",
        f"/report/{number}.json": "application/json",
        f"/report/{number}.png?at=1": "image/png",
    }
    for path, kind in kinds.items():
        code, headers, body = ask(address, path)
        assert (code, headers["Content-Type"]) == (200, kind), path
        assert len(body) == int(headers["Content-Length"]) > 0
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Content-Security-Policy"].startswith("default-src 'none';")
        code, only, nothing = ask(address, path, "HEAD")
        assert (code, only["Content-Type"], nothing) == (200, kind, b"")
        if path != "/status.json":
            assert only["Content-Length"] == headers["Content-Length"]


def test_reports_are_those_of_the_render(root: Root, queue: Queue, rendered: Path, address: str) -> None:
    number = finish(root, queue, rendered, "take.wav")
    data, picture, _ = report_names(rendered)
    report = json.loads(ask(address, f"/report/{number}.json")[2])
    validate(report)
    assert report == json.loads(data.read_text())
    assert ask(address, f"/report/{number}.png")[2] == picture.read_bytes()


def test_status_is_the_queues(root: Root, queue: Queue, rendered: Path, address: str) -> None:
    first = finish(root, queue, rendered, "speech/take.wav")
    second = finish(root, queue, rendered, "speech/again.wav", duplicate_of="speech/take.wav")
    queue.db.execute("UPDATE files SET started_at = finished_at - 60 WHERE id = ?", (first,))
    fail(queue, "bad.wav", "truncated: 12 of 40 s are there")
    queue.offer([Offer("later.wav", Signature(1, 1, 2)), Offer("song.wav", Signature(1, 1, 3), held=Hold.SIDECAR)])
    claim = taken(queue, "now.wav")
    queue.renew(claim, json.dumps({"stage": "searching", "done": 3, "total": 12}))
    queue.set_waiting("the disk is nearly full")
    with instance_lock(root.state) as owner:
        said = status(address)
    assert said["root"] == str(root.path)
    assert said["services"] == [owner]
    assert said["counts"] == queue.counts() == {"pending": 2, "running": 1, "done": 2, "failed": 1}
    assert (said["paused"], said["waiting"]) == (None, "the disk is nearly full")
    assert [(row["file"], row["progress"], row["share"]) for row in said["running"]] == [
        ("now.wav", "searching 25 %", 0.25)
    ]
    assert [(row["file"], row["reason"]) for row in said["failed"]] == [("bad.wav", "truncated: 12 of 40 s are there")]
    assert [(row["file"], row["reason"]) for row in said["waiting_files"]] == [("song.wav", Hold.SIDECAR)]
    assert [(row["file"], row["place"], row["begins_in_s"]) for row in said["next"]] == [("later.wav", 1, 60)]
    assert (said["next_count"], said["left_s"]) == (1, 90), "as long as the one that was rendered, and half of that"
    assert [(row["id"], row["same_as"]) for row in said["done"]] == [(second, "speech/take.wav"), (first, None)]
    for row in said["done"]:
        for link in row["links"].values():
            assert ask(address, link)[0] == 200
    assert status(address)["services"] == [], "nobody is told to wait for a service that has ended"


def test_reports_are_told_in_a_few_words(root: Root, queue: Queue, rendered: Path, address: str) -> None:
    finish(root, queue, rendered, "take.wav")
    facts = status(address)["done"][0]["facts"]
    report = json.loads(report_names(rendered)[0].read_text())
    assert facts["input"] == f"band to {report['input']['cutoff_hz'] / 1000:.1f} kHz"
    assert facts["loudness"] == f"{report['input']['lufs']:.1f} → {report['output']['lufs']:.1f} LUFS"
    assert facts["evaluations"] == f"{report['timing']['nfe']} NFE"
    assert facts["uncertainty"] == f"{report['uncertainty']['mean_db']:.1f} dB on average"
    assert facts["candidates"] == f"2 in {len(report['windows'])} window"
    assert facts["continuity"].startswith(f"{report['scores']['continuity']['chosen']:.2f} dB")


def test_a_new_render_of_a_file_has_new_words_and_a_new_link(
    root: Root, queue: Queue, rendered: Path, address: str
) -> None:
    finish(root, queue, rendered, "take.wav")
    before = status(address)["done"][0]
    path = root.renders / "take.ttsr.json"
    report = json.loads(path.read_text())
    report["timing"]["nfe"] = 12345
    path.write_text(json.dumps(report))
    queue.db.execute("UPDATE files SET finished_at = finished_at + 5")
    after = status(address)["done"][0]
    assert after["facts"]["evaluations"] == "12345 NFE"
    assert after["links"]["picture"] != before["links"]["picture"], "a browser would show the old picture"


def test_renders_that_were_taken_away_have_no_links(root: Root, queue: Queue, rendered: Path, address: str) -> None:
    number = finish(root, queue, rendered, "take.wav")
    shutil.rmtree(root.renders)
    row = status(address)["done"][0]
    assert (row["links"], row["facts"]) == ({}, {})
    assert ask(address, f"/report/{number}.png")[0] == 404


# What it does not serve


def test_files_go_by_number_only(root: Root, queue: Queue, rendered: Path, address: str) -> None:
    number = finish(root, queue, rendered, "take.wav")
    failed, running = fail(queue, "bad.wav", "broken"), taken(queue, "now.wav").id
    again = finish(root, queue, rendered, "again.wav")
    queue.retry(["again.wav"])
    (root.renders / "secret.ttsr.json").write_text('{"secret": 1}')
    paths = [
        "/_renders/take.wav",
        "/_renders/",
        "/report/",
        f"/report/{number}",
        f"/report/{number}.wav",
        f"/report/{number}.npz",
        f"/report/{number}.png/",
        f"/report/0{number}.png",
        f"/report/{number}.PNG",
        f"/report/{number}%2epng",
        f"/report/../report/{number}.png",
        f"/report/{failed}.json",
        f"/report/{running}.json",
        f"/report/{again}.json",
        "/report/999.json",
        "/report/-1.json",
        "/report/0.json",
        "/report/99999999999999999999999.json",
        "/report/secret.json",
        "/report/../_renders/secret.ttsr.json",
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/..%5c..%5cetc",
        "/page.html",
        "/status.json/",
        "*",
    ]
    for path in paths:
        for method in ("GET", "HEAD"):
            assert ask(address, path, method)[0] == 404, path


def test_files_outside_the_renders_are_nobodys(
    root: Root, queue: Queue, rendered: Path, address: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.ttsr.json"
    secret.write_text('{"secret": 1}')
    shutil.copyfile(report_names(rendered)[1], tmp_path / "secret.ttsr.png")
    (root.path / "own.ttsr.json").write_text('{"secret": 1}')
    (root.renders / "link.ttsr.json").symlink_to(secret)
    (root.renders / "away").symlink_to(tmp_path)
    (root.renders / "loop").symlink_to("loop")
    os.mkfifo(root.renders / "pipe.ttsr.json")
    (root.renders / "folder.ttsr.json").mkdir()
    names = {
        str(tmp_path / "secret.wav"): str(secret),
        "../secret.wav": "../secret.ttsr.json",
        "_renders/../../secret.wav": "_renders/../../secret.ttsr.json",
        "own.wav": "own.ttsr.json",
        "_renders/link.wav": "_renders/link.ttsr.json",
        "_renders/away/secret.wav": "_renders/away/secret.ttsr.json",
        "_renders/loop/x.wav": "_renders/loop/x.ttsr.json",
        "_renders/pipe.wav": "_renders/pipe.ttsr.json",
        "_renders/folder.wav": "_renders/folder.ttsr.json",
        "_renders": "_renders",
        "/": "/",
        "a\x00b": "a\x00b",
    }
    for number, (output, report) in enumerate(names.items()):
        claim = taken(queue, f"{number}.wav")
        queue.identify(claim, "0" * 64, str(number), output, report)
        queue.finish(claim, lambda: None)
        for kind in ("json", "png"):
            code, _, body = ask(address, f"/report/{claim.id}.{kind}")
            assert code == 404, (output, kind)
            assert b"secret" not in body
    assert all(row["links"] == {} for row in status(address)["done"])


def test_it_answers_only_to_this_machines_own_names(address: str) -> None:
    port = urlsplit(address).port
    for name in ("127.0.0.1", "localhost", "LOCALHOST.", "[::1]", "127.8.8.8"):
        assert ask(address, "/", host=name)[0] == 200, name
        assert ask(address, "/status.json", host=f"{name}:{port}")[0] == 200, name
    others = ["evil.example", f"evil.example:{port}", "localhost.evil.example", "127.0.0.1.evil.example", "192.168.1.5"]
    odd = ["", " ", ":80", "localhost:80@evil.example", "0.0.0.0", "[::]", "127.1", "localhost:port", "a b", "::1", "["]
    for none in ([], ["localhost", "evil.example"], ["evil.example", "localhost"]):
        code, _, body = ask(address, "/", host=none)
        assert (code, b"TTSR" in body) == (400, False), "no name, or two of them, is no request"
    for host in (*others, *odd):
        for path in ("/", "/status.json", "/report/1.png"):
            code, headers, body = ask(address, path, host=host)
            assert code == 403, host
            assert b"TTSR" not in body
            assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("host", "own", "others"),
    [
        ("192.168.1.5", ["192.168.1.5:8470", "localhost", "127.0.0.1"], ["192.168.1.6", "studio", "evil.example"]),
        ("Studio", ["studio:8470", "STUDIO", "localhost"], ["192.168.1.5", "studio.evil.example"]),
        ("0.0.0.0", ["192.168.1.5:8470", "[fd00::1]:8470", "0.0.0.0:1", "localhost"], ["evil.example", "8470"]),
        ("::", ["192.168.1.5", "[fe80::1]", socket.gethostname()], ["evil.example", f"{socket.gethostname()}.evil"]),
    ],
)
def test_elsewhere_it_answers_to_its_own_address(host: str, own: list[str], others: list[str]) -> None:
    page = PageOptions(host)
    assert all(page.is_called([name]) for name in own)
    assert not any(page.is_called([name]) for name in others)


def test_behind_a_proxy_it_answers_to_the_names_that_it_is_told(root: Root, ttsr: Ttsr) -> None:
    with served(root, names=("ttsr.studio.lan",)) as address:
        for host, code in {"TTSR.studio.lan": 200, "ttsr.studio.lan:443": 200, "evil.example": 403}.items():
            assert ask(address, "/", host=host)[0] == code
        assert status(address)["root"] is None, "others look at it"
    refused = ttsr("watch", root.path, "--once", "--page-name", "https://ttsr.studio.lan/")
    assert refused.exit_code == 2
    assert "the name of a host alone" in refused.stderr


def test_others_are_not_told_where_the_root_lies(root: Root, queue: Queue, rendered: Path) -> None:
    finish(root, queue, rendered, "take.wav")
    fail(queue, "bad.wav", f"{root.path}/bad.wav: broken; {root.path} is full")
    with served(root, host="0.0.0.0", behind_proxy=True) as address:
        assert re.fullmatch(r"http://0\.0\.0\.0:[1-9][0-9]*/", address)
        assert status(address)["root"] is None
        for path in ("/", "/status.json", "/report/1.json", "/nothing"):
            assert str(root.path).encode() not in ask(address, path)[2]
        assert status(address)["failed"][0]["reason"] == "bad.wav: broken; . is full"


def test_paths_outside_the_root_stay_unsaid(root: Root, queue: Queue, rendered: Path, address: str) -> None:
    finish(root, queue, rendered, "take.wav")
    path = root.renders / "take.ttsr.json"
    report = json.loads(path.read_text())
    report["tool"]["options"]["reference"] = "/home/ann/masters/take.wav"
    report["left_out"] = {
        "wer": "no weights in '/home/ann/.cache/w'; see https://example.org/a/b",
        "x": "3 of 4 / 5 <b/>",
    }
    path.write_text(json.dumps(report))
    fail(queue, "bad.wav", "cannot read /home/ann/my weights.pt (I/O error)")
    queue.pause("ask /home/ann/todo.txt")
    queue.set_waiting("/home/ann: full (file:///home/ann/x, root=/home/ann)")
    said = ask(address, "/status.json")[2], ask(address, "/report/1.json")[2]
    assert all(b"/home" not in body and b"masters" not in body for body in said)
    assert json.loads(said[0])["failed"][0]["reason"] == "cannot read …/my weights.pt (I/O error)"
    assert json.loads(said[0])["waiting"] == "…/ann: full (file://…/x, root=…/ann)"
    assert json.loads(said[1])["tool"]["options"]["reference"] == "…/take.wav"
    assert json.loads(said[1])["left_out"] == {
        "wer": "no weights in '…/w'; see https://example.org/a/b",
        "x": "3 of 4 / 5 <b/>",
    }


def test_its_policy_lets_only_its_own_script_and_style_in(address: str) -> None:
    _, headers, body = ask(address, "/")
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert "unsafe" not in str(policy)
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    for kind in ("script-src", "style-src", "img-src", "connect-src", "frame-src"):
        assert policy[kind] == "'self'"
    texts = [body.decode()]
    for name in [*re.findall(r"/static/\w+\.\w+", texts[0]), "/static/drop.js", "/static/tables.js"]:
        code, _, content = ask(address, name)
        assert code == 200
        texts.append(content.decode())
    for text in texts:
        assert "://" not in text, "nothing is asked for elsewhere"
        for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "style="):
            assert unsafe not in text


# When things go wrong


@pytest.mark.parametrize("damage", ["garbage", "empty", "missing", "other version", "torn"])
def test_a_damaged_database_is_said_in_a_line(
    root: Root, queue: Queue, rendered: Path, address: str, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    finish(root, queue, rendered, "take.wav")
    if damage == "other version":
        queue.db.execute("PRAGMA user_version = 99")
    queue.close()
    for ending in ("-wal", "-shm"):
        Path(f"{root.database}{ending}").unlink(missing_ok=True)
    whole = root.database.read_bytes()
    if damage == "missing":
        root.database.unlink()
    elif damage != "other version":
        root.database.write_bytes({"garbage": b"x" * 9000, "empty": b"", "torn": whole[:5000] + b"\xff" * 9000}[damage])
    for path in ("/status.json", "/report/1.json", "/report/1.png"):
        code, headers, body = ask(address, path)
        assert (code, headers["Content-Type"]) == (503, "application/json"), path
        assert json.loads(body)["error"].startswith("cannot be read: ")
        assert body.count(b"\n") == 1
        assert str(root.path).encode() not in body
    assert ask(address, "/")[0] == 200
    assert root.database.exists() == (damage != "missing"), "looking makes nothing"
    assert capfd.readouterr().err == ""
    root.database.write_bytes(whole)
    if damage != "other version":
        assert status(address)["counts"]["done"] == 1, "it comes back when the database does"


def test_odd_rows_are_said_in_a_line(root: Root, queue: Queue, address: str) -> None:
    claim = taken(queue, "now.wav")
    for progress in ("{", "[]", "{}", '{"stage": 1, "done": "x", "total": 2}'):
        queue.renew(claim, progress)
        code, _, body = ask(address, "/status.json")
        assert code == 503
        assert json.loads(body)["error"]


def test_a_damaged_report_costs_only_its_words(root: Root, queue: Queue, rendered: Path, address: str) -> None:
    number = finish(root, queue, rendered, "take.wav")
    for text in ("", "{", "[]", "null", "{}", '{"input": null}', '{"input": {"cutoff_hz": "x"}}', "[" * 100_000):
        (root.renders / "take.ttsr.json").write_text(text)
        row = status(address)["done"][0]
        assert (row["facts"], set(row["links"])) == ({}, {"report", "picture"}), text[:20]
        assert ask(address, f"/report/{number}.json")[0] in (200, 503)
        assert ask(address, f"/report/{number}.png")[0] == 200


def test_it_looks_while_others_write_and_changes_nothing(root: Root, queue: Queue, address: str) -> None:
    taken(queue, "now.wav")
    queue.db.execute("BEGIN IMMEDIATE")
    queue.db.execute("DELETE FROM files")
    assert status(address)["counts"]["running"] == 1
    queue.db.execute("ROLLBACK")
    with closing(Queue(root.database, view=True)) as looking, pytest.raises(sqlite3.OperationalError, match="readonly"):
        looking.pause("no")


def test_a_port_that_is_taken_is_an_os_error(root: Root, address: str) -> None:
    port = urlsplit(address).port
    assert port
    with pytest.raises(OSError, match="in use"), served(root, port=port):
        pass
    with pytest.raises(OSError, match=r"\w"), served(root, host="no-such-host.invalid", behind_proxy=True):
        pass


def test_the_port_is_free_again_afterwards(root: Root) -> None:
    before = set(threading.enumerate())
    with served(root) as address:
        assert ask(address, "/")[0] == 200
    with pytest.raises(ConnectionRefusedError):
        ask(address, "/")
    for thread in set(threading.enumerate()) - before:
        thread.join(LONGEST)
        assert not thread.is_alive(), thread.name
    with served(root, port=urlsplit(address).port or 0) as again:
        assert again == address


def test_ipv6(root: Root) -> None:
    try:
        with served(root, host="::1") as address:
            assert address.startswith("http://[::1]:")
            assert status(address)["root"] == str(root.path)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")


def test_slow_clients_hold_up_nobody_and_are_sent_away(
    root: Root, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(patience, "MOST_CLIENTS", 4)
    monkeypatch.setattr(patience, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(patience, "LOOK_SECONDS", 0.1)
    with served(root) as address:
        where = urlsplit(address)
        slow = [socket.create_connection((where.hostname, where.port), timeout=LONGEST / 4) for _ in range(3)]
        for client in slow:
            client.sendall(b"GET / HTTP/1.1\r\nHost: local")
        assert status(address)["counts"]["done"] == 0
        for client in slow:
            assert gone(client), "silent for too long"
        with socket.create_connection((where.hostname, where.port), timeout=0.1) as client:
            assert dribble(client) < 200, "a word now and then does not make it last"
        many = [socket.create_connection((where.hostname, where.port), timeout=LONGEST / 4) for _ in range(20)]
        assert all(gone(client) for client in many), "more than it takes are sent away, the others later"
        assert ask(address, "/")[0] == 200
    assert capfd.readouterr().err == "", "the terminal is the service's"


def gone(client: socket.socket) -> bool:
    """Whether the other side hangs up."""
    with client:
        try:
            return client.recv(1) == b""
        except ConnectionResetError:
            return True


def dribble(client: socket.socket) -> int:
    """Send a header line every 0.1 s until the other side has had enough; how many it took."""
    client.sendall(b"GET / HTTP/1.1\r\n")
    for number in range(200):
        try:
            client.sendall(b"X: y\r\n")
            if client.recv(100) == b"":
                return number
        except TimeoutError:
            continue
        except ConnectionError:
            return number
    return 200


def test_nonsense_is_refused_quietly(address: str, capfd: pytest.CaptureFixture[str]) -> None:
    where = urlsplit(address)
    long = b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n"
    many = b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(200)) + b"\r\n"
    for words in (b"\x16\x03\x01\x02\x00\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", long, many, b"GET /\r\n\r\n"):
        with socket.create_connection((where.hostname, where.port), timeout=LONGEST / 4) as client:
            client.sendall(words)
            client.shutdown(socket.SHUT_WR)
            said = b""
            while more := client.recv(1000):
                said += more
        assert b"TTSR" not in said
        assert b"Traceback" not in said
    with socket.create_connection((where.hostname, where.port), timeout=LONGEST / 4) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")  # gone before the answer
    assert ask(address, "/")[0] == 200
    assert capfd.readouterr().err == ""


def test_hostile_names_are_data(root: Root, queue: Queue, rendered: Path, address: str) -> None:
    for name in HOSTILE:
        finish(root, queue, rendered, name)
    said = status(address)["done"]
    assert [row["file"] for row in said] == [repr(n) if not n.isprintable() else n for n in reversed(HOSTILE)]
    for row in said:
        assert set(row["links"]) == {"report", "picture"}
        assert ask(address, row["links"]["picture"])[0] == 200


# In a browser


CONTRASTS = """
[...document.querySelectorAll('body *')].filter((node) => node.checkVisibility() &&
  [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim())).map((node) => {
  const light = (color) => {
    const parts = color.match(/[0-9.]+/g).slice(0, 3).map((part) => part / 255);
    const [r, g, b] = parts.map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let under = node;
  while (getComputedStyle(under).backgroundColor === 'rgba(0, 0, 0, 0)') under = under.parentElement;
  const both = [getComputedStyle(node).color, getComputedStyle(under).backgroundColor].map(light).sort((a, b) => b - a);
  return [node.textContent, (both[0] + 0.05) / (both[1] + 0.05)];
})
"""
"""Every visible text with its contrast, as WCAG 2 counts it."""


class Tab:
    """A tab of the browser that writes down what it asks for and complains about."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(1000 * LONGEST / 2)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append("dialog"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("#counts dd")

    def texts(self, selector: str) -> list[str]:
        return [text.strip() for text in self.page.locator(selector).all_text_contents()]

    def until(self, true: str) -> None:
        """Wait for an expression in the page to become true."""
        end = time.monotonic() + LONGEST / 4
        while time.monotonic() < end:
            if self.page.evaluate(true):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never became true: {true}")

    def refresh(self) -> None:
        self.page.evaluate("import('/static/app.js').then((app) => app.refresh())")


@pytest.fixture
def filled(root: Root, queue: Queue, rendered: Path) -> JobRecord:
    """A root where everything happens at once; the job at hand."""
    for name in ("speech/take.wav", *HOSTILE):
        finish(root, queue, rendered, name)
    finish(root, queue, rendered, "again.wav", duplicate_of="speech/take.wav")
    fail(queue, "bad <i>.wav", "truncated: <b>12</b> of 40 s are there")
    queue.offer([Offer("song.wav", Signature(1, 1, 3), held=Hold.SIDECAR)])
    claim = taken(queue, "now.wav")
    queue.offer([Offer("later.wav", Signature(1, 1, 4))])
    queue.renew(claim, json.dumps({"stage": "searching", "done": 3, "total": 12}))
    queue.pause("lunch")
    return claim


def test_the_page_shows_what_the_queue_has(
    browser: Any, root: Root, queue: Queue, filled: JobRecord, address: str
) -> None:
    with instance_lock(root.state):
        tab = Tab(browser, address, viewport={"width": 1400, "height": 2400})
    said = status(address)
    assert tab.texts("#counts dt") == list(queue.counts())
    assert tab.texts("#counts dd") == [str(count) for count in queue.counts().values()]
    assert tab.texts("#services") == ["1 service running"]
    assert tab.texts("#paused") == ["Paused: lunch"]
    assert tab.page.locator("#paused").is_visible()
    assert not tab.page.locator("#waiting").is_visible(), "nothing is said where there is nothing to say"
    assert tab.texts("#root") == [str(root.path)]
    assert tab.texts("#running .name") == ["now.wav"]
    assert tab.texts("#running .small") == ["searching 25 %", "done in a few seconds"]
    assert tab.texts("#next .name") + tab.texts("#next tbody .when") == ["later.wav", "1", "not known yet"], "paused"
    assert tab.page.locator("#running progress").get_attribute("value") == "0.25"
    assert tab.texts("#failed .name") + tab.texts("#failed .why") == [
        "bad <i>.wav",
        "truncated: <b>12</b> of 40 s are there",
    ]
    assert tab.texts("#held .name") + tab.texts("#held .why") == ["song.wav", Hold.SIDECAR]
    assert tab.texts("#done .name") == [row["file"] for row in said["done"]]
    assert tab.texts("#done tbody tr:first-child th .small") == [
        "_renders/again.wav",
        "same as speech/take.wav",
        "report as JSON",
    ]
    assert tab.texts("#done tbody tr:first-child dd") == list(said["done"][0]["facts"].values())
    tab.until("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert tab.page.evaluate("document.images.length") == len(said["done"])
    tab.refresh()
    assert tab.texts("#services") == ["no service is running"]
    assert tab.complaints == []
    assert {f"{urlsplit(url).scheme}://{urlsplit(url).netloc}/" for url in tab.asked} == {address}
    tab.context.close()


def test_refreshing_keeps_focus_and_place(
    browser: Any, root: Root, queue: Queue, rendered: Path, filled: JobRecord, address: str
) -> None:
    tab = Tab(browser, address, viewport={"width": 900, "height": 500})
    row = tab.page.locator("#done tbody tr", has_text="latin")
    row.locator("a.small").focus()
    row.scroll_into_view_if_needed()
    before = row.bounding_box()["y"]
    queue.pause(None)
    node = tab.page.evaluate_handle("document.activeElement")
    finish(root, queue, rendered, "new.wav")
    queue.renew(filled, json.dumps({"stage": "searching", "done": 6, "total": 12}))
    tab.until("document.querySelector('#done .name').textContent === 'new.wav'")
    assert tab.texts("#running .small")[0] == "searching 50 %", "it refreshes itself"
    assert tab.page.evaluate("node => document.activeElement === node", node)
    assert abs(row.bounding_box()["y"] - before) < 2, "what is read stays where it is"

    for number in range(MOST_FILES):
        finish(root, queue, rendered, f"more{number}.wav")
    tab.refresh()
    assert tab.page.evaluate("document.activeElement.id") == "done-title", "near where the row was that is gone"
    assert tab.texts("#done caption") == [f"The newest {MOST_FILES} of {queue.counts()['done']} renders"]
    tab.page.locator("#hold").press("Enter")
    assert tab.page.evaluate("document.activeElement.textContent") == "Refresh again"
    assert tab.complaints == []
    tab.context.close()


def test_a_row_that_moves_keeps_focus(browser: Any, root: Root, queue: Queue, rendered: Path, address: str) -> None:
    finish(root, queue, rendered, "first.wav")
    finish(root, queue, rendered, "second.wav")
    tab = Tab(browser, address)
    tab.page.locator("#done tbody tr:last-child a.small").focus()
    queue.db.execute("UPDATE files SET finished_at = finished_at + 100 WHERE id = 1")
    tab.refresh()
    assert tab.texts("#done .name") == ["first.wav", "second.wav"]
    assert tab.page.evaluate("document.activeElement.getAttribute('aria-label')") == "Report on first.wav as JSON"
    tab.context.close()


def test_the_page_says_when_nobody_answers(browser: Any, root: Root, queue: Queue) -> None:
    with served(root) as address:
        tab = Tab(browser, address)
        assert tab.texts("#link") == [""]
        damaged = root.database.rename(root.database.with_suffix(".away"))
        tab.refresh()
        assert re.fullmatch(r"what goes on cannot be read: .*, since \d\d:\d\d:\d\d", tab.texts("#link")[0])
        damaged.rename(root.database)
        tab.refresh()
        assert tab.texts("#link") == [""]
    tab.refresh()
    assert re.fullmatch(r"no connection since \d\d:\d\d:\d\d", tab.texts("#link")[0])
    assert tab.texts("#counts dd") == ["0"] * 4, "what was known stays"
    assert tab.texts("#services") == ["as it was then:"], "nothing is said to be running that may not be"
    with served(root, port=urlsplit(address).port or 0):
        tab.until("document.getElementById('link').textContent === ''")
    tab.context.close()


def test_it_fits_any_screen(browser: Any, filled: JobRecord, address: str) -> None:
    tab = Tab(browser, address)
    for width in (320, 400, 810, 1400):
        tab.page.set_viewport_size({"width": width, "height": 800})
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
        for seen in ("#services", "#failed .why", "#done .name", "#done .facts div"):
            box = tab.page.locator(seen).first.bounding_box()
            assert box["width"] >= 120, f"{seen} is squeezed on {width} pixels"
    tab.context.close()


def test_every_text_stands_out_from_its_ground(browser: Any, filled: JobRecord, address: str) -> None:
    tab = Tab(browser, address)
    for scheme in ("light", "dark"):
        tab.page.emulate_media(color_scheme=scheme)
        least = min(tab.page.evaluate(CONTRASTS), key=lambda each: each[1])
        assert least[1] >= 4.5, f"{scheme}: {least}"
        ground = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 3 * 128) == (scheme == "dark")
    tab.context.close()


def test_it_can_be_heard_and_typed(browser: Any, filled: JobRecord, address: str) -> None:
    tab = Tab(browser, address, viewport={"width": 400, "height": 800})
    role = tab.page.get_by_role
    assert [role(name).count() for name in ("banner", "main", "contentinfo")] == [1, 1, 1]
    assert role("heading", level=1).all_text_contents() == ["TTSR Studio"]
    for name, title in (
        ("running", "Running"),
        ("next", "Next"),
        ("failed", "Failed"),
        ("held", "Waiting"),
        ("done", "Recent renders"),
    ):
        assert role("region", name=title).count() == 1
        assert len(tab.texts(f"#{name} caption")[0]) > 5, "a table says what it is of"
    assert role("table").count() == 5, "tables stay tables on a narrow screen"
    assert role("rowheader").count() == tab.page.locator("tbody tr").count()
    assert role("progressbar", name="now.wav").count() == 1
    assert tab.page.locator("#summary").get_attribute("aria-live") == "polite"
    assert role("link", name="Picture of the report on speech/take.wav").count() == 1
    reached = []
    for _ in range(11):
        tab.page.keyboard.press("Tab")
        reached.append(tab.page.evaluate("document.activeElement.textContent || document.activeElement.ariaLabel"))
    first = ["To the content", "Go on with the queue", "Stop refreshing", None, "Use it", "Choose files"]
    assert reached == [*first, "Choose a folder", "pending", "running", "done", "failed"]
    assert tab.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.context.close()


def test_what_slips_in_does_not_run(browser: Any, address: str) -> None:
    tab = Tab(browser, address)
    tab.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=/x onerror=\"window.ran = 1\">')")
    tab.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    )
    tab.until("[...document.images].every((image) => image.complete)")
    assert tab.page.evaluate("window.ran") is None
    assert any("Content Security Policy" in text for text in tab.complaints)
    tab.context.close()


def test_the_page_passes_to_a_service_that_outlives_the_first(root: Root) -> None:
    said: list[str] = []
    with ExitStack() as stack, ExitStack() as first:
        port = urlsplit(first.enter_context(served(root))).port
        context = stack.enter_context(service_context(root, said, ServiceOptions(page=PageOptions(port=port))))
        keeper = stack.enter_context(closing(PageKeeper(context, serve_page)))
        keeper.try_to_serve()
        keeper.try_to_serve()
        assert said == ["no page"], "said once"
        first.close()
        keeper.try_to_serve()
        keeper.try_to_serve()
        assert said[0] == "no page"
        assert said[-1] == "page"
        assert ask(f"http://127.0.0.1:{port}/", "/")[0] == 200
