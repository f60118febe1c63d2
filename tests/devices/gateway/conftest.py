"""Gateways to test: each comes with a world to play in, shared by a module's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.devices.gateway.world import Engine, SimulatedWorld, World


@pytest.fixture(scope="module")
def kind_of_world() -> type[World]:
    """A module that tests more than one gateway has a fixture of its own in place of this."""
    return SimulatedWorld


@pytest.fixture(scope="module")
def shared_world(kind_of_world: type[World]) -> Iterator[World]:
    world = kind_of_world()
    world.start_network()
    yield world
    world.close()


@pytest.fixture
async def world(shared_world: World) -> AsyncIterator[World]:
    """A world whose network keeps running."""
    yield shared_world
    await shared_world.stop_gateways()
    shared_world.clear()


@pytest.fixture
async def engine(world: World) -> Engine:
    return await world.start_gateway()


@pytest.fixture
async def own_world(kind_of_world: type[World]) -> AsyncIterator[World]:
    """A world of one test, for those that kill the network."""
    world = kind_of_world()
    world.start_network()
    yield world
    await world.stop_gateways()
    world.close()
