"""Comments of Ogg Vorbis and Opus streams, and of FLAC in Ogg (RFC 3533, RFC 7845, Vorbis I)."""

from typing import BinaryIO

from ttsr_studio.audio.container.contents import BUDGET

_HEADS = (b"\x03vorbis", b"OpusTags", b"\x84", b"\x04")  # the last two: a VORBIS_COMMENT of FLAC, the last block or not
_FIRST_PACKETS = 2


def comment_block(file: BinaryIO) -> bytes | None:
    """The comments of the first stream as a VORBIS_COMMENT without its vendor string; None where there are none."""
    packets: list[bytes] = []
    stream, part, read = None, b"", 0
    while len(packets) < _FIRST_PACKETS and read < BUDGET:
        page = file.read(27)
        if len(page) < 27 or page[:4] != b"OggS":
            return None
        lacing = file.read(page[26])
        body = file.read(sum(lacing))
        read += len(body)
        stream = stream or page[14:18]
        if page[14:18] != stream:
            continue
        at = 0
        for size in lacing:
            part += body[at : at + size]
            at += size
            if size < 255:
                packets.append(part)
                part = b""
    if len(packets) < _FIRST_PACKETS:
        return None
    packet = packets[1]
    head = next((head for head in _HEADS if packet.startswith(head)), b"")
    packet = packet[4:] if head in _HEADS[2:] else packet[len(head) :]  # FLAC: a block's header
    vendor = int.from_bytes(packet[:4], "little")
    return packet[4 + vendor :] if head else None
