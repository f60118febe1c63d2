"""The gate before the library's maps: who starts or stops a client is alone, and nobody waits for ever."""

from __future__ import annotations

import asyncio

import pytest

from devices.gateway import gate
from devices.gateway.gate import Gate


async def test_calls_pass_together_and_a_lone_one_waits_until_they_are_over() -> None:
    door, story = Gate(), []
    first, second = await door.enter(), await door.enter()

    async def alone() -> None:
        async with door.alone():
            story.append("alone")

    task = asyncio.create_task(alone())
    await asyncio.sleep(0)
    first.leave()
    first.leave()  # a second time counts for nothing
    await asyncio.sleep(0)
    assert story == []
    second.leave()
    await task
    assert story == ["alone"]


async def test_a_call_that_goes_on_keeps_a_lone_one_out_only_while_it_may_read_the_maps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gate, "ENTERED_S", 0.05)
    door = Gate()
    await door.enter()  # and never leaves
    async with asyncio.timeout(5), door.alone():
        pass


async def test_nobody_enters_while_one_is_alone_and_the_waiting_enter_before_the_next_lone_one() -> None:
    door, story = Gate(), []

    async def call(name: str) -> None:
        entry = await door.enter()
        story.append(name)
        entry.leave()

    async def alone(name: str) -> None:
        async with door.alone():
            story.append(name)
            await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(work) for work in (alone("one"), call("a"), alone("two"), call("b"), alone("three"))]
    await asyncio.gather(*tasks)
    assert story == ["one", "a", "b", "two", "three"]


async def test_whoever_stops_waiting_leaves_the_gate_as_it_was() -> None:
    door = Gate()
    async with door.alone():
        waiting = [asyncio.create_task(door.enter()), asyncio.create_task(door.alone().__aenter__())]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
    entry = await door.enter()
    lone = asyncio.create_task(door.alone().__aenter__())
    await asyncio.sleep(0)
    lone.cancel()
    await asyncio.wait([lone])
    async with asyncio.timeout(5):
        (await door.enter()).leave()  # the one who left the queue keeps nobody out
        entry.leave()
        async with door.alone():
            pass


async def test_a_turn_that_came_too_late_is_given_back() -> None:
    door = Gate()
    async with asyncio.timeout(5):
        async with door.alone():
            late = [asyncio.create_task(door.enter()), asyncio.create_task(door.alone().__aenter__())]
            await asyncio.sleep(0)
        for task in late:  # their turns were given just now, before they could run
            task.cancel()
        await asyncio.wait(late)
        async with door.alone():
            pass
