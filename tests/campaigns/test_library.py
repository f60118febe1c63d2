"""The media library: what stays, what goes, what frees room, and that nothing hostile gets in or out."""

from __future__ import annotations

import io
import random
import struct
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from PIL import Image

from accounts.models import AuditEntry, Role, User, Workspace
from campaigns.actions.direct import send_test
from campaigns.actions.drafts import what_is_missing
from campaigns.actions.media import Needed, choose_media, delete_media, make_room, rename_media, set_kept
from campaigns.library import files_of, page_of, room_of, uses_of
from campaigns.media import UnusableFile
from campaigns.media_length import seconds_of
from campaigns.media_store import forget_unused, take
from campaigns.models import Campaign, CampaignState, Content, Media, Message, Stream, Variant
from tests.campaigns.campaign_cases import at, planned_campaign, words
from tests.factories import (
    make_campaign,
    make_contact,
    make_device,
    make_media,
    make_member,
    make_picture,
    make_template,
    make_workspace,
)

pytestmark = pytest.mark.django_db

PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj <<>> endobj\n%%EOF"
EXE = b"MZ\x90\0" + b"\0" * 56 + struct.pack("<I", 64) + b"PE\0\0\x4c\x01" + b"\0" * 300
HOSTILE = '<script>alert(1)</script>" onload=x .pdf'


def over(workspace: Workspace, media: Media, state: str = CampaignState.COMPLETED, **fields: Any) -> Campaign:
    return make_campaign(workspace, media=media, state=state, **fields)


def long_ago() -> None:
    Media.objects.update(chosen_at=timezone.now() - timedelta(days=2))


def upload(data: bytes, name: str) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data)


# --- what stays and what goes ---------------------------------------------------------------------------------------


def test_what_is_kept_stays_though_nothing_uses_it(workspace: Workspace, alice: User) -> None:
    kept, other = make_media(workspace), make_media(workspace)
    assert set_kept(kept, alice, True)
    assert not set_kept(kept, alice, True)
    long_ago()
    assert forget_unused() == 1
    assert set_kept(kept, alice, False)
    assert forget_unused() == 0  # it has a day
    long_ago()
    assert forget_unused() == 1
    assert not set_kept(other, alice, True)


@pytest.mark.parametrize("state", ["draft", "scheduled", "running", "paused"])
def test_what_a_campaign_needs_is_not_deleted_and_it_says_which(workspace: Workspace, alice: User, state: str) -> None:
    media = make_media(workspace)
    over(workspace, media, state, name="Spring")
    with pytest.raises(Needed, match="used by the campaign “Spring”"):
        delete_media(media, alice)
    assert take(media.pk)


def test_variants_templates_doubts_and_messages_on_their_way_need_their_files(
    workspace: Workspace, alice: User
) -> None:
    media = make_media(workspace)
    template = make_template(workspace, media=media)
    campaign = make_campaign(workspace, name="Test")
    content = Content.objects.create(workspace=workspace, media=media)
    Variant.objects.create(workspace=workspace, campaign=campaign, number=1, content=content, share=100)
    device = make_device(workspace)
    doubtful = over(workspace, media, name="Doubtful")
    Stream.objects.create(workspace=workspace, device=device, campaign=doubtful, lane=1, uncertain=1)
    message = send_test(device, "+60123456789", "Hi", alice)
    Content.objects.filter(pk=message.content_id).update(media=media)
    with pytest.raises(Needed) as needed:
        delete_media(media, alice)
    assert str(needed.value) == (
        "It is used by the campaign “Doubtful”, the campaign “Test”, a message on its way and the template "
        f"“{template.name}”."
    )


def test_a_file_of_old_messages_leaves_its_row_and_any_other_goes_whole(workspace: Workspace, alice: User) -> None:
    old, unused = make_media(workspace, PDF, "menu.pdf"), make_media(workspace)
    campaign = over(workspace, old)
    assert delete_media(old, alice)
    assert not delete_media(old, alice)
    assert delete_media(unused, alice)
    old.refresh_from_db()
    assert old.dropped_at is not None
    assert take(old.pk) == b""
    assert list(Media.objects.all()) == [old]
    assert choose_media(workspace, old.uuid) is None
    copy = make_campaign(workspace, media=old)
    assert "The file “menu.pdf” is gone: it was deleted. Choose another one." in what_is_missing(copy)
    assert campaign.content.media == old


