"""Files for messages: what is taken, what is refused and in which words, and who may see one."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from PIL import Image

from accounts.models import User, Workspace
from campaigns import media as media_rules
from campaigns.media import CheckedFile, UnusableFile, check_file
from campaigns.media_store import PIECE, drop, forget_unused, pieces
from campaigns.models import Campaign, Media
from campaigns.steps import MESSAGE
from campaigns.views.files import pieces_of
from tests.campaigns.campaign_cases import at, planned_campaign, words
from tests.campaigns.form_cases import filled, step_url, write
from tests.factories import make_campaign, make_contact, make_media, make_picture, make_workspace

pytestmark = pytest.mark.django_db

MP4 = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41" + b"\0" * 100
MP3 = b"ID3\x04\0\0\0\0\0\0" + b"\xff\xfb\x90\x64" + b"\0" * 400
OPUS = b"OggS\0\x02" + b"\0" * 20 + b"\x01\x13OpusHead\x01\x01" + b"\0" * 60
VORBIS = b"OggS\0\x02" + b"\0" * 20 + b"\x01\x1e\x01vorbis" + b"\0" * 60
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj <<>> endobj\n%%EOF"
EXE = b"MZ\x90\0" + b"\0" * 56 + struct.pack("<I", 64) + b"PE\0\0\x4c\x01" + b"\0" * 300
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def office(*parts: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for part in ("[Content_Types].xml", *parts):
            file.writestr(part, "<x/>" * 50)
    return packed.getvalue()


def vast_png(width: int, height: int) -> bytes:
    """A few bytes that claim to unpack to that many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 9999)) + chunk(b"IEND", b"")
    )


def checked(data: bytes, name: str = "file") -> CheckedFile:
    return check_file(io.BytesIO(data), name, len(data))


@pytest.mark.parametrize(
    ("data", "name", "kind", "mime", "kept_as"),
    [
        (make_picture(), "Photo.JPEG", "image", "image/jpeg", "Photo.JPEG"),
        (make_picture(format="PNG"), "logo.exe", "image", "image/png", "logo.exe.png"),
        (make_picture(format="WEBP"), "web.webp", "image", "image/jpeg", "web.webp.jpg"),
        (MP4, "clip.mp4", "video", "video/mp4", "clip.mp4"),
        (MP3, "song.mp3", "audio", "audio/mpeg", "song.mp3"),
        (OPUS, "voice", "audio", "audio/ogg", "voice.ogg"),
        (PDF, "../../menu.pdf", "document", "application/pdf", "menu.pdf"),
        (PDF, "menu\u202efdp.exe", "document", "application/pdf", "menufdp.exe.pdf"),
        (PDF, "", "document", "application/pdf", "Document.pdf"),
        (b"Price list\nRice 3.50\n", "prices.csv", "document", "text/plain", "prices.csv"),
        (b"name,phone\nAna,1\nBen,2\n", "prices.csv", "document", "text/csv", "prices.csv"),
        (office("word/document.xml"), "letter.docx", "document", media_rules.DOCX.mime, "letter.docx"),
        (office("a.txt", "xl/workbook.xml"), "sheet", "document", media_rules.XLSX.mime, "sheet.xlsx"),
        (office("photos/1.txt"), "all.zip", "document", "application/zip", "all.zip"),
    ],
)
def test_a_file_is_what_its_content_says(data: bytes, name: str, kind: str, mime: str, kept_as: str) -> None:
    file = checked(data, name)
    assert (file.type.kind, file.type.mime, file.name) == (kind, mime, kept_as)


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        (b"", "empty.jpg", "This file is empty."),
        (EXE, "invoice.pdf", "a Windows program, and programs are not sent."),
        (SVG, "logo.png", "an SVG drawing. Save it as PNG."),
        (b"<!DOCTYPE html><html><body>x</body></html>", "page.jpg", "a web page. Save it as PDF."),
        (b"#!/bin/sh\nrm -rf /\n", "notes.txt", "which is not sent. Images: JPEG, PNG or WebP."),
        (VORBIS, "song.ogg", "This Ogg file is not Opus"),
        (office("word/document.xml", "word/vbaProject.bin"), "x.docx", "This document contains macros"),
        (vast_png(50_000, 50_000), "x.png", "too many pixels"),
        (vast_png(8_000, 8_000), "x.png", "8,000 by 8,000 pixels; at most 40 million"),
        (make_picture((400, 300))[:1_500], "x.jpg", "This picture is damaged"),
        (vast_png(3_000, 3_000), "x.png", "This picture is damaged"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0" + b"<script>" * 90, "x.jpg", "This picture is damaged"),
        (MP4 + b"\0" * (16 << 20), "x.mp4", "This file has 16.1 MB; at most 16 can be sent."),
    ],
)
def test_what_is_not_sent_is_refused_in_plain_words(data: bytes, name: str, said: str) -> None:
    with pytest.raises(UnusableFile) as refused:
        checked(data, name)
    assert said in str(refused.value)


