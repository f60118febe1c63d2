"""The binary XML's token tables, read out of the installed library: nothing of it is kept in this repository."""

from __future__ import annotations

import struct
from typing import NamedTuple

RELATIVE = (8, 1027)  # R_X86_64_RELATIVE, R_AARCH64_RELATIVE
PROGBITS = 1


class Tokens(NamedTuple):
    single: list[str]
    double: list[list[str]]


class _Library:
    """An ELF file's data section. Go's string arrays are (pointer, length) pairs whose pointers are relocations."""

    def __init__(self, elf: bytes) -> None:
        self._elf = elf
        (offset,) = struct.unpack_from("<Q", elf, 0x28)
        entry_size, count, names_index = struct.unpack_from("<HHH", elf, 0x3A)
        heads = [struct.unpack_from("<IIQQQQ", elf, offset + i * entry_size) for i in range(count)]
        names = heads[names_index][4]
        sections = {elf[names + head[0] : elf.index(b"\0", names + head[0])].decode(): head for head in heads}
        self._loaded = [(head[3], head[4], head[5]) for head in heads if head[1] == PROGBITS and head[3]]
        self.pointers = {}
        _, _, _, _, start, size = sections[".rela.dyn"]
        for where, info, addend in struct.iter_unpack("<QQq", elf[start : start + size]):
            if info & 0xFFFFFFFF in RELATIVE:
                self.pointers[where] = addend

    def _file_offset(self, address: int) -> int | None:
        for base, offset, size in self._loaded:
            if base <= address < base + size:
                return address - base + offset
        return None

    def word(self, address: int) -> int | None:
        offset = self._file_offset(address)
        return None if offset is None else int(struct.unpack_from("<Q", self._elf, offset)[0])

    def text(self, address: int) -> str | None:
        size = self.word(address + 8)
        if size == 0:
            return ""
        offset = self._file_offset(self.pointers[address]) if address in self.pointers else None
        if offset is None or not size or size > 200:
            return None
        return self._elf[offset : offset + size].decode("utf-8", "replace")

    def texts(self, start: int, count: int) -> list[str | None]:
        return [self.text(start + 16 * i) for i in range(count)]

    def find(self, *wanted: str) -> int:
        for address in sorted(self.pointers):
            if self.word(address + 8) == len(wanted[0]) and self.texts(address, len(wanted)) == list(wanted):
                return address
        raise RuntimeError(f"no token table that starts with {', '.join(wanted)}: another version of the library?")


def _complete(texts: list[str | None]) -> list[str]:
    found = [text for text in texts if text is not None]
    if len(found) != len(texts):
        raise RuntimeError("token tables not read in full: another version of the library?")
    return found


def read_tokens(elf: bytes) -> Tokens:
    """Raises RuntimeError when the tables are not where this knows to find them."""
    library = _Library(elf)
    first = library.find("xmlstreamstart", "xmlstreamend", "s.whatsapp.net")
    table = library.find("read-self", "active", "fbns")
    slices = next(at for at, target in library.pointers.items() if target == table and library.word(at + 8) == 256)
    double = []
    for i in range(4):
        start, count = library.pointers[slices + 24 * i], library.word(slices + 24 * i + 8)
        double.append(_complete(library.texts(start, count or 0)))
    return Tokens(["", *_complete(library.texts(first, 235))], double)
