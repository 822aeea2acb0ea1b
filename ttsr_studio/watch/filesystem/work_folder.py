"""The work folder of a root: its database needs a local disk, and has to stay the one that a service began with."""

import contextlib
from pathlib import Path

import psutil

from ttsr_studio.errors import OptionError, shown
from ttsr_studio.watch.filesystem.root import Root
from ttsr_studio.watch.queue.store import DamagedError

NETWORK_FILESYSTEMS = {
    *("nfs", "nfs4", "cifs", "smbfs", "smb3", "afpfs", "9p", "webdav", "davfs", "ceph"),
    *("fuse.sshfs", "fuse.rclone"),
}


def network_filesystem(path: Path) -> str | None:
    """The kind of network share that a folder is on, None for a local disk."""
    best, kind = "", ""
    with contextlib.suppress(psutil.Error, OSError):
        for part in psutil.disk_partitions(all=True):
            mount = part.mountpoint
            if len(mount) > len(best) and (path == Path(mount) or Path(mount) in path.parents):
                best, kind = mount, part.fstype.lower()
    return kind if kind in NETWORK_FILESYSTEMS else None


def refuse_network(state: Path) -> None:
    """Raise OptionError for a database on a network share, where its locks mean nothing."""
    kind = network_filesystem(state)
    if kind:
        raise OptionError(
            f"{shown(state)}: is on a network share ({kind}), where a database is not safe; "
            "pass --state FOLDER on a local disk"
        )


class WorkFolderGuard:
    """Notices when the work folder of a root is replaced while a service runs."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.identities = {path: identity(path) for path in (root.path, root.mark, root.database)}

    def refuse_replaced(self) -> None:
        """Raise DamagedError when the work folder is another than at the start; not when the whole root is away."""
        if identity(self.root.path) != self.identities[self.root.path]:
            return
        lost = [path for path, was in self.identities.items() if identity(path) != was]
        if lost:
            raise DamagedError(
                f"{shown(lost[0])}: was deleted or replaced while the service ran; start it again, "
                "which finds in the folders what is done"
            )


def identity(path: Path) -> tuple[int, int] | None:
    """What tells that a path still is the same file or folder; None when it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