def test_a_moving_picture_is_refused() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    moving = io.BytesIO()
    frames[0].save(moving, "PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(UnusableFile, match="would arrive as a still"):
        checked(moving.getvalue())


def test_a_picture_keeps_nothing_but_its_pixels() -> None:
    """A photo with a place, a comment and a script behind its end, taken with the camera on its side."""
    picture = Image.new("RGB", (60, 40), "teal")
    exif = picture.getexif()
    exif[0x0112] = 6  # turn it to the right
    exif[0x010E] = "taken at home"
    taken = io.BytesIO()
    picture.save(taken, "JPEG", exif=exif, comment=b"a secret")
    file = checked(taken.getvalue() + b"PK\x03\x04<script>alert(1)</script>")
    assert (file.width, file.height) == (40, 60)
    for gone in (b"home", b"secret", b"script", b"Exif"):
        assert gone not in file.data
    assert Image.open(io.BytesIO(file.data)).size == (40, 60)


def test_a_large_photo_gets_smaller_and_a_see_through_one_stays_so() -> None:
    large = checked(make_picture((9_000, 3_000)))
    assert (large.width, large.height) == (4_096, 1_365)
    clear = io.BytesIO()
    Image.new("RGBA", (30, 30), (0, 0, 0, 0)).save(clear, "WEBP")
    file = checked(clear.getvalue())
    assert file.type.mime == "image/png"
    assert Image.open(io.BytesIO(file.data)).getpixel((0, 0)) == (0, 0, 0, 0)


def test_a_zip_bomb_is_only_bytes() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file, file.open("word/document.xml", "w") as part:
        for _ in range(200):
            part.write(bytes(1 << 20))
    assert checked(packed.getvalue(), "bomb.docx").data == packed.getvalue()


def test_without_libmagic_an_upload_says_what_is_missing(
    workspace: Workspace, as_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_rules, "magic", None)
    answer = as_alice.post(reverse("campaigns:file_upload"), {"file": upload()})
    assert answer.status_code == 422
    assert "libmagic is missing" in words(answer)
    assert write(as_alice, workspace).content.media is None


# --- kept, once, within the quota, and not for ever -----------------------------------------------------------------


def upload(data: bytes | None = None, name: str = "photo.jpg") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, make_picture() if data is None else data, content_type="text/html")


def test_the_same_file_twice_is_one_row_and_each_workspace_has_its_own(workspace: Workspace) -> None:
    other = make_workspace()
    first, again, theirs = (make_media(owner, PDF, "menu.pdf") for owner in (workspace, workspace, other))
    renamed = make_media(workspace, PDF, "prices.pdf")
    assert first == again
    assert len({first.pk, theirs.pk, renamed.pk}) == 3
    assert first.sha256 == theirs.sha256 == hashlib.sha256(PDF).hexdigest()


def test_the_bytes_never_come_along_and_come_back_in_pieces(workspace: Workspace) -> None:
    data = MP4 + bytes(range(256)) * 12_000
    media = make_media(workspace, data, "clip.mp4")
    campaign = make_campaign(workspace, media=media)
    found = Campaign.objects.get(pk=campaign.pk).content.media
    assert found == media
    assert found.get_deferred_fields() == {"data", "thumbnail"}
    assert [len(piece) for piece in pieces(media.pk)] == [PIECE, PIECE, len(data) - 2 * PIECE]
    assert b"".join(pieces(media.pk)) == data


