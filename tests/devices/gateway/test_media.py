"""Files on their way into a message: looked at by content, held to WhatsApp's sizes, previewed where it is possible."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import pytest
from PIL import Image

from devices.gateway import media
from devices.gateway.contract import MEDIA_LIMITS, Media
from devices.gateway.media import PREVIEW_PIXELS, Unsendable, prepare


def picture(path: Path, size: tuple[int, int] = (1000, 500), format: str = "png") -> str:
    Image.new("RGB", size, "teal").save(path, format)
    return str(path)


def test_an_image_gets_its_type_by_content_and_a_small_preview(tmp_path: Path) -> None:
    prepared = prepare(Media("image", picture(tmp_path / "called.pdf"), "application/pdf"))
    assert prepared.mime == "image/png"
    assert prepared.data == (tmp_path / "called.pdf").read_bytes()
    with Image.open(io.BytesIO(prepared.preview)) as preview:
        assert (preview.format, preview.size) == ("JPEG", (PREVIEW_PIXELS, PREVIEW_PIXELS // 2))


def test_a_broken_image_goes_without_a_preview(tmp_path: Path) -> None:
    whole = Path(picture(tmp_path / "whole"))
    (tmp_path / "half").write_bytes(whole.read_bytes()[:60])
    assert prepare(Media("image", str(tmp_path / "half"), "")).preview == b""


def test_a_huge_picture_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MOST_PIXELS", 100)
    assert prepare(Media("image", picture(tmp_path / "p"), "")).preview == b""


def test_a_document_may_be_anything_and_keeps_the_type_it_is_said_to_have(tmp_path: Path) -> None:
    (tmp_path / "d").write_bytes(b"%PDF-1.7 and so on")
    assert prepare(Media("document", str(tmp_path / "d"), "")).mime == "application/pdf"
    assert prepare(Media("document", str(tmp_path / "d"), "text/csv")).mime == "text/csv"


def test_audio_tells_its_length_where_ffprobe_is(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))
    prepared = prepare(Media("audio", str(tmp_path / "a"), ""))
    assert prepared.mime == "audio/x-wav"
    assert prepared.seconds == (2 if media._has_ffmpeg() else 0)


@pytest.mark.parametrize("kind", ["video", "audio", "image"])
def test_a_file_that_is_something_else_is_not_sent(tmp_path: Path, kind: str) -> None:
    (tmp_path / "f").write_text("just words")
    with pytest.raises(Unsendable, match=f"no {kind} that WhatsApp shows, but text/plain"):
        prepare(Media(kind, str(tmp_path / "f"), ""))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", MEDIA_LIMITS)
def test_a_file_may_be_as_large_as_its_kind_and_no_larger(tmp_path: Path, kind: str) -> None:
    with (tmp_path / "f").open("wb") as file:
        file.truncate(MEDIA_LIMITS[kind] + 1)
    with pytest.raises(Unsendable, match=f"larger than {MEDIA_LIMITS[kind] // 2**20} MB"):
        prepare(Media(kind, str(tmp_path / "f"), ""))  # type: ignore[arg-type]


def test_a_missing_or_empty_file_is_not_sent(tmp_path: Path) -> None:
    with pytest.raises(Unsendable, match="cannot be read: No such file"):
        prepare(Media("image", str(tmp_path / "nothing"), ""))
    (tmp_path / "empty").touch()
    with pytest.raises(Unsendable, match="but application/x-empty"):
        prepare(Media("document", str(tmp_path / "empty"), ""))
