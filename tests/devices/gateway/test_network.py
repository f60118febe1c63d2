"""The simulated network: an honest ledger, one owner of its files, the same fate for the same seed."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from devices.gateway.contract import (
    Event,
    Incoming,
    Media,
    NotSent,
    Online,
    Open,
    Outcome,
    Receipt,
    Refused,
    Send,
    Sent,
    Unknown,
)
from devices.gateway.control import ControlRefused, ControlUnavailable, SimulatorControl
from devices.gateway.network import STOP_WORDS, Dice, chat_of, number_of
from tests.devices.gateway.world import OUTCOMES, SimulatedWorld, new_phone


@pytest_asyncio.fixture(loop_scope="module")
async def worlds() -> AsyncIterator[list[SimulatedWorld]]:
    """Worlds a test makes for itself."""
    made: list[SimulatedWorld] = []
    yield made
    for world in made:
        await world.stop_gateways()
        world.close()


async def test_a_message_is_in_the_ledger_before_it_is_acknowledged(worlds: list[SimulatedWorld]) -> None:
    world = SimulatedWorld(ack_ms=0)
    worlds.append(world)
    world.start_network()
    engine = await world.start_gateway()
    absent: list[Event] = []

    def look(event: Event) -> None:
        if isinstance(event, Sent) and event.tag.hex() not in world.ledger_tags():
            absent.append(event)

    engine.on_event = look
    for device in range(20):
        await world.online(engine, device)
    sends = [engine.sending(device, epoch=1, text=f"Hello {device}") for device in range(20) for _ in range(10)]
    engine.post(*sends)
    await engine.see(Sent, times=200)
    assert absent == []
    lines = {line.split()[3]: line.split() for line in world.ledger.read_text().splitlines()}
    assert len(lines) == 200
    for send in sends:
        at, *rest, left = lines[send.tag.hex()]
        assert rest == [str(send.device), "1", send.tag.hex(), hashlib.sha256(send.text.encode()).hexdigest()]
        sent = await engine.outcome(send.message)
        assert sent.wire_at <= float(at) <= sent.at
        assert float(left) == pytest.approx(sent.wire_at, abs=1e-5)


async def test_a_file_arrives_with_its_caption_and_without_it_nothing_does(worlds: list[SimulatedWorld]) -> None:
    world = SimulatedWorld()
    worlds.append(world)
    world.start_network()
    engine = await world.start_gateway()
    await world.online(engine)
    path = world.folder / "file"
    send = engine.sending(text="The menu")
    send.media = Media("document", str(path), "application/pdf", "menu.pdf")
    engine.post(send)
    answer = await engine.outcome(send.message)
    assert (type(answer), answer.why) == (NotSent, "the file cannot be read")
    path.write_bytes(b"%PDF-1.7")
    again = engine.sending(text="The menu")
    again.media = send.media
    engine.post(again)
    assert isinstance(await engine.outcome(again.message), Sent)
    assert world.ledger_tags() == [again.tag.hex()]
    [file] = world.control.state()["files"]
    assert file == {
        "tag": again.tag.hex(),
        "to": again.to,
        "caption": "The menu",
        "kind": "document",
        "mime": "application/pdf",
        "name": "menu.pdf",
        "sha256": hashlib.sha256(b"%PDF-1.7").hexdigest(),
    }


async def test_without_a_writable_ledger_nothing_is_acknowledged(worlds: list[SimulatedWorld]) -> None:
    world = SimulatedWorld(ack_ms=0)
    worlds.append(world)
    world.start_network(ledger=Path("/dev/full"))
    engine = await world.start_gateway()
    await world.online(engine)
    send = engine.sending()
    engine.post(send)
    assert isinstance(await engine.outcome(send.message), Unknown)
    assert world.network is not None
    assert await asyncio.to_thread(world.network.wait, 10) == 1


async def test_ledger_and_sockets_are_for_the_owner_alone(world: SimulatedWorld) -> None:
    for name in ("ledger", "network", "control"):
        assert (world.folder / name).stat().st_mode & 0o077 == 0, name


@pytest.mark.parametrize("socket", ["network", "elsewhere"])
def test_a_second_network_on_the_same_files_refuses_to_start(shared_world: SimulatedWorld, socket: str) -> None:
    ledger = shared_world.folder / "other-ledger" if socket == "network" else None
    second = subprocess.run(shared_world.network_argv(ledger, socket), capture_output=True, text=True, timeout=20)
    assert second.returncode == 1
    assert "another simulated network" in second.stderr


async def test_a_killed_network_is_started_again_over_its_leftovers(worlds: list[SimulatedWorld]) -> None:
    world = SimulatedWorld()
    worlds.append(world)
    world.start_network()
    engine = await world.start_gateway()
    await world.online(engine)
    first = engine.sending()
    engine.post(first)
    await engine.outcome(first.message)
    world.kill_network()
    world.start_network()
    await engine.see(Online, times=2)
    second = engine.sending()
    engine.post(second)
    await engine.outcome(second.message)
    assert world.ledger_tags() == [first.tag.hex(), second.tag.hex()]


async def test_outcomes_agree_with_the_ledger_however_often_the_network_is_killed(
    worlds: list[SimulatedWorld],
) -> None:
    world = SimulatedWorld(ack_ms=2, jitter_ms=5, refuse_share=0.05, unregistered_share=0.05)
    worlds.append(world)
    world.start_network()
    engine = await world.start_gateway()
    sends: dict[int, Send] = {}
    outcomes: dict[int, list[Outcome]] = {}

    going_on = True

    def send_next(event: Event) -> None:
        """A device with an outcome sends its next message, unless it is offline: then when it is back."""
        if isinstance(event, OUTCOMES):
            outcomes.setdefault(event.message, []).append(event)
        elif not isinstance(event, Online):
            return
        if going_on and (isinstance(event, Online) or event.wire_at is not None):
            send = engine.sending(event.device)
            sends[send.message] = send
            engine.post(send)

    engine.on_event = send_next
    for device in range(50):
        engine.post(Open(device, 1, world.session_path(), f"+6014{device:07}"))
    for deaths in range(3):
        await engine.until(lambda goal=500 * (deaths + 1): len(outcomes) >= goal, "more outcomes")  # type: ignore[misc]
        await asyncio.to_thread(world.kill_network)
        await asyncio.to_thread(world.start_network)
    await engine.until(lambda: len(outcomes) >= 2000, "more outcomes")
    going_on = False
    await engine.until(lambda: len(outcomes) == len(sends), "an outcome of every send")

    assert {len(one) for one in outcomes.values()} == {1}
    by_kind = {kind: {o.tag.hex() for [o] in outcomes.values() if isinstance(o, kind)} for kind in OUTCOMES}
    ledger = world.ledger_tags()
    assert len(ledger) == len(set(ledger)) == len(set(ledger) & {send.tag.hex() for send in sends.values()})
    assert by_kind[Sent] <= set(ledger) <= by_kind[Sent] | by_kind[Unknown]
    assert 0 < len(by_kind[Unknown]) <= 3 * 50
    assert by_kind[NotSent]
    assert by_kind[Refused]


async def test_people_reply_and_ask_to_stop(worlds: list[SimulatedWorld]) -> None:
    world = SimulatedWorld(reply_share=1, stop_share=0.5, reply_ms=20)
    worlds.append(world)
    world.start_network()
    engine = await world.start_gateway()
    await world.online(engine)
    sends = [engine.sending(to=new_phone()) for _ in range(30)]
    engine.post(*sends)
    await engine.see(Incoming, times=30)
    await engine.see(Receipt, times=30, kind="read")
    stops = [event for event in engine.seen(Incoming) if event.text in STOP_WORDS]
    assert 5 <= len(stops) <= 25
    assert {event.sender for event in engine.seen(Incoming)} == {send.to for send in sends}


async def test_the_same_seed_and_tags_meet_the_same_fate(worlds: list[SimulatedWorld]) -> None:
    fates = []
    sends = [Send(1, 1, n, hashlib.sha256(str(n).encode()).digest(), f"+60121{n:06}", "Hello") for n in range(60)]
    for seed in (5, 5, 6):
        world = SimulatedWorld(seed=seed, refuse_share=0.3, unregistered_share=0.3, ack_ms=0)
        worlds.append(world)
        world.start_network()
        engine = await world.start_gateway()
        await world.online(engine)
        engine.post(*sends)
        fates.append([type(await engine.outcome(send.message)).__name__ for send in sends])
    assert fates[0] == fates[1] != fates[2]
    assert set(fates[0]) == {"Sent", "NotSent", "Refused"}


async def test_slow_and_dead_devices_do_not_hold_up_the_others(worlds: list[SimulatedWorld]) -> None:
    world = SimulatedWorld(slow_share=0.3, slow_ms=60_000, dead_share=0.3)
    worlds.append(world)
    world.start_network()
    engine = await world.start_gateway()
    engine.post(*[Open(n, 1, world.session_path(), f"+6013{n:07}") for n in range(40)])
    for device in range(40):
        await engine.see(Online, device=device)
    engine.post(*[engine.sending(device) for device in range(40)])
    dice = Dice(1)
    healthy = [n for n in range(40) if min(dice.throw(f"device +6013{n:07}".encode())[:2]) >= 0.3]
    assert 5 < len(healthy) < 35
    await engine.until(lambda: {e.device for e in engine.seen(Sent)} == set(healthy), "the healthy ones sent")


def test_what_cannot_be_done_is_refused_with_a_reason(shared_world: SimulatedWorld) -> None:
    with pytest.raises(ControlRefused):
        shared_world.control.scan("https://wa.me/settings/linked_devices#2@nonsense")
    with pytest.raises(ControlRefused):
        shared_world.control.ban("+60000000000", 5)
    with pytest.raises(ControlRefused, match="not a request"):
        shared_world.control.rule(explode=True)


def test_a_network_that_is_not_there_is_said_to_be_unavailable(tmp_path: Path) -> None:
    with pytest.raises(ControlUnavailable):
        SimulatorControl(tmp_path / "nothing").state()


@pytest.mark.parametrize("number", ["+60123456789", "+6591234567", "+18005550123"])
def test_a_chat_is_not_the_number_but_leads_back_to_it(number: str) -> None:
    assert number[1:] not in chat_of(number)
    assert number_of(chat_of(number)) == number
    assert chat_of(chat_of(number)) == chat_of(number)


def test_dice_are_even() -> None:
    dice = Dice(1)
    throws = [dice.throw(str(n).encode()) for n in range(2000)]
    for side in range(8):
        assert 0.45 < sum(throw[side] for throw in throws) / 2000 < 0.55