def test_the_same_file_again_gives_an_old_row_its_bytes_back(workspace: Workspace, alice: User) -> None:
    media = make_media(workspace, PDF, "menu.pdf")
    over(workspace, media)
    delete_media(media, alice)
    assert make_media(workspace, PDF, "menu.pdf") == media
    assert take(media.pk) == PDF
    assert Media.objects.get().dropped_at is None


def test_room_is_made_of_what_only_campaigns_that_are_over_have(workspace: Workspace, alice: User) -> None:
    spent, kept, running, unused, shared, fresh = (make_media(workspace) for _ in range(6))
    theirs = make_media(make_workspace())
    for media in (spent, kept, shared, theirs):
        over(media.workspace, media, CampaignState.CANCELLED)
    over(workspace, running, CampaignState.RUNNING)
    make_template(workspace, media=shared)
    set_kept(kept, alice, True)
    long_ago()
    over(workspace, fresh)
    choose_media(workspace, fresh.uuid)
    room = room_of(workspace)
    assert (room.spent, room.spent_files) == (spent.size, 1)
    assert room.used == sum(media.size for media in (spent, kept, running, unused, shared, fresh))
    assert make_room(workspace, alice) == (1, spent.size)
    assert make_room(workspace, alice) == (0, 0)
    assert room_of(workspace).used == room.used - spent.size
    assert set(Media.objects.filter(dropped_at=None)) == {kept, running, unused, shared, fresh, theirs}
    assert AuditEntry.objects.filter(action="media.room_made").count() == 1


def test_room_that_was_made_can_be_filled(workspace: Workspace, alice: User, settings: Any) -> None:
    settings.MEDIA_QUOTA_BYTES = 1 << 20
    media = make_media(workspace, PDF + bytes(900_000), "a.pdf")
    over(workspace, media)
    with pytest.raises(UnusableFile, match="Delete files you don't need under Content"):
        make_media(workspace, PDF + bytes(900_001), "b.pdf")
    long_ago()
    make_room(workspace, alice)
    make_media(workspace, PDF + bytes(900_001), "b.pdf")


def test_a_new_name_keeps_its_ending_and_is_no_other_files(workspace: Workspace, alice: User) -> None:
    media = make_media(workspace, PDF, "menu.pdf")
    make_media(workspace, PDF, "other.pdf")
    assert rename_media(media, alice, "../Prices 2026.exe")
    assert media.name == "Prices 2026.exe.pdf"
    assert not rename_media(media, alice, "Prices 2026.exe.pdf")
    with pytest.raises(UnusableFile, match="is here as “other"):
        rename_media(media, alice, "other")


def test_uses_are_counted_once_a_campaign(workspace: Workspace) -> None:
    media, other = make_media(workspace), make_media(workspace)
    campaign = over(workspace, media)
    Variant.objects.create(workspace=workspace, campaign=campaign, number=1, content=campaign.content, share=100)
    over(workspace, media, CampaignState.DRAFT)
    make_template(workspace, media=media)
    assert uses_of(workspace, [media, other]) == {media.pk: (2, 1)}


# --- pages ----------------------------------------------------------------------------------------------------------


def test_many_files_are_uploaded_and_each_bad_one_is_named_with_the_reason(
    workspace: Workspace, as_alice: Client
) -> None:
    bad = [upload(EXE, "cv.pdf"), upload(b"<svg onload=alert(1)>", "a.svg"), upload(b"", "none.pdf")]
    good = [upload(make_picture(), "terrace.jpg"), upload(PDF, HOSTILE)]
    answer = as_alice.post(reverse("campaigns:media_upload"), {"files": bad + good}, follow=True)
    page = answer.content.decode()
    assert "cv.pdf: This is a Windows program" in page
    assert "none.pdf: This file is empty." in page
    assert "2 files are in the library." in page
    assert "<script>alert" not in page
    assert {media.kept_at is not None for media in Media.objects.all()} == {True}
    assert Media.objects.count() == 2
    as_alice.post(reverse("campaigns:media_upload"))
    too_many = [upload(PDF + bytes([number]), f"{number}.pdf") for number in range(22)]
    answer = as_alice.post(reverse("campaigns:media_upload"), {"files": too_many}, follow=True)
    assert "Only the first 20 files were taken." in words(answer)


