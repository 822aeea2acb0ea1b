"""What the app must not do, whoever asks: a test for each way in."""

import http.client
import json
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from helpers import LONGEST, Ttsr, below, save, until, voice
from watch_folder import served

from ttsr_studio.errors import OptionError
from ttsr_studio.report.paths import report_names
from ttsr_studio.watch.filesystem.root import Root
from ttsr_studio.watch.queue.jobs import Offer, Queue
from ttsr_studio.watch.web import patience
from ttsr_studio.watch.web.sending import stretch_of
from ttsr_studio.watch.web.token import Token

SOUND = b"RIFF not much of a sound" * 40


@dataclass(frozen=True)
class App:
    """The page of a root, as a client has it."""

    root: Root
    address: str
    token: str

    def ask(self, method: str, path: str, body: Any = None, **headers: str | None) -> tuple[int, Any, Any]:
        """One request with the token, unless told otherwise; a body that is no bytes goes as JSON."""
        where = urlsplit(self.address)
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent: dict[str, str | None] = {"Authorization": f"Bearer {self.token}"}
        sent |= {"Content-Type": "application/json"} if content is not None else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(http.client.HTTPConnection(str(where.hostname), where.port, timeout=LONGEST / 4)) as connection:
            connection.putrequest(method, path, skip_host="Host" in sent)
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            if content is not None and "Content-Length" not in sent:
                connection.putheader("Content-Length", str(len(content)))
            connection.endheaders(content)
            answer = connection.getresponse()
            said = answer.read()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, answer.headers, json.loads(said) if is_json else said

    def post(self, path: str, body: Any = None, **headers: str | None) -> tuple[int, Any]:
        code, _, said = self.ask("POST", path, {} if body is None else body, **headers)
        return code, said

    def upload(self, name: str = "take.wav", folder: str = "", body: bytes = SOUND, **headers: str | None) -> Any:
        code, _, said = self.ask("PUT", f"/api/uploads?name={quote(name)}&folder={quote(folder)}", body, **headers)
        return code, said

    def nothing_came(self) -> bool:
        own = {"_renders", "_failed", "_work"}
        uploads = self.root.work / "uploads"
        return {path.name for path in self.root.path.iterdir()} == own and not any(uploads.glob("*"))


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    root = Root(tmp_path_factory.mktemp("attacks"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with served(root, most_upload=50_000) as address:
            yield App(root, address, Token(root.state).text)


def test_forged_requests_of_other_sites_are_refused(app: App) -> None:
    own = app.address.rstrip("/")
    for site in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"},
                 {"Sec_Fetch_Site": "same-site"}, {"Origin": own.replace("127.0.0.1", "127.0.0.1.evil.example")},
                 {"Origin": own + "0"}):  # fmt: skip
        assert app.post("/api/pause", **site)[0] == 403, site
        assert app.ask("GET", "/status.json", **site)[0] == 403, "nor can it read"
    for form in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        assert app.post("/api/pause", Content_Type=form)[0] == 400, "what a form can send is not taken"
        assert app.post("/api/pause", Content_Type=form, Authorization=None)[0] == 401
    code, headers, _ = app.ask("OPTIONS", "/api/pause", Origin="https://evil.example")
    assert code == 403
    assert not [name for name in headers if name.lower().startswith("access-control")]
    with closing(Queue(app.root.database)) as queue:
        assert not queue.paused
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert app.ask("GET", "/", **link)[0] == 200, "a link to the page may be followed"
    assert app.ask("GET", "/", **{**link, "Sec_Fetch_Dest": "iframe"})[0] == 403
    assert app.post("/api/pause", Origin=own, Sec_Fetch_Site="same-origin")[0] == 200
    assert app.post("/api/resume")[0] == 200


def test_a_name_that_is_made_to_point_here_gets_nothing(app: App) -> None:
    for host in ("evil.example", f"evil.example:{urlsplit(app.address).port}", "127.0.0.1.evil.example"):
        for method, path in (("GET", "/"), ("GET", "/status.json"), ("POST", "/api/pause"), ("PUT", "/api/uploads")):
            code, _, said = app.ask(method, path, b"{}", Host=host, Origin=f"http://{host}")
            assert (code, b"TTSR" in said) == (403, False)


def test_nothing_is_changed_without_the_token(app: App) -> None:
    every = [("PUT", "/api/uploads?name=a.wav"), ("DELETE", "/api/uploads/0123456789abcdef")]
    every += [("POST", f"/api/{what}") for what in ("estimate", "render", "pause", "resume", "retry", "ticket")]
    every += [("POST", f"/api/files/1/{what}") for what in ("cancel", "retry", "priority", "again")]
    every += [(method, "/status.json") for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW", "CONNECT")]
    for method, path in every:
        code, headers, _ = app.ask(method, path, SOUND, Authorization=None)
        assert (code, headers["WWW-Authenticate"]) == (401, "Bearer"), (method, path)
    assert app.nothing_came()
    code, headers, _ = app.ask("POST", "/status.json", {})
    assert (code, set(headers["Allow"].split(", "))) == (405, {"GET", "HEAD"}), "with it neither, where it is to look"


def test_the_token_is_not_to_be_guessed_or_read(app: App, tmp_path: Path) -> None:
    guesses = ["", "Bearer", "Bearer ", "Bearer x", f"Bearer {app.token[:-1]}", f"Bearer {app.token}x",
               f"Bearer {app.token.swapcase()}", f"Basic {app.token}", app.token, "Bearer \xe9"]  # fmt: skip
    codes = {app.post("/api/pause", Authorization=guess)[0] for guess in guesses}
    assert codes == {401}
    assert app.post(f"/api/pause?token={app.token}", Authorization=None)[0] == 401, "nor taken from an address"
    codes = {app.post("/api/pause", Authorization=f"Bearer {n}")[0] for n in range(30)}
    assert codes == {401, 429}, "many are told that they are too many"
    assert app.post("/api/resume")[0] == 200, "which keeps nobody else out"
    assert len(app.token) > 40
    files = [path for path in app.root.work.rglob("*") if path.is_file()]
    assert [path.name for path in files if app.token.encode() in path.read_bytes()] == ["app-token"], "no log has it"
    assert stat.S_IMODE((app.root.state / "app-token").stat().st_mode) == 0o600
    again = Token(app.root.state)
    assert (again.text, again.made) == (app.token, False), "it outlives the service, and is shown once"
    (tmp_path / "app-token").write_text("open to all")
    (tmp_path / "app-token").chmod(0o644)
    with pytest.raises(OptionError, match="others can read"):
        Token(tmp_path)
    (tmp_path / "app-token").unlink()
    (tmp_path / "app-token").symlink_to(app.root.state / "app-token")
    with pytest.raises(OptionError, match="app-token"):
        Token(tmp_path)


OUTSIDE = ("../x.wav", "/x.wav", "a/b.wav", "..\\x.wav", "C:\\x.wav", "..", ".", "", "\x00.wav", "a\nb.wav")
ODD = (".hidden.wav", "a.part", "a.txt", "a.wav.exe", "a", "rtl\u202egnp.wav", "~$a.wav", "a\x7f.wav")
FOLDERS = ("..", "../..", "a/../../b", "/etc", "_renders", "_work/uploads", "_failed", "_done", ".git", "a\\..\\b",
           "a\x00b", "/".join("a" * 20), "x" * 300)  # fmt: skip


def test_no_name_leads_out_of_the_root(app: App) -> None:
    for name in (*OUTSIDE, *ODD):
        code, said = app.upload(name)
        assert code == 400, (name, said)
        assert said["error"].count("\n") == 0
    for folder in FOLDERS[:-1]:
        assert app.upload(folder=folder)[0] == 400, folder
    assert app.ask("PUT", "/api/uploads?name=%2e%2e%2fx.wav", SOUND)[0] == 400
    for path in ("/api/uploads/../status.json", "/api/uploads/..%2f..%2fx", "/files/1/../../x", "/files/1/..",
                 "/static/../server.py", "/static/%2e%2e/server.py", "/audition/..", "//etc/passwd"):  # fmt: skip
        assert app.ask("GET", path)[0] == 404, path
    for number in ("../x", "0", "-1", "1e3", "0123456789abcdeg", "x" * 500):
        assert app.ask("DELETE", f"/api/uploads/{number}")[0] == 404
        assert app.post("/api/render", {"uploads": [number]})[0] == 404
    assert app.nothing_came()


def test_odd_names_that_are_names_land_as_they_are(app: App) -> None:
    names = ["b&'`.wav", "épée ☂ 𝄞.wav", "-rf.wav", "%2e%2e.wav", "take 12:30.wav", "a" * 300 + ".wav"]
    landed = []
    for name in names:
        code, upload = app.upload(name, "song ö/take 1")
        assert code == 201, upload
        code, said = app.post("/api/render", {"uploads": [upload["id"]]})
        assert (code, said["refused"]) == (200, [])
        landed.append(said["files"][0]["file"])
    found = sorted(path.name for path in (app.root.path / "song ö" / "take 1").iterdir())
    assert len(found) == len(names)
    assert set(names[:-1]) < set(found)
    assert all((app.root.path / "song ö" / "take 1" / name).read_bytes() == SOUND for name in found)
    shutil.rmtree(app.root.path / "song ö")


def test_links_lead_nowhere(app: App, tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    (app.root.path / "link").symlink_to(tmp_path / "away")
    (app.root.path / "in").mkdir()
    (app.root.path / "in" / "link").symlink_to("/")
    try:
        for folder in ("link", "link/deeper", "in/link/tmp"):
            code, upload = app.upload(folder=folder)
            assert code == 201, "it waits in a place of its own"
            _, said = app.post("/api/render", {"uploads": [upload["id"]]})
            assert said["files"] == []
            assert "not a folder of its own" in said["refused"][0]["reason"]
            assert app.ask("DELETE", f"/api/uploads/{upload['id']}")[0] == 200
        assert not list((tmp_path / "away").iterdir())
        (app.root.path / "dangling.wav").symlink_to(tmp_path / "new.wav")
        _, upload = app.upload("dangling.wav")
        _, said = app.post("/api/render", {"uploads": [upload["id"]]})
        assert said["files"][0]["file"] == "dangling~2.wav", "what has a name keeps it"
        assert not (tmp_path / "new.wav").exists()
    finally:
        for path in ("link", "in/link", "dangling.wav", "dangling~2.wav"):
            (app.root.path / path).unlink(missing_ok=True)
        (app.root.path / "in").rmdir()


def test_what_is_taken_never_takes_the_place_of_another(app: App) -> None:
    (app.root.path / "take.flac").write_bytes(b"mine")
    (app.root.path / "song.ttsr.toml").write_text("candidates = 3\n")
    names = []
    for name in ("take.wav", "TAKE.wav", "take.wav", "song.wav"):
        _, upload = app.upload(name)
        names += [row["file"] for row in app.post("/api/render", {"uploads": [upload["id"]]})[1]["files"]]
    assert names == ["take~2.wav", "TAKE~3.wav", "take~4.wav", "song~2.wav"]
    assert (app.root.path / "take.flac").read_bytes() == b"mine"
    assert (app.root.path / "song.ttsr.toml").read_text() == "candidates = 3\n"
    for path in app.root.path.glob("*.*"):
        path.unlink()


def test_uploads_have_a_length_that_is_kept_to(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = app.upload(body=b"x", Content_Length="50001")
    assert (code, "larger than" in said["error"]) == (413, True), "before any of it is read"
    for length in ("", "-5", "1e3", "99999999999999999999999"):
        assert app.upload(body=b"", Content_Length=length)[0] == 400
    assert app.upload(body=b"")[0] == 400, "nothing is no sound"
    code, _, _ = app.ask("PUT", "/api/uploads?name=a.wav", b"5\r\nhello\r\n0\r\n\r\n", Transfer_Encoding="chunked",
                         Content_Length=None)  # fmt: skip
    assert code == 400, "without a length none is taken"
    assert app.post("/api/pause", b'{"reason": "' + b"x" * 200_000 + b'"}')[0] == 413
    assert app.post("/api/pause", b"[" * 90_000)[0] == 400
    usage = shutil.disk_usage(app.root.path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=500_000_100))
    code, said = app.upload()
    assert (code, "do not fit" in said["error"]) == (507, True)
    assert app.nothing_came()


def test_an_upload_that_breaks_off_or_stalls_leaves_nothing(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SILENT_SECONDS", 0.5)
    monkeypatch.setattr(patience, "LOOK_SECONDS", 0.1)
    where = urlsplit(app.address)
    head = (f"PUT /api/uploads?name=a.wav HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {app.token}\r\n"
            "Content-Length: 40000\r\n\r\n").encode()  # fmt: skip
    partial = app.root.work / "uploads"
    for stalls in (True, False):
        client = socket.create_connection((where.hostname, where.port), timeout=LONGEST / 4)
        client.sendall(head + b"x" * 3000)
        until(lambda: list(partial.glob("*.partial")), 20)
        if stalls:
            assert client.recv(1000) == b"", "who says nothing for too long is sent away"
        client.close()
        until(app.nothing_came, 20)


def test_only_options_that_name_no_file_can_be_set(app: App) -> None:
    _, upload = app.upload()
    wrong: dict[str, dict[str, Any]] = {
        "chain": {"chain": "/etc/passwd"},
        "reference": {"reference": "/etc/shadow"},
        "speaker": {"speaker": ["x.wav"]},
        "the words themselves": {"transcript": "/etc/hostname.txt"},
        "nearest: candidates": {"candidate": 4},
        "'many' is not": {"candidates": "many"},
        "--candidates 0": {"candidates": 0},
        "nearest: speech": {"preset": "speach"},
        "unknown preset": {"preset": "/etc/x.toml"},
        "--amount 2": {"amount": 2},
        "take 9": {"take": 9, "candidates": 2},
    }
    for word, values in wrong.items():
        code, said = app.post("/api/render", {"uploads": [upload["id"]], "values": values})
        line = said["refused"][0]["reason"] if code == 200 else said["error"]
        assert word in line, (values, line)
    for body in ([], {"values": []}, {"uploads": "x"}, {"upload": []}, {"uploads": [1]}, {"priority": "high"}):
        assert app.post("/api/render", body)[0] == 400, body
    assert app.ask("DELETE", f"/api/uploads/{upload['id']}")[0] == 200
    assert app.nothing_came()


def test_ranges_are_one_stretch_or_none() -> None:
    one = {"bytes=0-": (0, 1000), "bytes=10-19": (10, 20), "bytes=-5": (995, 1000), "bytes=999-99999": (999, 1000)}
    assert {wanted: stretch_of(wanted, 1000) for wanted in one} == {key: (*value, 206) for key, value in one.items()}
    for wanted in ("bytes=1000-", "bytes=5-2", "bytes=-0"):
        assert stretch_of(wanted, 1000) == (0, 0, 416), wanted
    many = "bytes=" + "0-," * 5000
    for odd in (None, "bytes=0-1,5-9", many, "bytes=" + "9" * 400 + "-", "lines=1-2", "bytes=a-b"):
        assert stretch_of(odd, 1000) == (0, 1000, 200), "the whole file, once"


def render_of(app: App, name: str = "heard.wav") -> int:
    """A finished file, by its number."""
    source = save(app.root.path / name, below(voice(0.2), 4000))
    output = app.root.renders / name
    shutil.copyfile(source, output)
    with closing(Queue(app.root.database)) as queue:
        signature = app.root.signature_of(name)
        assert signature
        queue.offer([Offer(name, signature, 100)])
        claim = queue.claim("service-1-x")
        assert claim
        queue.identify(claim, "0" * 64, name, f"_renders/{name}", f"_renders/{report_names(output)[0].name}")
        queue.finish(claim, lambda: None)
        return claim.id


def test_a_render_is_sent_as_it_lies_there_and_not_through_a_link(app: App, tmp_path: Path) -> None:
    number = render_of(app)
    output = app.root.renders / "heard.wav"
    code, headers, said = app.ask("GET", f"/files/{number}/render", Authorization=None)
    assert (code, said) == (200, output.read_bytes()), "to listen is open on this machine"
    assert headers["Content-Disposition"].startswith("attachment")
    code, headers, said = app.ask("GET", f"/files/{number}/render", Range="bytes=4-7")
    assert (code, said, headers["Content-Range"]) == (
        206,
        output.read_bytes()[4:8],
        f"bytes 4-7/{output.stat().st_size}",
    )
    for what in ("source", "../heard.wav", "top0", "top10", "heard.wav", ""):
        assert app.ask("GET", f"/files/{number}/{what}")[0] == 404
    secret = save(tmp_path / "secret.wav", voice(0.1))
    output.unlink()
    output.symlink_to(secret)
    (app.root.renders / "heard_top2.wav").symlink_to(secret)
    (app.root.renders / "heard_control.wav").mkdir()
    for what in ("render", "top2", "control"):
        assert app.ask("GET", f"/files/{number}/{what}")[0] == 404
    assert app.ask("GET", f"/audition/{number}")[0] == 404
    for path in (output, app.root.renders / "heard_top2.wav", app.root.path / "heard.wav"):
        path.unlink()
    (app.root.renders / "heard_control.wav").rmdir()


def test_no_socket_and_no_stream_is_opened(app: App) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Key": "x" * 22 + "==",
               "Sec_WebSocket_Version": "13"}  # fmt: skip
    for token in (None, f"Bearer {app.token}"):
        for path in ("/", "/status.json", "/ws", "/api/pause"):
            code, headers, _ = app.ask("GET", path, Authorization=token, **upgrade)
            assert code in (200, 404, 405)
            assert headers["Upgrade"] is None
        code, headers, said = app.ask("GET", "/status.json", Authorization=token, Accept="text/event-stream")
        assert (code, headers["Content-Type"]) == (200, "application/json")
        assert "counts" in said


def test_others_cannot_reach_it_unless_somebody_stands_in_front(ttsr: Ttsr, tmp_path: Path) -> None:
    for command in ("app", "watch"):
        for host in ("0.0.0.0", "::", "192.168.1.5", "studio.lan"):
            refused = ttsr(command, tmp_path, "--host", host, *(["--once"] if command == "watch" else []))
            assert refused.exit_code == 2, refused.output
            assert "--behind-proxy" in refused.stderr
            assert refused.stderr.count("\n") == 1
    one = ttsr("app", tmp_path, "--tls-cert", tmp_path / "c.pem")
    assert (one.exit_code, "go together" in one.stderr) == (2, True)
    gone = ttsr("app", tmp_path, "--tls-cert", tmp_path / "c.pem", "--tls-key", tmp_path / "k.pem")
    assert (gone.exit_code, "no such file" in gone.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_behind_a_proxy_sound_and_changes_take_the_token_over_tls(tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    root.path.mkdir()
    with served(root, host="0.0.0.0", behind_proxy=True, names=("ttsr.lan",)) as address:
        app = App(root, address.replace("0.0.0.0", "127.0.0.1"), Token(root.state).text)
        number = render_of(app)
        there = {"Host": "ttsr.lan"}
        assert app.ask("GET", "/status.json", Authorization=None, **there)[0] == 200
        for path in (f"/files/{number}/render", f"/audition/{number}", "/api/uploads"):
            assert app.ask("GET", path, **there)[0] == 403, "a token in plain text is one for all"
            assert app.ask("GET", path, Authorization=None, X_Forwarded_Proto="https", **there)[0] == 401
        safe = {**there, "X_Forwarded_Proto": "https", "Origin": "https://ttsr.lan"}
        assert app.ask("GET", "/api/uploads", **safe)[0] == 200
        assert app.post("/api/pause", **safe)[0] == 200
        code, said = app.post("/api/ticket", {"path": f"/files/{number}/render"}, **safe)
        assert code == 200
        opened = f"/files/{number}/render?ticket={said['ticket']}"
        assert app.ask("GET", opened, Authorization=None, **there)[0] == 200, "what a link asks for needs a ticket"
        for other in (f"/files/{number}/top2", f"/audition/{number}", "/api/uploads"):
            assert app.ask("GET", f"{other}?ticket={said['ticket']}", Authorization=None, **there)[0] in (401, 403)
        assert app.ask("POST", f"/api/pause?ticket={said['ticket']}", {}, Authorization=None, **there)[0] == 403
        assert app.post("/api/ticket", {"path": "/api/pause"}, **safe)[0] == 400


def test_programs_of_the_user_find_it_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    pointer, root = tmp_path / "state" / "ttsr" / "app.json", Root(tmp_path / "root")
    root.path.mkdir()
    with served(root) as address:
        said = json.loads(pointer.read_text())
        assert said == {"address": address, "root": str(root.path), "token_file": str(root.state / "app-token"),
                        "pid": os.getpid()}  # fmt: skip
        with served(Root(root.path), behind_proxy=True, names=("x.lan",)):
            assert json.loads(pointer.read_text()) == said, "one for others is not this user's"
    assert not pointer.exists()
