"""What every gateway promises its engine: one suite, every implementation of the contract passes it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from devices.gateway.contract import (
    Banned,
    CheckNumbers,
    Close,
    Code,
    Evidence,
    Found,
    Incoming,
    NotSent,
    Numbers,
    Offline,
    Online,
    Open,
    Outdated,
    Pair,
    Paired,
    PairFailed,
    Qr,
    Receipt,
    Refused,
    Replaced,
    Sent,
    Snapshot,
    SnapshotTaken,
    Stats,
    StatsReport,
    Unknown,
    Unlink,
    Unlinked,
    Wire,
)
from tests.devices.gateway.whatsapp_world import WhatsAppWorld
from tests.devices.gateway.world import CodeRefused, Engine, SimulatedWorld, World, new_phone, wait_until


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(SimulatedWorld, id="simulator"),
        pytest.param(WhatsAppWorld, id="whatsapp", marks=pytest.mark.neonize),
    ],
)
def kind_of_world(request: pytest.FixtureRequest) -> type[World]:
    kind: type[World] = request.param
    return kind


# ------------------------------------------------------------------------------------------ opening and pairing


async def test_an_opened_device_comes_online(world: World, engine: Engine) -> None:
    phone, path = await world.online(engine)
    assert not engine.seen(Offline)
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert phone in world.logged_in()


async def test_a_session_is_reopened_by_its_file_alone(world: World, engine: Engine) -> None:
    phone, path = await world.online(engine)
    engine.post(Close(1), Open(7, 2, path))
    await engine.see(Online, device=7)
    assert phone in world.logged_in()


async def test_a_device_without_a_session_is_unlinked(world: World, engine: Engine) -> None:
    path = world.session_path()
    engine.post(Open(1, 1, path))
    assert (await engine.see(Unlinked)).why == "no session"
    assert not Path(path).exists()


async def test_a_scanned_code_pairs_a_device_that_then_sends(world: World, engine: Engine) -> None:
    path = world.session_path()
    engine.post(Pair(1, 1, path))
    code = await engine.see(Qr)
    assert code.payload.startswith("https://wa.me/settings/linked_devices#2@")
    assert code.expires_s == world.CODES_S[0]
    phone = world.scan(code.payload)
    assert (await engine.see(Paired)).phone == phone
    await engine.see(Online)
    send = engine.sending()
    engine.post(send)
    assert isinstance(await engine.outcome(send.message), Sent)
    engine.post(Close(1), Open(1, 2, path))
    await engine.see(Online, times=2)
    assert phone.startswith("+601")


async def test_a_phone_number_given_for_pairing_brings_a_code_to_type(world: World, engine: Engine) -> None:
    phone = new_phone()
    engine.post(Pair(1, 1, world.session_path(), phone))
    code = (await engine.see(Code)).code
    assert len(code) == 9
    assert code[4] == "-"
    world.type_code(code, phone)
    assert (await engine.see(Paired)).phone == phone


async def test_codes_renew_themselves_until_the_pairing_expires(world: World, engine: Engine) -> None:
    if not world.CODES_EXPIRE:
        pytest.skip("the library gives its codes 60 s, then 20 s each: 160 s until the pairing expires")
    path = world.session_path()
    engine.post(Pair(1, 1, path))
    first = await engine.see(Qr)
    assert (await engine.see(PairFailed)).why == "expired"
    codes = engine.seen(Qr)
    assert len({code.payload for code in codes}) == len(codes) == 5
    first_s, next_s = world.CODES_S
    assert [code.expires_s for code in codes] == [first_s, *[next_s] * 4]
    with pytest.raises(CodeRefused):
        world.scan(first.payload)
    assert not Path(path).exists()


async def test_close_cancels_a_pairing(world: World, engine: Engine) -> None:
    engine.post(Pair(1, 1, world.session_path()))
    code = await engine.see(Qr)
    engine.post(Close(1), Stats(1))
    await engine.see(StatsReport, open=0)
    await asyncio.to_thread(wait_until, lambda: not world.pairings(), "the pairing ended")
    with pytest.raises(CodeRefused):
        world.scan(code.payload)
    assert not engine.seen(Paired)


# --------------------------------------------------------------------------------------------------- sending


async def test_a_send_goes_on_the_wire_then_is_sent_with_its_tag(world: World, engine: Engine) -> None:
    await world.online(engine)
    send, before = engine.sending(), time.time()
    engine.post(send)
    sent = await engine.outcome(send.message)
    wire = engine.seen(Wire)[0]
    assert isinstance(sent, Sent)
    assert (sent.device, sent.tag, sent.wire_at) == (1, send.tag, wire.at)
    assert engine.events.index(wire) < engine.events.index(sent)
    assert before <= wire.at <= sent.at <= time.time()
    assert sent.id
    assert sent.chat.partition("@")[0] != send.to.lstrip("+")
    assert send.tag.hex() in world.ledger_tags()


async def test_every_send_of_a_burst_has_exactly_one_outcome_in_order(world: World, engine: Engine) -> None:
    await world.online(engine)
    sends = [engine.sending() for _ in range(10)]
    engine.post(*sends)
    outcomes = [await engine.outcome(send.message) for send in sends]
    assert [type(outcome) for outcome in outcomes] == [Sent] * 10
    story = [(type(event), event.message) for event in engine.seen(Wire, Sent)]
    assert story == [(kind, send.message) for send in sends for kind in (Wire, Sent)]


async def test_devices_send_beside_each_other(world: World, engine: Engine) -> None:
    for device in (1, 2):
        await world.online(engine, device)
    world.delay_acks(1, to="+60133333333")
    slow, quick = engine.sending(1, to="+60133333333"), engine.sending(2)
    engine.post(slow, quick)
    assert isinstance(await engine.outcome(quick.message), Sent)
    assert not engine.seen(Sent, device=1)
    assert isinstance(await engine.outcome(slow.message), Sent)


async def test_a_number_that_is_not_on_whatsapp_is_not_sent(world: World, engine: Engine) -> None:
    await world.online(engine)
    world.unregister("+60199999999")
    send = engine.sending(to="+60199999999")
    engine.post(send)
    outcome = await engine.outcome(send.message)
    assert isinstance(outcome, NotSent)
    assert outcome.why.startswith("no LID found")
    assert outcome.tag == send.tag
    assert send.tag.hex() not in world.ledger_tags()


@pytest.mark.parametrize("code", [463, 429, 479])
async def test_an_error_of_the_server_is_refused_with_its_code(world: World, engine: Engine, code: int) -> None:
    await world.online(engine)
    world.refuse(code, times=1)
    refused, after = engine.sending(), engine.sending()
    engine.post(refused, after)
    outcome = await engine.outcome(refused.message)
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.why) == (code, f"server returned error {code}")
    assert isinstance(await engine.outcome(after.message), Sent)
    assert refused.tag.hex() not in world.ledger_tags()


async def test_a_lost_acknowledgement_is_unknown_and_the_next_send_goes_on(world: World) -> None:
    engine = await world.start_impatient_gateway()
    await world.online(engine)
    world.lose_acks(times=1)
    lost, after = engine.sending(), engine.sending()
    engine.post(lost, after)
    outcome = await engine.outcome(lost.message)
    assert isinstance(outcome, Unknown)
    assert outcome.why == "timed out waiting for message send response"
    assert outcome.wire_at == engine.seen(Wire, message=lost.message)[0].at
    assert isinstance(await engine.outcome(after.message), Sent)
    assert lost.tag.hex() in world.ledger_tags()


async def test_a_dead_session_is_unknown_and_nothing_was_sent(world: World) -> None:
    engine = await world.start_impatient_gateway()
    await world.online(engine)
    world.go_deaf()
    send = engine.sending()
    engine.post(send)
    assert isinstance(await engine.outcome(send.message), Unknown)
    assert send.tag.hex() not in world.ledger_tags()


async def test_a_late_answer_is_nobodys_outcome(world: World) -> None:
    """Not a second one of its own message, and not that of the message now on the wire."""
    engine = await world.start_impatient_gateway()
    await world.online(engine)
    world.delay_acks(1.5 * world.IMPATIENT_S, times=1)
    world.swallow()
    late, following = engine.sending(), engine.sending()
    engine.post(late, following)
    receipt = await engine.see(Receipt)  # leaves the network after the late acknowledgement
    engine.post(Evidence(1, 5, [late.tag]))
    assert receipt.ids == [(await engine.see(Found)).ids[late.tag.hex()]]
    for send in (late, following):
        assert isinstance(await engine.outcome(send.message), Unknown)
    assert not engine.seen(Offline)


async def test_a_device_that_is_not_open_sends_nothing(world: World, engine: Engine) -> None:
    send = engine.sending(device=99)
    engine.post(send)
    outcome = await engine.outcome(send.message)
    assert isinstance(outcome, NotSent)
    assert (outcome.why, outcome.wire_at) == ("not connected", None)


@pytest.mark.parametrize("epoch", [4, 6])
async def test_a_send_of_another_epoch_is_not_sent(world: World, engine: Engine, epoch: int) -> None:
    await world.online(engine, epoch=5)
    stale, current = engine.sending(epoch=epoch), engine.sending(epoch=5)
    engine.post(stale, current)
    outcome = await engine.outcome(stale.message)
    assert isinstance(outcome, NotSent)
    assert outcome.why == "stale epoch"
    assert isinstance(await engine.outcome(current.message), Sent)


async def test_a_newer_epoch_moves_an_open_device_and_an_older_one_does_not(world: World, engine: Engine) -> None:
    phone, path = await world.online(engine, epoch=5)
    engine.post(Open(1, 6, path, phone))
    await engine.see(Online, times=2)
    engine.post(Open(1, 4, path, phone))
    moved, old = engine.sending(epoch=6), engine.sending(epoch=5)
    engine.post(moved, old)
    assert isinstance(await engine.outcome(moved.message), Sent)
    assert isinstance(await engine.outcome(old.message), NotSent)


async def test_closing_ends_an_open_send_as_unknown_and_a_waiting_one_as_not_sent(world: World, engine: Engine) -> None:
    await world.online(engine)
    world.delay_acks(60)
    on_the_wire, waiting = engine.sending(), engine.sending()
    engine.post(on_the_wire, waiting)
    await engine.see(Wire)
    engine.post(Close(1))
    assert isinstance(await engine.outcome(on_the_wire.message), Unknown)
    assert isinstance(await engine.outcome(waiting.message), NotSent)


# ---------------------------------------------------------------------------------------- receipts and replies


async def test_receipts_follow_the_acknowledgement_and_name_its_id_and_chat(world: World, engine: Engine) -> None:
    await world.online(engine)
    sends = [engine.sending() for _ in range(5)]
    engine.post(*sends)
    await engine.see(Receipt, times=5, kind="read")
    for send in sends:
        sent = await engine.outcome(send.message)
        receipts = [event for event in engine.seen(Receipt) if event.ids == [sent.id]]
        assert [receipt.kind for receipt in receipts] == ["delivered", "read"]
        assert {receipt.chat for receipt in receipts} == {sent.chat}
        assert engine.events.index(sent) < engine.events.index(receipts[0])
        assert sent.at <= receipts[0].at <= receipts[1].at


async def test_a_persons_message_comes_in_with_chat_and_sender(world: World, engine: Engine) -> None:
    phone, _ = await world.online(engine)
    send = engine.sending(to="+60177777777")
    engine.post(send)
    sent = await engine.outcome(send.message)
    world.write(phone, "+60177777777", "STOP 🙏", quoted=sent.id)
    incoming = await engine.see(Incoming)
    assert (incoming.device, incoming.chat, incoming.sender) == (1, sent.chat, "+60177777777")
    assert (incoming.text, incoming.quoted) == ("STOP 🙏", sent.id)
    assert incoming.id


async def test_what_came_while_offline_is_delivered_when_it_is_opened_again(world: World, engine: Engine) -> None:
    phone, path = await world.online(engine)
    engine.post(Close(1))
    await asyncio.to_thread(wait_until, lambda: phone not in world.logged_in(), "logged out")
    world.write(phone, "+60177777777", "Are you there?")
    engine.post(Open(2, 2, path))
    incoming = await engine.see(Incoming)
    assert (incoming.device, incoming.text) == (2, "Are you there?")
    await engine.see(Online, device=2)  # before or after it


# ------------------------------------------------------------------------------------------ losing a session


async def test_a_newer_session_of_the_phone_replaces_the_older(world: World, engine: Engine) -> None:
    phone, path = await world.online(engine)
    engine.post(Open(2, 1, world.twin(phone, path), phone))
    await engine.see(Replaced, device=1)
    await engine.see(Online, device=2)
    old, new = engine.sending(1), engine.sending(2)
    engine.post(old, new)
    assert isinstance(await engine.outcome(old.message), NotSent)
    assert isinstance(await engine.outcome(new.message), Sent)
    assert len(engine.seen(Online, device=1)) == 1


async def test_a_ban_ends_the_open_send_and_tells_until_when(world: World, engine: Engine) -> None:
    phone, path = await world.online(engine)
    world.delay_acks(60)
    send = engine.sending()
    engine.post(send)
    await engine.see(Wire)
    await asyncio.to_thread(wait_until, lambda: send.tag.hex() in world.ledger_tags(), "the ledger has it")
    world.ban(phone, 3600)
    banned = await engine.see(Banned)
    assert 3500 < banned.until - time.time() <= 3600
    assert isinstance(await engine.outcome(send.message), Unknown)
    engine.post(Open(1, 2, path, phone))
    await engine.see(Banned, times=2)
    world.ban(phone, 0)
    engine.post(Open(1, 2, path, phone))
    await engine.see(Online, times=2)


async def test_a_device_removed_on_the_phone_loses_its_session_file(world: World, engine: Engine) -> None:
    phone, path = await world.online(engine)
    world.unlink(phone)
    assert (await engine.see(Unlinked)).why == "removed on the phone"
    assert not Path(path).exists()
    send = engine.sending()
    engine.post(send)
    assert isinstance(await engine.outcome(send.message), NotSent)


async def test_unlink_logs_out_and_deletes_the_session_file(world: World, engine: Engine) -> None:
    phone, path = await world.online(engine)
    engine.post(Unlink(1))
    await engine.see(Unlinked)
    assert not Path(path).exists()
    await asyncio.to_thread(wait_until, lambda: phone not in world.logged_in(), "logged out")


async def test_a_copy_of_a_removed_session_is_refused(world: World, engine: Engine) -> None:
    phone, _ = await world.online(engine)
    engine.post(Snapshot(1, 1))
    copy = Path((await engine.see(SnapshotTaken)).path)
    world.unlink(phone)
    await engine.see(Unlinked, device=1)
    engine.post(Open(2, 1, str(copy)))
    await engine.see(Unlinked, device=2)
    assert not copy.exists()


async def test_a_cut_connection_comes_back_by_itself(world: World, engine: Engine) -> None:
    phone, _ = await world.online(engine)
    world.cut(phone, 0.3)
    await engine.see(Offline)
    send = engine.sending()
    engine.post(send)
    assert isinstance(await engine.outcome(send.message), NotSent)
    await engine.see(Online, times=2)
    assert len(engine.seen(Offline)) == 1


async def test_a_client_too_old_is_told_so(world: World, engine: Engine) -> None:
    phone, path = world.linked()
    world.outdate()
    engine.post(Open(1, 1, path, phone))
    await engine.see(Outdated)
    assert not engine.seen(Online)


# ------------------------------------------------------------------------------------ questions and evidence


async def test_numbers_are_looked_up(world: World, engine: Engine) -> None:
    await world.online(engine)
    engine.post(CheckNumbers(1, 3, ["+60111111111", "not a number"]))
    assert (await engine.see(Numbers)).found == {"+60111111111": True, "not a number": False}
    engine.post(CheckNumbers(99, 4, ["+60111111111"]))
    assert (await engine.see(Numbers, request=4)).found == {}


async def test_a_snapshot_of_the_session_opens_as_the_session(world: World, engine: Engine) -> None:
    phone, _ = await world.online(engine)
    send = engine.sending()
    engine.post(send)
    sent = await engine.outcome(send.message)
    engine.post(Snapshot(1, 8), Snapshot(99, 9))
    copy = (await engine.see(SnapshotTaken, request=8)).path
    assert (await engine.see(SnapshotTaken, request=9)).path == ""
    assert Path(copy).stat().st_mode & 0o777 == 0o600
    engine.post(Close(1), Open(2, 2, copy, "", True), Evidence(2, 1, [send.tag]))
    await engine.see(Online, device=2)
    assert phone in world.logged_in()
    assert (await engine.see(Found)).ids == {send.tag.hex(): sent.id}


async def test_a_closing_session_leaves_a_copy_with_all_it_did_and_is_free_when_that_is_said(
    world: World, engine: Engine
) -> None:
    phone, path = await world.online(engine)
    send = engine.sending()
    engine.post(send)
    sent = await engine.outcome(send.message)
    engine.post(Close(1, 8), Close(99, 9))
    copy = (await engine.see(SnapshotTaken, request=8)).path
    assert (await engine.see(SnapshotTaken, request=9)).path == ""
    assert Path(copy).stat().st_mode & 0o777 == 0o600
    other = await world.start_gateway()
    other.post(Open(1, 2, path))
    await other.see(Online)
    other.post(Close(1), Open(1, 3, copy), Evidence(1, 1, [send.tag]))
    await other.see(Online, times=2)
    assert phone in world.logged_in()
    assert (await other.see(Found)).ids == {send.tag.hex(): sent.id}


async def test_evidence_of_a_killed_gateways_send_is_the_id_its_receipts_name(world: World) -> None:
    first = await world.start_gateway()
    _, path = await world.online(first)
    world.delay_acks(0.5, times=1)
    send, never = first.sending(), first.sending()
    first.post(send)
    await first.see(Wire)
    await asyncio.to_thread(wait_until, lambda: send.tag.hex() in world.ledger_tags(), "the ledger has it")
    os.kill(first.gateway.pid, signal.SIGKILL)
    await first.until(lambda: first.exits == 1, "exit")
    assert not first.seen(Sent)

    second = await world.start_gateway()
    second.post(Open(1, 2, path), Evidence(1, 1, [send.tag, never.tag]), Evidence(99, 2, [send.tag]))
    ids = (await second.see(Found, request=1)).ids
    assert ids[never.tag.hex()] is None
    assert (await second.see(Receipt)).ids == [ids[send.tag.hex()]]
    assert (await second.see(Found, request=2)).ids == {}


async def test_stats_count_outcomes(world: World, engine: Engine) -> None:
    await world.online(engine)
    sends = [engine.sending(), engine.sending(), engine.sending(device=99)]
    engine.post(*sends)
    for send in sends:
        await engine.outcome(send.message)
    engine.post(Stats(1))
    report = await engine.see(StatsReport)
    assert (report.open, report.online, report.in_flight) == (1, 1, 0)
    assert (report.sent, report.not_sent, report.refused, report.unknown) == (2, 1, 0, 0)
    assert report.pid == engine.gateway.pid
    assert report.threads >= 1
    assert report.fds > report.open
    assert report.cycles == 0
    engine.post(Close(1, 3))
    await engine.see(SnapshotTaken)
    engine.post(Stats(2))
    after = await engine.see(StatsReport, request=2)
    assert after.cycles == 1


# ------------------------------------------------------------------------------------------ life and death


async def test_a_session_in_use_is_not_opened_twice_until_its_holder_is_dead(world: World) -> None:
    holder, other = await world.start_gateway(), await world.start_gateway()
    phone, path = await world.online(holder)
    other.post(Open(1, 2, path, phone), Pair(2, 1, path))
    assert (await other.see(Offline)).why == "session in use"
    assert (await other.see(PairFailed)).why == "session in use"
    os.kill(holder.gateway.pid, signal.SIGKILL)
    await holder.until(lambda: holder.exits == 1, "exit")
    other.post(Open(1, 2, path, phone))
    await other.see(Online)


async def test_the_gateway_ends_when_its_engine_hangs_up(world: World, engine: Engine) -> None:
    await world.online(engine)
    process = engine.gateway.pid
    await engine.gateway.stop(timeout=5)
    assert engine.exits == 1
    assert not Path(f"/proc/{process}").exists()


async def test_sigterm_lets_the_open_send_finish_and_starts_nothing_new(world: World, engine: Engine) -> None:
    await world.online(engine)
    world.delay_acks(0.3, times=1)
    on_the_wire, waiting = engine.sending(), engine.sending()
    engine.post(on_the_wire, waiting)
    await engine.see(Wire)
    os.kill(engine.gateway.pid, signal.SIGTERM)
    assert isinstance(await engine.outcome(waiting.message), NotSent)
    assert isinstance(await engine.outcome(on_the_wire.message), Sent)
    await engine.until(lambda: engine.exits == 1, "exit")


async def test_the_death_of_the_network_leaves_open_sends_unknown_and_heals(own_world: World) -> None:
    engine = await own_world.start_gateway()
    await own_world.online(engine)
    own_world.delay_acks(60)
    on_the_wire, waiting = engine.sending(), engine.sending()
    engine.post(on_the_wire, waiting, Pair(2, 1, own_world.session_path()))
    await engine.see(Wire)
    await engine.see(Qr)
    own_world.kill_network()
    assert isinstance(await engine.outcome(on_the_wire.message), Unknown)
    assert isinstance(await engine.outcome(waiting.message), NotSent)
    await engine.see(Offline, device=1)
    await engine.see(PairFailed, device=2)
    while_away = engine.sending()
    engine.post(while_away)
    outcome = await engine.outcome(while_away.message)
    assert isinstance(outcome, NotSent)
    assert outcome.why == "not connected"

    own_world.start_network()
    await engine.see(Online, times=2)
    again = engine.sending()
    engine.post(again)
    assert isinstance(await engine.outcome(again.message), Sent)
    assert len(engine.seen(Offline)) == 1


async def test_a_network_that_is_not_there_yet_is_waited_for(own_world: World) -> None:
    phone, path = own_world.linked()
    own_world.kill_network()
    engine = await own_world.start_gateway()
    engine.post(Open(1, 1, path, phone))
    assert (await engine.see(Offline)).why == "network is away"
    own_world.start_network()
    await engine.see(Online)
