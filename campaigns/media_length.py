"""How long video and audio files play, read from their headers; what cannot be read has no length.

The bytes come from strangers: every number is checked before anything is done with it, and nothing is decoded.
"""

from __future__ import annotations

import struct

LONGEST = 86_400  # seconds; whoever says more is not believed
BOXES = 1_000
HEAD = 1 << 20  # bytes in which the first frame of an MP3 is looked for
OPUS_RATE = 48_000
# MPEG 1 and 2, layer III: bits a second by the index in a frame's header, and samples a second.
BITRATES = {
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def seconds_of(mime: str, data: bytes) -> int | None:
    """At least 1; None where the file does not say."""
    try:
        match mime:
            case "video/mp4" | "video/3gpp" | "audio/mp4":
                length = of_mp4(data)
            case "audio/ogg":
                length = of_opus(data)
            case "audio/mpeg":
                length = of_mp3(data)
            case _:
                return None
    except (struct.error, IndexError, ValueError, ZeroDivisionError):
        return None
    return max(1, round(length)) if length is not None and 0 < length <= LONGEST else None


def of_mp4(data: bytes) -> float | None:
    """From ``moov/mvhd``: units, and units a second."""
    moov = box(data, 0, len(data), b"moov")
    head = box(data, *moov, b"mvhd") if moov else None
    if head is None:
        return None
    at = head[0]
    if data[at] == 1:
        rate, units = struct.unpack_from(">IQ", data, at + 20)
    else:
        rate, units = struct.unpack_from(">II", data, at + 12)
    return float(units) / float(rate)


def box(data: bytes, start: int, end: int, name: bytes) -> tuple[int, int] | None:
    """Where the content of the first box of this name begins and ends."""
    for _ in range(BOXES):
        if start + 8 > end:
            return None
        size, found = struct.unpack_from(">I4s", data, start)
        begin = start + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, begin)
            begin += 8
        elif size == 0:
            size = end - start
        if size < begin - start:
            return None
        if found == name:
            return begin, min(start + size, end)
        start += size
    return None


def of_opus(data: bytes) -> float | None:
    """The last page of the stream says how many samples there were."""
    last = data.rfind(b"OggS")
    if last < 0:
        return None
    (samples,) = struct.unpack_from("<q", data, last + 6)
    return float(samples) / OPUS_RATE


def of_mp3(data: bytes) -> float | None:
    """From the first frame: it counts all frames, or they are taken to be alike."""
    start = 0
    if data.startswith(b"ID3"):
        a, b, c, d = data[6:10]
        start = 10 + (a << 21 | b << 14 | c << 7 | d)
    start = data.find(b"\xff", start, start + HEAD)
    while start >= 0:
        _, second, third, fourth = data[start : start + 4]
        version, layer = second >> 3 & 3, second >> 1 & 3
        bits, rate = third >> 4, third >> 2 & 3
        if second >> 5 == 7 and layer == 1 and version in RATES and 0 < bits < 15 and rate < 3:
            break
        start = data.find(b"\xff", start + 1, start + HEAD)
    else:
        return None
    samples_a_second = RATES[version][rate]
    side = (17 if fourth >> 6 == 3 else 32) if version == 3 else (9 if fourth >> 6 == 3 else 17)
    counted = start + 4 + side
    if data[counted : counted + 4] in (b"Xing", b"Info") and data[counted + 7] & 1:
        (frames,) = struct.unpack_from(">I", data, counted + 8)
        return float(frames) * (1152 if version == 3 else 576) / samples_a_second
    return (len(data) - start) * 8 / (BITRATES[1 if version == 3 else 2][bits - 1] * 1000)
