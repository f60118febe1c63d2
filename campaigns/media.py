"""Which files a message may carry, and the check of an upload: by its content, never by its name."""

from __future__ import annotations

import hashlib
import io
import re
import struct
import threading
from dataclasses import dataclass
from pathlib import PurePath
from typing import Protocol

from PIL import Image, ImageCms, ImageOps

from campaigns.media_length import seconds_of
from campaigns.models import Media, MediaKind
from devices.gateway.contract import MEDIA_LIMITS
from devices.libmagic import magic

MIB = 1 << 20
LARGEST = 16 * MIB  # WhatsApp takes larger documents; but PostgreSQL keeps every file
MOST_BYTES = {kind: min(MEDIA_LIMITS[kind], LARGEST) for kind in MediaKind}
MOST_PIXELS = 40_000_000
LONGEST_SIDE = 4_096  # pixels; WhatsApp shows no more of a picture
THUMBNAIL = 320  # pixels of its longer side
LOOKED_AT = 65_536  # bytes by which libmagic judges
NAME_LENGTH = 100
MISSING = (
    "Files can't be checked on this server: libmagic is missing. Whoever runs Flotilla can install it; "
    "messages without a file go out as ever."
)


class UnusableFile(Exception):
    """This file cannot go with a message; the text says why and what to do."""


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class FileType:
    """``suffixes``: endings a name of this type may have; the first is given to names that have none of them."""

    kind: MediaKind
    mime: str
    suffixes: tuple[str, ...]


def _type(kind: MediaKind, mime: str, *suffixes: str) -> FileType:
    return FileType(kind, mime, suffixes)