def test_a_full_workspace_is_told_so_and_may_still_use_what_it_has(workspace: Workspace, settings: Any) -> None:
    settings.MEDIA_QUOTA_BYTES = 1 << 20
    clip = MP4 + bytes(700_000)
    kept = make_media(workspace, clip, "clip.mp4")
    with pytest.raises(UnusableFile, match=r"files take 0 of 1 MB: there is no room"):
        make_media(workspace, clip + b"!", "other.mp4")
    assert make_media(workspace, clip, "clip.mp4") == kept
    assert make_media(make_workspace(), clip + b"!", "other.mp4").name == "other.mp4"


def test_what_no_message_uses_is_forgotten_after_a_day(workspace: Workspace) -> None:
    used, unused, fresh = (make_media(workspace) for _ in range(3))
    make_campaign(workspace, media=used)
    old = timezone.now() - timedelta(hours=25)
    Media.objects.filter(pk__in=[used.pk, unused.pk]).update(chosen_at=old)
    assert forget_unused() == 1
    assert set(Media.objects.all()) == {used, fresh}


def test_choosing_a_file_keeps_it_from_being_forgotten(workspace: Workspace, as_alice: Client) -> None:
    media = make_media(workspace)
    Media.objects.update(chosen_at=timezone.now() - timedelta(hours=25))
    as_alice.post(step_url(make_campaign(workspace), MESSAGE), filled(MESSAGE, media_uuid=media.uuid, share="101"))
    assert forget_unused() == 0


# --- in the form ----------------------------------------------------------------------------------------------------


def test_a_campaign_is_written_with_a_picture(workspace: Workspace, as_alice: Client) -> None:
    make_contact(workspace)
    campaign = write(as_alice, workspace, file=upload())
    media = campaign.content.media
    assert media is not None
    assert (media.kind, media.name, media.mime, media.width) == ("image", "photo.jpg", "image/jpeg", 60)
    address = reverse("campaigns:file", args=[media.uuid])
    assert address in as_alice.get(at("campaign", campaign)).content.decode()
    assert "photo.jpg" in words(as_alice.get(step_url(campaign, MESSAGE)))


def test_an_upload_outlives_every_other_mistake_in_the_form(workspace: Workspace, as_alice: Client) -> None:
    campaign = make_campaign(workspace)
    page = as_alice.post(step_url(campaign, MESSAGE), filled(MESSAGE, text="Hi {{", file=upload()))
    media = Media.objects.get()
    assert page.status_code == 422
    assert f'name="media_uuid" value="{media.uuid}"' in page.content.decode()
    assert Campaign.objects.get().content.media == media


def test_a_refused_file_says_why_beside_the_field_and_the_one_before_stays(
    workspace: Workspace, as_alice: Client
) -> None:
    before = make_media(workspace)
    campaign = make_campaign(workspace, media=before)
    data = filled(MESSAGE, media_uuid=before.uuid, file=upload(EXE, "cv.pdf"))
    page = as_alice.post(step_url(campaign, MESSAGE), data).content.decode()
    beside = page[page.index('name="file"') :][:2000]
    assert "This is a Windows program" in beside
    assert "Hi {{ name }}" in page
    assert f'name="media_uuid" value="{before.uuid}"' in page
    assert Campaign.objects.get().content.media == before
    alone = as_alice.post(
        reverse("campaigns:file_upload"), {"media_uuid": before.uuid, "file": upload(b"", "none.jpg")}
    )
    assert (alone.status_code, "This file is empty." in words(alone)) == (422, True)
    assert str(before.uuid) in alone.content.decode()


@pytest.mark.parametrize("choice", ["hers", "nobody's", "no uuid"])
def test_a_file_that_is_not_this_workspaces_is_gone_for_it(
    workspace: Workspace, charlie: User, as_charlie: Client, choice: str
) -> None:
    hers = make_media(workspace)
    theirs = charlie.owned_workspace
    campaign = make_campaign(theirs)
    uuid = {"hers": hers.uuid, "nobody's": "00000000-0000-4000-8000-000000000000", "no uuid": "../1"}[choice]
    answer = as_charlie.post(step_url(campaign, MESSAGE), filled(MESSAGE, text="", media_uuid=uuid))
    assert answer.status_code == 422
    assert ("is gone. Choose it again." in words(answer)) == (choice != "no uuid")
    assert hers.name not in words(answer)
    preview = as_charlie.post(reverse("campaigns:preview"), {"text": "Hi", "audience": "everyone", "media_uuid": uuid})
    assert preview.status_code == 200
    assert "<img" not in preview.content.decode()
    assert Campaign.objects.get().content.media is None