def test_the_grid_is_searched_by_name_and_kind(workspace: Workspace, as_bob: Client) -> None:
    make_media(workspace, make_picture(), "terrace.jpg")
    make_media(workspace, PDF, "menu.pdf")
    make_media(make_workspace(), PDF, "theirs.pdf")

    def shown(**query: str) -> str:
        return words(as_bob.get(reverse("campaigns:media"), query))

    assert "terrace.jpg" in shown()
    assert "theirs.pdf" not in shown()
    assert "terrace.jpg" not in shown(kind="document")
    assert "menu.pdf" in shown(q="MENU")
    assert "Nothing like that" in shown(q="%")
    assert "Nothing like that" in shown(q="menu", kind="image")
    assert "menu.pdf" in shown(kind="'; DROP TABLE", before="x")
    assert "Delete" not in shown()
    assert "At most 16 MB" not in shown()


def test_hundreds_of_files_come_in_pages_with_few_queries(
    workspace: Workspace, as_alice: Client, django_assert_max_num_queries: Any
) -> None:
    Media.objects.bulk_create(
        Media(
            workspace=workspace, kind="document", mime="application/pdf", name=f"{number:04}.pdf", size=1, data=b"x",
            sha256=f"{number:064}", kept_at=timezone.now(),
        )
        for number in range(600)
    )  # fmt: skip
    with django_assert_max_num_queries(14):
        page = as_alice.get(reverse("campaigns:media"))
    assert "0599.pdf" in words(page)
    seen, before = 0, ""
    while before is not None:
        rows, before = page_of(files_of(workspace), str(before))  # type: ignore[assignment]
        seen += len(rows)
    assert seen == 600
    following = page.context["following"]
    assert "0575.pdf" in words(as_alice.get(reverse("campaigns:media"), {"before": following}))
    assert as_alice.get(reverse("campaigns:media_picker"), {"q": "59"}).status_code == 200


def test_a_card_is_kept_renamed_and_deleted_on_the_page(workspace: Workspace, as_alice: Client) -> None:
    media = make_media(workspace, PDF, "menu.pdf")

    def post(page: str, **fields: str) -> Any:
        return as_alice.post(reverse(f"campaigns:{page}", args=[media.uuid]), fields)

    assert "Kept" in words(post("media_keep", kept="1"))
    assert "Kept" not in words(post("media_keep", kept="0"))
    assert "prices.pdf" in words(post("media_rename", name="prices"))
    assert post("media_rename", name=" ").status_code == 422
    campaign = make_campaign(workspace, media=media, name="<b>Spring</b>")
    refused = as_alice.get(post("media_delete").headers["Location"]).content.decode()
    assert "prices.pdf was not deleted. It is used by the campaign “&lt;b&gt;Spring&lt;/b&gt;”." in refused
    Campaign.objects.filter(pk=campaign.pk).update(state=CampaignState.COMPLETED)
    assert "which frees" in words(as_alice.get(post("media_delete").headers["Location"]))
    assert post("media_keep", kept="1").status_code == 404


def test_pages_say_that_a_file_is_gone(workspace: Workspace, as_alice: Client, alice: User) -> None:
    media = make_media(workspace, make_picture(), "terrace.jpg")
    campaign = planned_campaign(workspace, people=1, media=media)
    message = Message.objects.get()
    Message.objects.update(state="sent", text="Hi")
    Campaign.objects.filter(pk=campaign.pk).update(state=CampaignState.COMPLETED)
    address = reverse("campaigns:file", args=[media.uuid])
    delete_media(media, alice)
    assert message.contact is not None
    pages = at("campaign", campaign), at("recipients", campaign)
    for page in pages:
        shown = as_alice.get(page).content.decode()
        assert address not in shown
    assert "The file is gone" in words(as_alice.get(at("campaign", campaign)))
    assert as_alice.get(address).status_code == 404
    assert as_alice.get(reverse("campaigns:media_thumbnail", args=[media.uuid])).status_code == 404


