"""Protocol-buffer wire format, just enough for the handful of messages used here."""

from __future__ import annotations

from typing import Any

Fields = dict[int, list[Any]]


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode(*pairs: tuple[int, int | bytes | str | None]) -> bytes:
    """(field, value) pairs: a number as a varint, bytes and text with their length; None leaves the field out."""
    out = bytearray()
    for field, value in pairs:
        if value is None:
            continue
        if isinstance(value, int):
            out += varint(field << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(field << 3 | 2) + varint(len(data)) + data
    return bytes(out)


def _read_varint(data: bytes, start: int) -> tuple[int, int]:
    shift = result = 0
    while True:
        byte = data[start]
        start += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, start
        shift += 7


def decode(data: bytes) -> Fields:
    """{field: [values]}, numbers as int and everything else as bytes. Raises ValueError or IndexError on nonsense."""
    fields: Fields = {}
    at, end = 0, len(data)
    value: int | bytes
    while at < end:
        key, at = _read_varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _read_varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value, at = data[at : at + size], at + size
        elif kind == 2:
            size, at = _read_varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            raise ValueError(f"wire type {kind}")
        fields.setdefault(key >> 3, []).append(value)
    return fields


def first(fields: Fields, number: int | None, default: Any = None) -> Any:
    values = fields.get(number) if number is not None else None
    return values[0] if values else default
