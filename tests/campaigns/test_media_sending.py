"""Messages with files through real gateways: what arrives, what waits for its file, and what is kept on the disk."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from accounts.models import Workspace
from campaigns import media_files, sender
from campaigns.actions.campaigns import pause_campaign
from campaigns.actions.planning import plan_whole
from campaigns.media_files import FileGone, MediaFiles
from campaigns.models import Campaign, CampaignState, Media, Message
from devices.hosting.leases import Lease
from monitoring.invariants import audit, is_clean
from tests.campaigns.engine_room import engine_room, owned_device
from tests.devices.gateway.world import SimulatedWorld
from tests.factories import make_campaign, make_contact, make_media, make_workspace

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,
    pytest.mark.usefixtures("look_from_the_loop"),
]


@pytest.fixture(scope="module")
def world() -> Iterator[SimulatedWorld]:
    world = SimulatedWorld()
    world.start_network()
    yield world
    world.close()


@pytest.fixture(autouse=True)
def sessions_dir(settings: Any, tmp_path: Path) -> Path:
    """A disk of its own for each test's host."""
    settings.SESSIONS_DIR = tmp_path
    return tmp_path


def running_campaign(lease: Lease, workspace: Workspace, people: int = 3, **fields: Any) -> Campaign:
    device = owned_device(workspace, lease)
    for _ in range(people):
        make_contact(workspace, name="Ana")
    campaign = make_campaign(workspace, devices=(device,), state=CampaignState.RUNNING, **fields)
    Campaign.objects.filter(pk=campaign.pk).update(launched_at=timezone.now())
    plan_whole(campaign.pk)
    return campaign


def messages(campaign: Campaign) -> list[Message]:
    return list(Message.objects.filter(campaign=campaign).order_by("pk"))


def states(campaign: Campaign) -> set[str]:
    return {message.state for message in messages(campaign)}


def all_left(campaign: Campaign) -> bool:
    return states(campaign) <= {"sent", "delivered", "read"}


def arrived(world: SimulatedWorld, campaign: Campaign) -> list[dict[str, str]]:
    tags = {bytes(message.tag or b"").hex() for message in messages(campaign)}
    return [file for file in world.control.state()["files"] if file["tag"] in tags]


async def test_a_campaign_with_a_picture_arrives_with_kind_and_caption(
    world: SimulatedWorld, lease: Lease, sessions_dir: Path
) -> None:
    workspace = make_workspace()
    picture, menu = make_media(workspace), make_media(workspace, b"%PDF-1.7\nmenu", "menu.pdf")
    with_picture = running_campaign(lease, workspace, text="Hello {{ name }}", media=picture)
    with_menu = running_campaign(lease, make_workspace(), text="No file")
    captionless = running_campaign(lease, workspace, people=1, text="", media=menu)
    async with engine_room(world, lease) as room:
        for campaign in (with_picture, with_menu, captionless):
            await room.until(lambda campaign=campaign: all_left(campaign), "everything is sent")  # type: ignore[misc]
    assert len(arrived(world, with_picture)) == 3
    for file in arrived(world, with_picture):
        assert (file["kind"], file["mime"], file["caption"]) == ("image", "image/jpeg", "Hello Ana")
        assert file["sha256"] == picture.sha256
    assert arrived(world, with_menu) == []
    assert {(file["kind"], file["name"], file["caption"]) for file in arrived(world, captionless)} == {
        ("document", "menu.pdf", "")
    }
    assert {message.text for message in messages(with_picture)} == {"Hello Ana"}
    assert {message.text for message in messages(captionless)} == {""}
    kept = sessions_dir / "media"
    assert kept.stat().st_mode & 0o777 == 0o700
    assert {file.name for file in kept.iterdir()} == {picture.sha256, menu.sha256}
    assert {file.stat().st_mode & 0o777 for file in kept.iterdir()} == {0o600}
    assert is_clean(audit()), audit()