def test_thumbnails_are_small_and_for_members_only(workspace: Workspace, as_bob: Client, as_charlie: Client) -> None:
    picture = make_media(workspace, make_picture((1600, 800)), "wide.jpg")
    address = reverse("campaigns:media_thumbnail", args=[picture.uuid])
    for forgotten in (False, True):
        if forgotten:
            Media.objects.update(thumbnail=None)
        answer = as_bob.get(address)
        assert Image.open(io.BytesIO(answer.content)).size == (320, 160)
    assert answer.headers["Cache-Control"].startswith("private")
    assert as_bob.get(address, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    assert as_charlie.get(address).status_code == 404
    menu = make_media(workspace, PDF, "menu.pdf")
    assert as_bob.get(reverse("campaigns:media_thumbnail", args=[menu.uuid])).status_code == 404


def test_a_file_is_picked_for_a_message_and_no_foreign_one(
    workspace: Workspace, as_alice: Client, as_bob: Client, as_charlie: Client
) -> None:
    media = make_media(workspace, PDF, HOSTILE)
    picker = as_alice.get(reverse("campaigns:media_picker"))
    assert str(media.uuid) in picker.content.decode()
    assert "<script>alert" not in picker.content.decode()
    field = as_alice.post(reverse("campaigns:file_upload"), {"media_uuid": media.uuid}).content.decode()
    assert f'name="media_uuid" value="{media.uuid}"' in field
    assert as_bob.get(reverse("campaigns:media_picker")).status_code == 403
    theirs = make_workspace()
    make_member(theirs, Role.MANAGER)
    make_contact(theirs)
    assert str(media.uuid) not in as_charlie.get(reverse("campaigns:media_picker")).content.decode()


# --- how long files play --------------------------------------------------------------------------------------------


def mp4(units: int, rate: int, version: int = 0) -> bytes:
    head = struct.pack(">B3xQQIQ", 1, 0, 0, rate, units) if version else struct.pack(">4xIIII", 0, 0, rate, units)
    mvhd = struct.pack(">I4s", len(head) + 8, b"mvhd") + head
    return b"\0\0\0\x10ftypisom\0\0\0\0" + struct.pack(">I4s", len(mvhd) + 8, b"moov") + mvhd


def mp3(kbits: int, seconds: int) -> bytes:
    index = {128: 9, 64: 5}[kbits]
    return b"ID3\x04\0\0\0\0\0\x03abc" + (b"\xff\xfb" + bytes([index << 4]) + b"\0" + bytes(kbits * 125 * seconds - 4))


@pytest.mark.parametrize(
    ("mime", "data", "seconds"),
    [
        ("video/mp4", mp4(65_000, 1_000), 65),
        ("audio/mp4", mp4(90_000 * 7, 90_000, version=1), 7),
        ("video/mp4", mp4(1, 0), None),
        ("video/mp4", mp4(2**32 - 1, 1), None),
        ("video/3gpp", b"\0\0\0\x10ftyp3gp4", None),
        ("audio/ogg", b"OggS\0\x02" + bytes(20) + b"OggS\0\x04" + struct.pack("<q", 48_000 * 9) + bytes(12), 9),
        ("audio/mpeg", mp3(128, 12), 12),
        ("audio/mpeg", b"ID3\x04\0\0\x7f\x7f\x7f\x7f", None),
        ("application/pdf", PDF, None),
    ],
)
def test_a_length_is_read_from_the_header(mime: str, data: bytes, seconds: int | None) -> None:
    assert seconds_of(mime, data) == seconds


def test_no_bytes_make_the_reading_of_lengths_fail() -> None:
    chance = random.Random(5)
    whole = [mp4(65_000, 1_000), mp3(128, 1), b"OggS" + bytes(30), b"\xff" * 3_000, b"\0\0\0\x01moov" + b"\xff" * 8]
    for _ in range(400):
        data = bytearray(chance.choice(whole)[: chance.randrange(1, 3_000)])
        for _ in range(4):
            data[chance.randrange(len(data))] = chance.randrange(256)
        for mime in ("video/mp4", "audio/mpeg", "audio/ogg"):
            found = seconds_of(mime, bytes(data))
            assert found is None or 1 <= found <= 86_400
