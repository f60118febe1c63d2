"""What is true of the WhatsApp gateway alone: its library, its session files and the words of the real network."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import subprocess
import sys
import time
from glob import glob
from pathlib import Path

import pytest

from devices.gateway.client import Gateway
from devices.gateway.contract import (
    CheckNumbers,
    Close,
    Incoming,
    Media,
    NotSent,
    Numbers,
    Offline,
    Online,
    Open,
    Pair,
    PairFailed,
    Qr,
    Replaced,
    Sent,
    Snapshot,
    SnapshotTaken,
    Stats,
    StatsReport,
    Unlinked,
)
from devices.gateway.whatsapp_server import why_not_linked
from tests.devices.gateway.whatsapp_world import GATEWAY, WhatsAppWorld
from tests.devices.gateway.world import Engine, World, wait_until
from tests.whatsapp_loopback.controls import PIXEL

pytestmark = pytest.mark.neonize

PICTURE = base64.b64decode(PIXEL)
FRIEND = "+60133333333"


@pytest.fixture(scope="module")
def kind_of_world() -> type[World]:
    return WhatsAppWorld


def files_of(path: str) -> list[str]:
    """The session file and everything that lies beside it."""
    return sorted(name for pattern in ("", "-*", ".*") for name in glob(f"{path}{pattern}"))


# ------------------------------------------------------------------------------------------------- the process


async def test_a_connected_device_costs_one_thread_and_files_for_its_owner_alone(
    world: WhatsAppWorld, engine: Engine
) -> None:
    _, path = await world.online(engine, 1)
    engine.post(Stats(1))
    one = await engine.see(StatsReport, request=1)
    for device in range(2, 8):
        await world.online(engine, device)
    engine.post(Stats(2))
    seven = await engine.see(StatsReport, request=2)
    # beside the seven: the loop, Python's reader of prints, Go's own and some that made calls
    assert seven.threads - one.threads <= 6 + 4
    assert seven.cycles == 0
    files = files_of(path)
    assert [file.removeprefix(path) for file in files] == ["", "-shm", "-wal", ".lock"]
    assert {Path(file).stat().st_mode & 0o777 for file in files} == {0o600}


async def test_nothing_of_people_is_in_what_the_gateway_writes(
    world: WhatsAppWorld, capfd: pytest.CaptureFixture[str]
) -> None:
    world.linked()  # what the linking itself writes is not ours to look at
    capfd.readouterr()
    engine = await world._start()
    world._engines.append(engine)
    engine.post(Pair(1, 1, world.session_path()))
    code = (await engine.see(Qr)).payload
    phone = world.scan(code)
    await engine.see(Online)
    world.unregister("+60199999999")
    for send in (engine.sending(text="Dear Ann"), engine.sending(to="+60199999999", text="Dear Bob")):
        engine.post(send)
        await engine.outcome(send.message)
    world.write(phone, FRIEND, "Dear you")
    await engine.see(Incoming)
    await engine.gateway.stop()
    written = capfd.readouterr()
    lines = [json.loads(line) for line in written.err.splitlines()]
    assert {line["process"] for line in lines} == {"gateway"}
    for secret in (phone[1:], "60111111111", "60199999999", FRIEND[1:], "Dear", code.partition("#")[2][:20]):
        assert secret not in written.err
    assert written.out == ""


async def test_an_engine_that_hangs_up_is_left_at_once_with_many_devices_and_a_send_on_the_wire(
    world: WhatsAppWorld, engine: Engine
) -> None:
    for device in range(1, 11):
        await world.online(engine, device)
    world.delay_acks(60)
    engine.post(*[engine.sending(device) for device in range(1, 11)])
    before = time.monotonic()
    await engine.gateway.stop(timeout=2)
    assert time.monotonic() - before < 2
    assert engine.exits == 1


async def test_a_machine_without_libmagic_and_ffmpeg_sends_texts_and_says_what_is_missing(
    world: WhatsAppWorld, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    world.linked()
    for module in ("magic", "pylibmagic"):
        (tmp_path / f"{module}.py").write_text("raise ImportError('hidden for this test')")
    (tmp_path / "empty").mkdir()
    usual = world.gateway_environment()
    hiding = f"{tmp_path}{os.pathsep}{usual['PYTHONPATH']}"
    environment = {**usual, "PYTHONPATH": hiding, "PATH": str(tmp_path / "empty")}
    capfd.readouterr()
    engine = Engine()
    engine.gateway = await Gateway.start(GATEWAY, on_events=engine.hear, on_exit=engine.exited, env=environment)
    world._engines.append(engine)
    await world.online(engine)
    text, image = engine.sending(), engine.sending(text="")
    (tmp_path / "i").write_bytes(PICTURE)
    image.media = Media("image", str(tmp_path / "i"), "image/png")
    engine.post(text, image)
    assert isinstance(await engine.outcome(text.message), Sent)
    outcome = await engine.outcome(image.message)
    assert isinstance(outcome, NotSent)
    assert outcome.why == "this machine cannot tell what a file is: libmagic is missing"
    await engine.gateway.stop()
    said = capfd.readouterr().err
    assert "libmagic is missing: images, video, audio and documents are not sent, texts are" in said
    assert "ffmpeg or ffprobe is missing: video is sent without preview, video and audio without length" in said


# --------------------------------------------------------------------------------------------- states of a device


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        (401, "removed on the phone"),
        (403, "WhatsApp has locked the account"),
        (406, "WhatsApp has banned the account"),
    ],
)
async def test_a_session_that_whatsapp_ends_is_gone_with_its_file_and_its_reason(
    world: WhatsAppWorld, engine: Engine, reason: int, why: str
) -> None:
    phone, path = world.linked()
    world.fail_logins(phone, reason)
    engine.post(Open(1, 1, path, phone))
    assert (await engine.see(Unlinked)).why == why
    assert files_of(path) == []


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        (409, "WhatsApp refuses the login: bad_user_agent"),
        (418, "connection cut"),  # a reason that the library cannot pass on
    ],
)
async def test_a_login_that_fails_for_now_is_tried_again(
    world: WhatsAppWorld, engine: Engine, reason: int, why: str
) -> None:
    phone, path = world.linked()
    world.fail_logins(phone, reason)
    engine.post(Open(1, 1, path, phone))
    assert (await engine.see(Offline)).why == why
    world.clear()
    await engine.see(Online)
    assert len(engine.seen(Offline)) == 1
    engine.post(Stats(1))
    assert (await engine.see(StatsReport)).cycles >= 1


async def test_a_refused_connection_is_told_and_tried_again(world: WhatsAppWorld, engine: Engine) -> None:
    phone, path = world.linked()
    world.control.refuse(status=429)
    try:
        engine.post(Open(1, 1, path, phone), Pair(2, 1, world.session_path()))
        assert (await engine.see(Offline)).why == "WhatsApp refuses the connection"
        assert (await engine.see(PairFailed)).why == "refused"
    finally:
        world.control.refuse(status=None)
    await engine.see(Online, device=1)


async def test_a_replaced_session_comes_back_only_when_it_is_opened_again(world: WhatsAppWorld, engine: Engine) -> None:
    phone, path = await world.online(engine)
    engine.post(Open(2, 1, world.twin(phone, path), phone))
    await engine.see(Replaced, device=1)
    engine.post(Close(2))
    await asyncio.to_thread(wait_until, lambda: phone not in world.logged_in(), "nobody is logged in")
    engine.post(Open(1, 2, path, phone))
    await engine.see(Online, device=1, times=2)


# --------------------------------------------------------------------------------------------------- pairing


@pytest.mark.parametrize("spoil", ["signature", "hmac"])
async def test_a_phone_whose_word_does_not_verify_is_refused(world: WhatsAppWorld, engine: Engine, spoil: str) -> None:
    path = world.session_path()
    engine.post(Pair(1, 1, path))
    world.control.scan(qr=(await engine.see(Qr)).payload, phone="60123456789", spoil=spoil)
    assert (await engine.see(PairFailed)).why == "refused"
    assert files_of(path) == []


async def test_a_pairing_without_codes_left_has_expired(world: WhatsAppWorld, engine: Engine) -> None:
    world.control.qr_codes(count=0)
    try:
        engine.post(Pair(1, 1, world.session_path()))
        assert (await engine.see(PairFailed)).why == "expired"
    finally:
        world.control.qr_codes(count=6)


async def test_a_pairing_that_is_cut_off_did_not_expire(world: WhatsAppWorld, engine: Engine) -> None:
    engine.post(Pair(1, 1, world.session_path()))
    await engine.see(Qr)
    world.control.drop(unpaired=True)
    assert (await engine.see(PairFailed)).why == "network is away"


async def test_a_stopping_gateway_cancels_its_pairing(world: WhatsAppWorld, engine: Engine) -> None:
    engine.post(Pair(1, 1, world.session_path()))
    await engine.see(Qr)
    os.kill(engine.gateway.pid, 15)
    assert (await engine.see(PairFailed)).why == "cancelled"
    await engine.until(lambda: engine.exits == 1, "exit")


@pytest.mark.parametrize(
    ("status", "left_s", "why"),
    [
        ("timeout", 0.0, "expired"),
        ("timeout", 42.0, "network is away"),
        ("err-client-outdated", 42.0, "outdated"),
        ("err-scanned-without-multidevice", 42.0, "refused"),
        ("error", 42.0, "refused"),
    ],
)
def test_the_librarys_word_for_a_failed_pairing_becomes_ours(status: str, left_s: float, why: str) -> None:
    assert why_not_linked(status, left_s) == why


# ---------------------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("image", PICTURE),
        ("document", b"%PDF-1.7 a document"),
        ("video", b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"),
    ],
    ids=["image", "document", "video"],
)
async def test_a_file_arrives_whole_with_its_caption_and_tag(
    world: WhatsAppWorld, engine: Engine, tmp_path: Path, kind: str, content: bytes
) -> None:
    (tmp_path / "file").write_bytes(content)
    await world.online(engine)
    send = engine.sending(text="Look at this")
    send.media = Media(kind, str(tmp_path / "file"), "", "file.bin")  # type: ignore[arg-type]
    engine.post(send)
    outcome = await engine.outcome(send.message)
    assert isinstance(outcome, Sent)
    seen = next(message for message in world.control.messages() if message["id"] == outcome.id)
    assert (seen["kind"], seen["text"], seen["secret"]) == (kind, "Look at this", send.tag.hex())
    assert seen[f"{kind}_sha256"] == hashlib.sha256(content).hexdigest()
    assert "bot" not in seen["extra"]


async def test_audio_is_sent_without_a_text_and_never_with_one(
    world: WhatsAppWorld, engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "sound").write_bytes(b"#!AMR\n" + bytes(60))
    await world.online(engine)
    silent, captioned = engine.sending(text=""), engine.sending(text="Listen")
    silent.media = captioned.media = Media("audio", str(tmp_path / "sound"), "audio/amr")
    engine.post(silent, captioned)
    assert isinstance(await engine.outcome(silent.message), Sent)
    outcome = await engine.outcome(captioned.message)
    assert isinstance(outcome, NotSent)
    assert outcome.why == "WhatsApp has no texts beside audio"
    assert outcome.wire_at is None


async def test_what_people_send_comes_in_with_its_kind_and_caption(world: WhatsAppWorld, engine: Engine) -> None:
    phone, _ = await world.online(engine)
    for kind in ("image", "video", "audio", "document"):
        caption = "" if kind == "audio" else f"my {kind}"
        world.control.media(phone=phone[1:], sender=FRIEND[1:], kind=kind, caption=caption)
        incoming = await engine.see(Incoming, kind=kind)
        assert (incoming.text, incoming.sender) == (caption, FRIEND)
        assert time.time() - 10 < incoming.at <= time.time()


async def test_devices_of_this_installation_may_write_to_each_other(world: WhatsAppWorld, engine: Engine) -> None:
    (alice, _), (bob, _) = await world.online(engine, 1), await world.online(engine, 2)
    send = engine.sending(1, to=bob, text="Hello Bob")
    engine.post(send)
    await engine.outcome(send.message)
    incoming = await engine.see(Incoming)
    assert (incoming.device, incoming.sender, incoming.text) == (2, alice, "Hello Bob")
    await asyncio.sleep(0.2)
    assert len(engine.seen(Incoming)) == 1  # Alice's own copy is no message from a person


async def test_a_session_with_fresh_keys_is_understood_by_those_it_wrote_to_before(
    world: WhatsAppWorld, engine: Engine
) -> None:
    phone, _ = await world.online(engine)
    before = engine.sending(to=FRIEND)
    engine.post(before, Snapshot(1, 1))
    copy = (await engine.see(SnapshotTaken)).path
    await engine.outcome(before.message)
    engine.post(Close(1), Open(2, 1, copy, phone, True))
    await engine.see(Online, device=2)
    after = engine.sending(2, to=FRIEND)
    engine.post(after)
    assert isinstance(await engine.outcome(after.message), Sent)
    assert {before.tag.hex(), after.tag.hex()} <= set(world.ledger_tags())


async def test_many_numbers_are_asked_about_in_a_few_calls(world: WhatsAppWorld, engine: Engine) -> None:
    await world.online(engine)
    world.unregister("+60199999999")
    numbers = [f"+6014{number:07}" for number in range(120)]
    engine.post(CheckNumbers(1, 1, [*numbers, "+60199999999", "0123", ""]))
    found = (await engine.see(Numbers)).found
    assert found == dict.fromkeys(numbers, True) | {"+60199999999": False, "0123": False, "": False}


def test_nothing_of_django_is_loaded_by_the_gateway() -> None:
    program = (
        "import sys; from devices.gateway import whatsapp; whatsapp.prepare_surroundings(); "
        "from devices.gateway import whatsapp_server; import os; "
        "sys.exit(any(m.split('.')[0] in ('django', 'psycopg') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0