def test_a_text_or_a_file_is_needed_and_audio_goes_alone(workspace: Workspace, as_alice: Client) -> None:
    campaign = make_campaign(workspace)

    def said(**fields: Any) -> str:
        answer = as_alice.post(step_url(campaign, MESSAGE), filled(MESSAGE, **fields))
        return "" if answer.status_code == 302 else words(answer)

    assert "Write what the message says, or choose a file." in said(text=" ")
    assert said(text=" ", file=upload()) == ""
    assert said(text="", file=upload(MP3, "song.mp3")) == ""
    assert "WhatsApp shows no text with audio." in said(text="Listen", file=upload(MP3, "song.mp3"))
    assert "beside a file at most 1,024 are sent" in said(text="x" * 1_025, file=upload())
    assert said(text="x" * 1_025) == ""


def test_the_file_of_a_running_campaign_can_be_changed_and_taken_away(workspace: Workspace, as_alice: Client) -> None:
    campaign = planned_campaign(workspace, media=make_media(workspace, name="old.jpg"))
    safe = {"failover": "wait", "uncertain_policy": "hold", "expire_after_h": ""}
    as_alice.post(at("text", campaign), {"text": "Hello", "file": upload(PDF, "new.pdf"), **safe})
    campaign.refresh_from_db()
    assert campaign.content.media is not None
    assert campaign.content.media.name == "new.pdf"
    assert "new.pdf" in words(as_alice.get(at("campaign", campaign)))
    as_alice.post(at("text", campaign), {"text": "Hello", **safe})
    campaign.refresh_from_db()
    assert campaign.content.media is None


def test_the_file_stands_in_preview_list_and_history(workspace: Workspace, as_alice: Client) -> None:
    media = make_media(workspace, PDF, "menu.pdf")
    campaign = planned_campaign(workspace, people=1, devices=1, media=media)
    asked = {"text": "", "audience": "everyone", "media_uuid": media.uuid}
    assert "menu.pdf" in words(as_alice.post(reverse("campaigns:preview"), asked))
    assert "menu.pdf" in words(as_alice.get(at("recipients", campaign)))
    contact = campaign.messages.get().contact
    assert contact is not None
    assert "menu.pdf" in words(as_alice.get(reverse("campaigns:contact", args=[contact.uuid])))


# --- shown to members only ------------------------------------------------------------------------------------------


def test_a_file_is_sent_a_piece_at_a_time(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("campaigns.media_store.PIECE", 15)
    media = make_media(workspace, PDF, "menu.pdf")
    found = list(pieces_of(workspace, media))
    assert b"".join(found) == PDF
    assert [len(piece) for piece in found] == [15, 15, 10]
    drop([media.pk])
    assert list(pieces_of(workspace, media)) == []


def test_a_picture_is_shown_in_place_and_everything_else_is_an_attachment(
    workspace: Workspace, as_alice: Client, as_bob: Client, as_charlie: Client
) -> None:
    picture, menu = make_media(workspace), make_media(workspace, PDF, "menü.pdf")
    for media, manner in ((picture, "inline"), (menu, "attachment")):
        address = reverse("campaigns:file", args=[media.uuid])
        answer = as_bob.get(address)
        assert hashlib.sha256(b"".join(answer.streaming_content)).hexdigest() == media.sha256  # type: ignore[attr-defined]
        assert answer.headers["Content-Type"] == media.mime
        assert answer.headers["Content-Length"] == str(media.size)
        assert answer.headers["Content-Disposition"].startswith(manner)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "private, no-cache"
        again = as_alice.get(address, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert as_charlie.get(address, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 404


def test_only_who_manages_uploads(workspace: Workspace, as_bob: Client) -> None:
    assert as_bob.post(reverse("campaigns:file_upload"), {"file": upload()}).status_code == 403
    assert not Media.objects.exists()


def test_an_upload_alone_answers_with_the_field_and_taking_it_away_with_an_empty_one(
    workspace: Workspace, as_alice: Client
) -> None:
    answer = as_alice.post(reverse("campaigns:file_upload"), {"file": upload()})
    media = Media.objects.get()
    assert f'name="media_uuid" value="{media.uuid}"' in answer.content.decode()
    assert "file-chosen" in answer.headers["HX-Trigger-After-Settle"]
    assert 'name="media_uuid"' not in as_alice.post(reverse("campaigns:file_upload")).content.decode()