_OFFICE = "application/vnd.openxmlformats-officedocument"
_OPEN = "application/vnd.oasis.opendocument"
MP4 = _type(MediaKind.VIDEO, "video/mp4", ".mp4", ".m4v")
MP4_AUDIO = _type(MediaKind.AUDIO, "audio/mp4", ".m4a", ".mp4")
AAC = _type(MediaKind.AUDIO, "audio/aac", ".aac")
DOC = _type(MediaKind.DOCUMENT, "application/msword", ".doc")
XLS = _type(MediaKind.DOCUMENT, "application/vnd.ms-excel", ".xls")
PPT = _type(MediaKind.DOCUMENT, "application/vnd.ms-powerpoint", ".ppt")
DOCX = _type(MediaKind.DOCUMENT, f"{_OFFICE}.wordprocessingml.document", ".docx")
XLSX = _type(MediaKind.DOCUMENT, f"{_OFFICE}.spreadsheetml.sheet", ".xlsx")
PPTX = _type(MediaKind.DOCUMENT, f"{_OFFICE}.presentationml.presentation", ".pptx")
ZIP = _type(MediaKind.DOCUMENT, "application/zip", ".zip")
# By the names that libmagic has for them.
TYPES = {
    "image/jpeg": _type(MediaKind.IMAGE, "image/jpeg", ".jpg", ".jpeg"),
    "image/png": _type(MediaKind.IMAGE, "image/png", ".png"),
    "image/webp": _type(MediaKind.IMAGE, "image/webp", ".webp"),
    "video/mp4": MP4,
    "video/x-m4v": MP4,
    "video/3gpp": _type(MediaKind.VIDEO, "video/3gpp", ".3gp"),
    "audio/ogg": _type(MediaKind.AUDIO, "audio/ogg", ".ogg", ".opus", ".oga"),
    "audio/mpeg": _type(MediaKind.AUDIO, "audio/mpeg", ".mp3"),
    "audio/mp4": MP4_AUDIO,
    "audio/x-m4a": MP4_AUDIO,
    "audio/aac": AAC,
    "audio/x-hx-aac-adts": AAC,
    "audio/amr": _type(MediaKind.AUDIO, "audio/amr", ".amr"),
    "application/pdf": _type(MediaKind.DOCUMENT, "application/pdf", ".pdf"),
    "application/msword": DOC,
    "application/vnd.ms-excel": XLS,
    "application/vnd.ms-powerpoint": PPT,
    DOCX.mime: DOCX,
    XLSX.mime: XLSX,
    PPTX.mime: PPTX,
    f"{_OPEN}.text": _type(MediaKind.DOCUMENT, f"{_OPEN}.text", ".odt"),
    f"{_OPEN}.spreadsheet": _type(MediaKind.DOCUMENT, f"{_OPEN}.spreadsheet", ".ods"),
    f"{_OPEN}.presentation": _type(MediaKind.DOCUMENT, f"{_OPEN}.presentation", ".odp"),
    "text/rtf": _type(MediaKind.DOCUMENT, "application/rtf", ".rtf"),
    "text/plain": _type(MediaKind.DOCUMENT, "text/plain", ".txt", ".csv", ".md"),
    "text/csv": _type(MediaKind.DOCUMENT, "text/csv", ".csv", ".txt"),
    "application/zip": ZIP,
}
SUFFIXES = {type.mime: type.suffixes for type in TYPES.values()}
# What libmagic sees of some office files is only their wrapping; the parts inside tell them apart.
_PARTS = {
    "application/zip": ((b"word/document", DOCX), (b"xl/workbook", XLSX), (b"ppt/presentation", PPTX)),
    "application/x-ole-storage": (
        ("WordDocument".encode("utf-16-le"), DOC),
        ("Workbook".encode("utf-16-le"), XLS),
        ("PowerPoint Document".encode("utf-16-le"), PPT),
    ),
}
_WRAPPINGS = {"application/octet-stream": "application/zip", "application/cdfv2": "application/x-ole-storage"}
ACCEPTED = (
    "Images: JPEG, PNG or WebP. Video: MP4 or 3GP. Audio: MP3, M4A, AAC, AMR or Ogg Opus. "
    "Documents: PDF, Word, Excel, PowerPoint, OpenDocument, RTF, text, CSV or ZIP."
)
LIMITS = (
    f"At most {MOST_BYTES[MediaKind.VIDEO] // MIB} MB for video and audio, {MOST_BYTES[MediaKind.DOCUMENT] // MIB} MB "
    f"for documents; pictures of up to {LARGEST // MIB} MB are made to fit {MOST_BYTES[MediaKind.IMAGE] // MIB} MB."
)
_UNWELCOME = {
    "image/gif": "a GIF. Save it as a picture, or as an MP4 video if it moves.",
    "image/heic": "a HEIC photo. Save it as JPEG.",
    "image/heif": "a HEIC photo. Save it as JPEG.",
    "image/svg+xml": "an SVG drawing. Save it as PNG.",
    "text/html": "a web page. Save it as PDF.",
    "video/quicktime": "a QuickTime video. Save it as MP4.",
    "application/x-dosexec": "a Windows program, and programs are not sent.",
    "application/vnd.microsoft.portable-executable": "a Windows program, and programs are not sent.",
}
_UNSAFE_IN_NAMES = re.compile(r'[:*?"<>|]')


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """An upload as it will be kept. ``width``, ``height`` and ``thumbnail`` are an image's, ``seconds`` a player's."""

    type: FileType
    name: str
    data: bytes
    width: int | None = None
    height: int | None = None
    thumbnail: bytes | None = None
    seconds: int | None = None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def check_file(file: Readable, name: str, size: int) -> CheckedFile:
    """Look at an upload of ``size`` bytes; at most `LARGEST` of them are read. Raises `UnusableFile`."""
    if magic is None:
        raise UnusableFile(MISSING)
    if size > LARGEST:
        raise UnusableFile(f"This file has {in_mib(size)} MB; at most {LARGEST // MIB} can be sent.")
    data = file.read(LARGEST)
    if not data:
        raise UnusableFile("This file is empty.")
    found = type_of(data)
    most = MOST_BYTES[found.kind]
    if len(data) > most and found.kind is not MediaKind.IMAGE:
        raise UnusableFile(
            f"This {found.kind.label.lower()} has {in_mib(len(data))} MB; at most {most // MIB} are sent."
        )
    if found.kind is MediaKind.IMAGE:
        return redrawn(data, found, name)
    return CheckedFile(found, safe_name(name, found), data, seconds=seconds_of(found.mime, data))


def type_of(data: bytes) -> FileType:
    """What the bytes are. Raises `UnusableFile` for what is not sent."""
    said = str(magic.from_buffer(data[:LOOKED_AT], mime=True)).lower()
    if data.startswith(b"PK\x03\x04") or said in ("application/cdfv2", "application/x-ole-storage"):
        said = _WRAPPINGS.get(said, said)
        for part, inside in _PARTS.get(said, ()):
            if part in data:
                said = inside.mime
                break
    found = TYPES.get(said)
    if found is None:
        raise UnusableFile(f"This is {_UNWELCOME.get(said) or f'{said}, which is not sent. {ACCEPTED}'}")
    if said == "audio/ogg" and b"OpusHead" not in data[:LOOKED_AT]:
        raise UnusableFile("This Ogg file is not Opus, which is the only Ogg that WhatsApp plays. Save it as MP3.")
    if b"vbaProject.bin" in data and found in (DOCX, XLSX, PPTX):
        raise UnusableFile("This document contains macros, and programs are not sent. Save it without them, or as PDF.")
    return found


def safe_name(name: str, type: FileType) -> str:
    """The name for other people's phones: nothing invisible, no path, and an ending that tells the truth."""
    shown = "".join(letter for letter in name.replace("\\", "/").rpartition("/")[2] if letter.isprintable())
    path = PurePath(_UNSAFE_IN_NAMES.sub("-", shown).strip(" ."))
    stem, suffix = (path.stem, path.suffix) if path.suffix.lower() in type.suffixes else (path.name, type.suffixes[0])
    return (stem or type.kind.label)[: NAME_LENGTH - len(suffix)] + suffix


