"""How the page of a service is served, and to whom."""

import ipaddress
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from ttsr_studio.errors import OptionError

HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")


@dataclass(frozen=True)
class PageOptions:
    """How the page is served.

    Attributes:
        host, port: to listen at; port 0 for any that is free.
        names: further names of hosts by which it may be called, as behind a proxy; others see it then.
        certificate: files of a TLS certificate and of its key; None for plain HTTP.
        behind_proxy: whether something in front of it, a reverse proxy or a container's port, keeps others off.
        most_upload: bytes of one file at the most.
        show_token: whether a new token is shown to whoever started the service.
        required: whether a service without its page is of no use.
    """

    host: str = "127.0.0.1"
    port: int = 8470
    names: tuple[str, ...] = ()
    certificate: tuple[Path, Path] | None = None
    behind_proxy: bool = False
    most_upload: int = 8_000_000_000
    show_token: bool = False
    required: bool = False

    @property
    def local(self) -> bool:
        """Whether only this machine can see it."""
        return is_loopback(self.host) and not self.names

    def refuse_exposed(self) -> None:
        """Raise OptionError where others could listen to what is said, or a file of the certificate is missing."""
        for path in self.certificate or ():
            if not path.is_file():
                raise OptionError(f"{path}: no such file; --tls-cert and --tls-key take a certificate and its key")
        if not is_loopback(self.host) and self.certificate is None and not self.behind_proxy:
            raise OptionError(
                f"--host {self.host}: others could reach the page there, and read its token on the way; give "
                "--tls-cert and --tls-key, or --behind-proxy where a reverse proxy with TLS, or a container's port, "
                "stands in front"
            )

    def is_called(self, names: list[str]) -> bool:
        """Whether the Host header of a request names this machine, as it was told to be named."""
        name = name_in(names)
        if name is None:
            return False
        if name == self.host.lower() or name in self.names or is_loopback(name):
            return True
        if self.host not in ("0.0.0.0", "::"):
            return False
        return is_address(name) or name == socket.gethostname().lower()


def name_in(hosts: list[str]) -> str | None:
    """The name of the host in the one Host header of a request, without its port; None where there is none."""
    match = HOST.fullmatch(hosts[0].strip().lower()) if len(hosts) == 1 else None
    return match[1].strip("[]").removesuffix(".") if match else None


def is_loopback(name: str) -> bool:
    """Whether a host is this machine seen from itself."""
    return name.lower() == "localhost" or (is_address(name) and ipaddress.ip_address(name).is_loopback)


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
