"""Gateways to test: each comes with a world to play in, shared by a module's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.devices.gateway.world import Engine, SimulatedWorld

WORLDS = {"simulator": SimulatedWorld}


@pytest.fixture(scope="module", params=WORLDS)
def shared_world(request: pytest.FixtureRequest) -> Iterator[SimulatedWorld]:
    world = WORLDS[request.param]()
    world.start_network()
    yield world
    world.close()


@pytest.fixture
async def world(shared_world: SimulatedWorld) -> AsyncIterator[SimulatedWorld]:
    """A world whose network keeps running."""
    yield shared_world
    await shared_world.stop_gateways()
    shared_world.control.clear_rules()
    shared_world.control.outdate(False)


@pytest.fixture
async def engine(world: SimulatedWorld) -> Engine:
    return await world.start_gateway()


@pytest.fixture(params=WORLDS)
async def own_world(request: pytest.FixtureRequest) -> AsyncIterator[SimulatedWorld]:
    """A world of one test, for those that kill the network."""
    world = WORLDS[request.param]()
    world.start_network()
    yield world
    await world.stop_gateways()
    world.close()
