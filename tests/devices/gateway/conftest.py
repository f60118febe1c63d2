"""Gateways to test: each comes with a world to play in, shared by a module's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.devices.gateway.world import Engine, SimulatedWorld, World

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A module's tests share a loop, since a gateway that was started in the one before must live on in it."""
    for item in items:
        if item.path.parent == HERE and item.get_closest_marker("asyncio"):
            item.add_marker(pytest.mark.asyncio(loop_scope="module"), append=False)


@pytest.fixture(scope="module")
def kind_of_world() -> type[World]:
    """A module that tests more than one gateway has a fixture of its own in place of this."""
    return SimulatedWorld


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_world(kind_of_world: type[World]) -> AsyncIterator[World]:
    world = kind_of_world()
    world.start_network()
    yield world
    await world.stop_gateways()
    world.close()


@pytest_asyncio.fixture(loop_scope="module")
async def world(shared_world: World) -> AsyncIterator[World]:
    """A world whose network keeps running."""
    yield shared_world
    await shared_world.stop_gateways(keep_next=True)
    shared_world.clear()


@pytest_asyncio.fixture(loop_scope="module")
async def engine(world: World) -> Engine:
    return await world.start_gateway()


@pytest_asyncio.fixture(loop_scope="module")
async def own_world(kind_of_world: type[World]) -> AsyncIterator[World]:
    """A world of one test, for those that kill the network."""
    world = kind_of_world()
    world.start_network()
    yield world
    await world.stop_gateways()
    world.close()
