"""Audio files as studios really have them, byte by byte: what `soundfile` would not write."""

import io
import struct

import numpy as np
import soundfile

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
UNKNOWN = 0xFFFFFFFF
GUID_TAIL = bytes.fromhex("0000000010008000" + "00aa00389b71")


def chunk(name: bytes, content: bytes, size: int | None = None, pad: bytes = b"\0", order: str = "<") -> bytes:
    """One chunk of a RIFF or AIFF file; ``size`` lies, ``pad`` is for odd lengths."""
    said = len(content) if size is None else size
    return name + struct.pack(f"{order}I", said) + content + pad * (len(content) % 2)


def fmt(rate: int, channels: int = 1, bits: int = 16, tag: int = PCM, extra: bytes = b"", order: str = "<") -> bytes:
    """The `fmt ` chunk."""
    align = channels * bits // 8
    fields = (tag, channels, rate, rate * align & UNKNOWN, align & 0xFFFF, bits)
    return chunk(b"fmt ", struct.pack(f"{order}HHIIHH", *fields) + extra, order=order)


def extensible(rate: int, channels: int, bits: int, valid: int, mask: int, tag: int = PCM) -> bytes:
    """The `fmt ` chunk of WAVE_FORMAT_EXTENSIBLE."""
    extra = struct.pack("<HHIH", 22, valid, mask, tag) + GUID_TAIL
    return fmt(rate, channels, bits, EXTENSIBLE, extra)


def riff(*chunks: bytes, kind: bytes = b"RIFF", size: int | None = None, order: str = "<") -> bytes:
    """A RIFF, RIFX or RF64 file."""
    body = b"WAVE" + b"".join(chunks)
    return kind + struct.pack(f"{order}I", len(body) if size is None else size) + body


def pcm(audio: np.ndarray, bits: int = 16, order: str = "<") -> bytes:
    """Samples ``[samples, channels]`` as integers of 8 (unsigned), 16, 24 or 32 bits."""
    whole = np.rint(audio * 2.0 ** (bits - 1)).astype(np.int64)
    if bits == 8:
        return (whole + 128).astype(np.uint8).tobytes()
    data = np.ascontiguousarray(whole.astype(f"{order}i4" if bits > 16 else f"{order}i2"))
    if bits != 24:
        return data.tobytes()
    octets = data.view(np.uint8).reshape(*data.shape, 4)
    return (octets[..., :3] if order == "<" else octets[..., 1:]).tobytes()


def ds64(riff_size: int, data_size: int, frames: int, table: bool = True) -> bytes:
    """The `ds64` chunk of RF64; 28 bytes with its table length, 24 without."""
    return chunk(b"ds64", struct.pack("<QQQ", riff_size, data_size, frames) + bytes(4 * table))


def encoded(audio: np.ndarray, rate: int, kind: str, subtype: str, **options: object) -> bytes:
    """What `soundfile` writes."""
    file = io.BytesIO()
    soundfile.write(file, audio, rate, format=kind, subtype=subtype, **options)
    return file.getvalue()


def mac_aifc(audio: np.ndarray, rate: int, compression: bytes) -> bytes:
    """AIFC of `sowt` (16 bits, little-endian) or `fl32`, as Macs and samplers write it."""
    frames, channels = audio.shape
    bits = 32 if compression == b"fl32" else 16
    data = audio.astype(">f4").tobytes() if bits == 32 else pcm(audio)
    common = struct.pack(">hIh", channels, frames, bits) + extended(rate) + compression + b"\0\0"
    body = b"AIFC" + chunk(b"FVER", struct.pack(">I", 0xA2805140), order=">")
    body += chunk(b"COMM", common, order=">") + chunk(b"SSND", bytes(8) + data, order=">")
    return b"FORM" + struct.pack(">I", len(body)) + body


def extended(value: int) -> bytes:
    """An 80-bit float, as AIFF has its rate."""
    exponent = value.bit_length() - 1
    return struct.pack(">HQ", 16383 + exponent, value << (63 - exponent))


def id3(size: int) -> bytes:
    """An ID3v2 tag with a picture of ``size`` bytes, as music stores put in front of an MP3."""
    picture = b"\0image/jpeg\0\3\0" + bytes(size)
    frame = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
    length = bytes((len(frame) >> shift) & 127 for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + length + frame
