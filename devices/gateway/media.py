"""A file on its way into a message: its size, what it really is, and a preview where this machine can make one."""

from __future__ import annotations

import io
import logging
import shutil
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from devices.gateway.contract import MEDIA_LIMITS, Media
from devices.libmagic import magic

PREVIEW_PIXELS = 200
MOST_PIXELS = 50_000_000  # a larger picture gets no preview: unpacking it would cost more than it is worth
PROBE_S = 20
_TYPES = {
    "image": ("image/jpeg", "image/png", "image/webp"),
    "video": ("video/",),
    "audio": ("audio/", "application/ogg"),
    "document": ("",),
}

log = logging.getLogger("gateway")


if magic is None:  # the library imports it, too, and would not start without: then it gets an empty one
    sys.modules["magic"] = types.ModuleType("magic")


class Unsendable(Exception):
    """This file cannot be sent as it is; the text says why."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """`preview` is a small JPEG, empty where there is none; `seconds` is 0 where it is not known."""

    data: bytes
    mime: str
    preview: bytes = b""
    seconds: int = 0


def say_what_is_missing() -> None:
    if magic is None:
        log.warning("libmagic is missing: images, video, audio and documents are not sent, texts are")
    if not _has_ffmpeg():
        log.warning("ffmpeg or ffprobe is missing: video is sent without preview, video and audio without length")


def prepare(media: Media) -> Prepared:
    """Read the file and look at it. Raises Unsendable."""
    if magic is None:
        raise Unsendable("this machine cannot tell what a file is: libmagic is missing")
    path, limit = Path(media.path), MEDIA_LIMITS[media.kind]
    try:
        if path.stat().st_size > limit:
            raise Unsendable(f"the {media.kind} is larger than {limit // 2**20} MB")
        data = path.read_bytes()
    except OSError as error:
        raise Unsendable(f"the file cannot be read: {error.strerror}") from error
    found = magic.from_buffer(data[:65536], mime=True)
    if not data or not found.startswith(_TYPES[media.kind]):
        raise Unsendable(f"the file is no {media.kind} that WhatsApp shows, but {found}")
    match media.kind:
        case "image":
            return Prepared(data, found, _preview_of_image(data))
        case "video":
            return Prepared(data, found, _preview_of_video(path), _seconds(path))
        case "audio":
            return Prepared(data, found, seconds=_seconds(path))
        case "document":
            return Prepared(data, media.mime or found)


def _preview_of_image(data: bytes) -> bytes:
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MOST_PIXELS:
                return b""
            image.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
            preview = io.BytesIO()
            image.convert("RGB").save(preview, "jpeg")
            return preview.getvalue()
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        log.info("no preview of an image: %s", type(error).__name__)
        return b""


def _preview_of_video(path: Path) -> bytes:
    scale = f"scale={PREVIEW_PIXELS}:-2"
    return _run("ffmpeg", "-v", "error", "-i", f"file:{path}", "-vf", scale, "-frames:v", "1", "-f", "mjpeg", "-")


def _seconds(path: Path) -> int:
    said = _run("ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", f"file:{path}")
    try:
        return int(float(said))
    except ValueError:
        return 0


def _run(program: str, *arguments: str) -> bytes:
    """What the program prints, nothing when it is missing or fails: a message is sent without a preview, too."""
    if not _has_ffmpeg():
        return b""
    try:
        done = subprocess.run(
            [program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.info("%s failed: %s", program, type(error).__name__)
        return b""
    return done.stdout


def _has_ffmpeg() -> bool:
    return bool(shutil.which("ffmpeg") and shutil.which("ffprobe"))
