"""Which cluster's head a command goes to, and in a line why none, where none will do."""

import contextlib
import os
import socket
from collections.abc import Collection
from typing import Any

from ttsr_studio.farm.messages import FarmSettings

KNOCK_SECONDS, TALK_SECONDS = 10.0, 3.0
"""For a machine to answer at a port; and for a head to say its first word."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What gRPC, which heads speak, begins with: that of HTTP/2 and empty settings; RFC 9113, sections 3.4 and 6.5."""

START_ANEW = "start it by `ray start --head …` there; where one has ended, after `ray stop` there and on all machines"


def head_of(settings: FarmSettings) -> str:
    """Address of the head to connect to, which answers and has a node on this machine. Raises ConnectionError.

    Of "auto" it is RAY_ADDRESS where that is set, else the head that was reached before while it answers, else the one
    that answers of those whose nodes run here.
    """
    from ray._private import services

    of_ray: Any = services
    here, named = of_ray.find_gcs_addresses(), settings.address
    if named == "auto" and not os.environ.get("RAY_ADDRESS"):
        heads = [settings.before] if listens(settings.before) else [head for head in here if listens(head)]
        named = only_one(heads) or "auto"
    try:
        found = of_ray.canonicalize_bootstrap_address(named)
    except ConnectionError:  # of "auto", with advice that is not for our users
        found = None
    named = found if named == "auto" else named
    refuse_silent(found, named)  # Ray would try for two minutes
    refuse_apart(here, named)  # and here for one
    return str(named)


def listens(address: str) -> bool:
    """Whether somebody listens at a head's address."""
    try:
        refuse_silent(address)
    except ConnectionError:
        return False
    return True


def only_one(heads: Collection[str]) -> str | None:
    """The only one of heads that answer; None where there is none. Raises ConnectionError for several."""
    by_place = {place(head): head for head in sorted(heads)}
    if len(by_place) > 1:
        several = " and ".join(by_place.values())
        raise ConnectionError(
            f"this machine belongs to {len(by_place)} clusters, {several}: name one by its HOST:PORT instead of auto, "
            "or in the variable RAY_ADDRESS"
        )
    return next(iter(by_place.values()), None)


def place(address: str) -> tuple[str, str]:
    """Host, by number where that is known, and port: one head may go by several names."""
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError):
        host = socket.gethostbyname(host)
    return host, port


def refuse_silent(address: str | None, named: str | None = None) -> None:
    """Raise ConnectionError where nobody listens at a head's address.

    Args:
        named: as the user wrote it.
    """
    host, _, port = (address or "").rpartition(":")
    if not host:
        raise ConnectionError(
            "this machine belongs to no cluster; start a head by `ray start --head`, or join one by "
            "`ray start --address=HEAD:PORT`"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()
    except socket.gaierror as error:
        named = named or address
        raise ConnectionError(f"no machine is known by the name in {named} ({error.strerror}); check it") from error
    except OSError as error:
        why = error.strerror or error
        raise ConnectionError(f"no head answers at {named or address} ({why}); {START_ANEW}") from error


def refuse_apart(heads: Collection[str], named: str | None) -> None:
    """Raise ConnectionError where no node of a cluster runs on this machine, through which a command could go.

    Args:
        heads: addresses of the heads of all nodes that run here; hosts may have several names, so ports are compared.
    """
    port = (named or "").rpartition(":")[2]
    if any(head.rpartition(":")[2] == port for head in heads):
        return
    node = f"`ray start --address={named}`"
    if not talks_as_head(named or ""):
        raise ConnectionError(
            f"what answers at {named} does not talk as a Ray head does: check host and port, as `ray start --head` "
            f"said them; where a head does run there, start a node of it on this machine by {node}"
        )
    raise ConnectionError(f"the head at {named} answers, but no node of it runs on this machine; start one by {node}")


def talks_as_head(address: str) -> bool:
    """Whether what listens at an address begins as a head does; True as well where that is encrypted."""
    if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
        return True
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), TALK_SECONDS) as there:
        there.sendall(PREFACE)
        return there.recv(4)[3:] == b"\x04"  # settings
    return False