def renamed(media: Media, name: str) -> str:
    """The file's name as it may be from now on; what it is stays."""
    return safe_name(name, FileType(MediaKind(media.kind), media.mime, SUFFIXES[media.mime]))


def in_mib(size: int) -> str:
    """For refusals: never rounded down to what would be allowed."""
    return f"{-(-size * 10 // MIB) / 10:g}"


# --- pictures -------------------------------------------------------------------------------------------------------

# Unpacking the largest picture takes 160 MB for a moment: one at a time in each process.
_unpacking = threading.Lock()
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, OverflowError, struct.error)
_TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def redrawn(data: bytes, found: FileType, name: str) -> CheckedFile:
    """The picture drawn anew: nothing of the upload but its pixels gets out. Raises `UnusableFile`.

    Turned as its camera said, at most `LONGEST_SIDE` pixels long. WebP becomes JPEG or, where it is see-through, PNG:
    WhatsApp shows WebP as stickers only.
    """
    try:
        with _unpacking, Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise UnusableFile(_pixels_refused(picture.width, picture.height))
            # Some cameras put further pictures behind the first in a JPEG; those do not move.
            if found.mime != "image/jpeg" and getattr(picture, "is_animated", False):
                raise UnusableFile("This picture moves, and would arrive as a still. Save it as an MP4 video.")
            picture.draft(None, (LONGEST_SIDE, LONGEST_SIDE))  # a JPEG can be unpacked smaller at once
            ImageOps.exif_transpose(picture, in_place=True)
            picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
            pixels = _plain(picture)
            type, drawn = _drawn(pixels, found)
            small = _small(pixels)
    except _TOO_LARGE:
        raise UnusableFile(
            f"This picture has too many pixels; at most {MOST_PIXELS // 10**6} million are taken."
        ) from None
    except _BROKEN:
        raise UnusableFile("This picture is damaged: it cannot be opened.") from None
    return CheckedFile(type, safe_name(name, type), drawn, pixels.width, pixels.height, small)


def _pixels_refused(width: int, height: int) -> str:
    return f"This picture has {width:,} by {height:,} pixels; at most {MOST_PIXELS // 10**6} million are taken."


def _plain(picture: Image.Image) -> Image.Image:
    """Its pixels in the colours of the web, with no word about where and by what it was taken."""
    seen_through = picture.has_transparency_data
    profile = picture.info.get("icc_profile")
    plain = picture.convert("RGBA" if seen_through else "RGB")
    if profile and picture.mode in ("RGB", "RGBA"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            ImageCms.profileToProfile(plain, source, ImageCms.createProfile("sRGB"), inPlace=True)
        except (ImageCms.PyCMSError, OSError):
            pass  # its colours are a little off, which is no reason to refuse it
    plain.info.clear()
    return plain


def thumbnail_of(data: bytes) -> bytes:
    """A small JPEG of a picture that was drawn here. Raises OSError where it cannot be opened."""
    with _unpacking, Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as picture:
        picture.draft(None, (THUMBNAIL, THUMBNAIL))
        return _small(_plain(picture))


def _small(pixels: Image.Image) -> bytes:
    scale = min(1.0, THUMBNAIL / max(pixels.size))
    size = max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale))
    small = pixels.resize(size, reducing_gap=2.0)
    if small.mode == "RGBA":
        small = Image.alpha_composite(Image.new("RGBA", size, "white"), small).convert("RGB")
    drawn = io.BytesIO()
    small.save(drawn, "JPEG", quality=80)
    return drawn.getvalue()


def _drawn(pixels: Image.Image, found: FileType) -> tuple[FileType, bytes]:
    """As PNG what came as PNG or is see-through, while that is small enough; else as JPEG, on white."""
    if found.mime == "image/png" or pixels.mode == "RGBA":
        drawn = io.BytesIO()
        pixels.save(drawn, "PNG")
        if drawn.tell() <= MOST_BYTES[MediaKind.IMAGE]:
            return TYPES["image/png"], drawn.getvalue()
    if pixels.mode == "RGBA":
        white = Image.new("RGBA", pixels.size, "white")
        pixels = Image.alpha_composite(white, pixels).convert("RGB")
    for quality in (90, 80, 65):
        drawn = io.BytesIO()
        pixels.save(drawn, "JPEG", quality=quality)
        if drawn.tell() <= MOST_BYTES[MediaKind.IMAGE]:
            return TYPES["image/jpeg"], drawn.getvalue()
    raise UnusableFile("This picture stays larger than 5 MB. Save it smaller.")
