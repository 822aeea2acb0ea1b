"""The program `ttsr` for tests of other programs, which start it often: its imports are made once.

What `ready` gives is started as the installed program is, and does the same in a process of its own, with the caller's
arguments, folder, environment and files. That process is a fork of one that has imported what a render needs, and has
the tiny engine and no picture; see `preloaded`.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from helpers import started, until

from ttsr_studio.engines.builtin import engine

CALLER = """#!{python} -ISs
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
asked = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(asked).to_bytes(8, "big")], [0, 1, 2])
server.sendall(asked)
sys.exit((server.recv(1) or b"\\xff")[0])
"""
IMPORTED = ("preloaded", "ttsr_studio.cli.job", "ttsr_studio.cli.render_files")
EVERYTHING = 1 << 20


@contextlib.contextmanager
def ready() -> Iterator[Path]:
    """A program to be called in place of `ttsr`, for as long as this lasts."""
    tiny = {"TTSR_TEST_ENGINE": str(engine.WEIGHTS), "OMP_NUM_THREADS": "1"}
    # The name of a socket has at most 107 bytes, whatever folder is for temporary files.
    folder = Path(tempfile.mkdtemp(prefix="ttsr-", dir="/tmp" if Path("/tmp").is_dir() else None))
    address, program = folder / "socket", folder / "ttsr"
    try:
        with started([sys.executable, __file__, address], env=os.environ | tiny):
            program.write_text(CALLER.format(python=sys.executable, address=str(address)))
            program.chmod(0o755)
            until(address.exists)
            yield program
    finally:
        shutil.rmtree(folder)


def serve(address: str) -> None:
    """Answer every call in a process of its own."""
    from importlib import import_module

    for name in IMPORTED:
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for what is done
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{address}.new")
        server.listen()
        os.rename(f"{address}.new", address)
        while True:
            caller, _ = server.accept()
            if os.fork() == 0:
                answer(caller)
            caller.close()


def answer(caller: socket.socket) -> None:
    """Do what a caller asks for, as the program does, and end; leave off when the caller is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        size, files, _, _ = socket.recv_fds(caller, 8, 3)
        asked = b""
        while len(asked) < int.from_bytes(size, "big"):
            asked += caller.recv(EVERYTHING)
        sys.argv, folder, environment = json.loads(asked)
        for number, file in enumerate(files):
            os.dup2(file, number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        threading.Thread(target=end_with, args=(caller,), daemon=True).start()
        code = called()
    finally:
        caller.sendall(bytes([code]))
        os._exit(code)


def end_with(caller: socket.socket) -> None:
    """End this process when its caller has ended, however that came."""
    if not caller.recv(1):
        os.kill(os.getpid(), signal.SIGKILL)


def called() -> int:
    """The exit code of the program."""
    from ttsr_studio.__main__ import run

    try:
        run()
    except SystemExit as ended:
        sys.stdout.flush()
        sys.stderr.flush()
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