async def test_a_file_that_takes_long_costs_no_try_and_nothing_leaves_without_it(
    world: SimulatedWorld, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace()
    campaign = running_campaign(lease, workspace, people=2, media=make_media(workspace))
    plain = running_campaign(lease, make_workspace(), people=20)
    fetch = media_files.fetch_file

    def slow(*asked: Any) -> Any:
        time.sleep(2)
        return fetch(*asked)

    monkeypatch.setattr(media_files, "fetch_file", slow)
    monkeypatch.setattr(sender, "FILE_WITHIN_S", 0.2)
    async with engine_room(world, lease) as room:
        await room.until(lambda: "waiting" in states(campaign), "the message waits")
        await room.until(lambda: all_left(plain), "texts are not held up")
        assert arrived(world, campaign) == []
        waiting = next(message for message in messages(campaign) if message.state == "waiting")
        assert (waiting.reason, waiting.tries) == ("its file is being fetched", 0)
        await room.until(lambda: all_left(campaign), "everything is sent")
    assert len(arrived(world, campaign)) == 2
    assert is_clean(audit()), audit()


async def test_p9_a_campaign_paused_while_its_file_is_fetched_sends_nothing(
    world: SimulatedWorld, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace()
    campaign = running_campaign(lease, workspace, people=2, media=make_media(workspace))
    fetch = media_files.fetch_file
    fetched: list[bool] = []

    def slow(*asked: Any) -> Any:
        time.sleep(2.5)
        found = fetch(*asked)
        fetched.append(True)
        return found

    monkeypatch.setattr(media_files, "fetch_file", slow)
    async with engine_room(world, lease) as room:
        await room.until(lambda: "sending" in states(campaign), "one is claimed")
        assert pause_campaign(campaign, workspace.owner)
        await room.until(lambda: bool(fetched), "the file is here")
        await room.until(lambda: states(campaign) == {"pending", "waiting"}, "nothing is under way")
    assert arrived(world, campaign) == []


async def test_an_outage_while_a_file_is_fetched_costs_no_try(
    world: SimulatedWorld, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace()
    campaign = running_campaign(lease, workspace, people=1, media=make_media(workspace))
    fetch, broken = media_files.fetch_file, [True]

    def broken_at_first(*asked: Any) -> Any:
        if broken:
            broken.pop()
            raise OperationalError("the database system is shutting down")
        return fetch(*asked)

    monkeypatch.setattr(media_files, "fetch_file", broken_at_first)
    async with engine_room(world, lease) as room:
        await room.until(lambda: all_left(campaign), "it is sent all the same")
    [message] = messages(campaign)
    assert (message.tries, message.attempts) == (0, 2)


async def test_a_message_whose_file_is_gone_is_dead_and_says_so(world: SimulatedWorld, lease: Lease) -> None:
    workspace = make_workspace()
    media = make_media(workspace)
    campaign = running_campaign(lease, workspace, people=1, media=media)
    Media.objects.filter(pk=media.pk).update(data=b"cut off")  # the row itself is held by its key
    async with engine_room(world, lease) as room:
        await room.until(lambda: states(campaign) == {"dead"}, "it is dead")
    [message] = messages(campaign)
    assert message.reason == "template: Its file is gone."
    assert arrived(world, campaign) == []


# --- the folder -----------------------------------------------------------------------------------------------------


def clip(workspace: Workspace, number: int) -> Media:
    return make_media(workspace, b"%PDF-1.7\n" + bytes([number]) * 300_000, f"{number}.pdf")


async def test_the_longest_unused_goes_first_and_what_is_in_use_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    workspace = make_workspace()
    first, second, third, fourth = (clip(workspace, number) for number in range(4))
    files = MediaFiles(tmp_path / "media", 700_000)

    def kept() -> set[str]:
        return {file.name for file in (tmp_path / "media").iterdir()}

    for media in (first, second, third):
        await files.bring(media.pk)
    assert kept() == {first.sha256, second.sha256, third.sha256}  # all are in use
    monkeypatch.setattr(media_files, "IN_USE_S", 0.0)
    assert files.at_hand(first.pk)
    await files.bring(fourth.pk)
    assert kept() == {first.sha256, fourth.sha256}
    assert files.bytes == sum(file.stat().st_size for file in (tmp_path / "media").iterdir())
    assert files.at_hand(second.pk) is None
    files.close()


async def test_a_restart_finds_its_files_and_two_workspaces_share_one(tmp_path: Path, db: None) -> None:
    ours, theirs = clip(make_workspace(), 1), clip(make_workspace(), 1)
    files = MediaFiles(tmp_path / "media", 10_000_000)
    await files.bring(ours.pk)
    files.close()
    (tmp_path / "media" / "half-written").write_bytes(b"x")
    [kept] = [file for file in (tmp_path / "media").iterdir() if file.name == ours.sha256]
    before = kept.stat()
    again = MediaFiles(tmp_path / "media", 10_000_000)
    assert again.at_hand(theirs.pk) is None
    await again.bring(theirs.pk)
    word = again.at_hand(theirs.pk)
    assert word is not None
    assert (word.path, word.name, word.kind) == (str(kept), "1.pdf", "document")
    assert (kept.stat().st_mtime_ns, kept.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert [file.name for file in (tmp_path / "media").iterdir()] == [ours.sha256]
    assert again.bytes == ours.size
    kept.unlink()  # somebody cleans up
    assert again.at_hand(theirs.pk) is None
    await again.bring(theirs.pk)
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == ours.sha256
    with pytest.raises(FileGone):
        await again.bring(theirs.pk + 1_000)
    again.close()


async def test_a_new_name_of_a_file_is_heard_of_without_a_wait(
    tmp_path: Path, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = make_media(make_workspace(), b"%PDF-1.7\nmenu", "menu.pdf")
    files = MediaFiles(tmp_path / "media", 10_000_000)
    await files.bring(media.pk)
    Media.objects.filter(pk=media.pk).update(name="prices.pdf")
    known = files.at_hand(media.pk)
    monkeypatch.setattr(media_files, "FRESH_S", 0.0)
    assert known == files.at_hand(media.pk)
    await files.bring(media.pk)
    heard = files.at_hand(media.pk)
    assert known is not None
    assert heard is not None
    assert (known.name, heard.name) == ("menu.pdf", "prices.pdf")
    files.close()
