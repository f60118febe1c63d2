"""A simulated network whose codes live long, and the lease of the host under test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.devices.gateway.world import SimulatedWorld

if TYPE_CHECKING:  # pytest reads this file before Django is set up: models are imported where they are used
    from devices.hosting.leases import Lease


@pytest.fixture(scope="module")
def world() -> Iterator[SimulatedWorld]:
    world = SimulatedWorld(first_code_s=60)
    world.start_network()
    yield world
    world.close()


@pytest.fixture
def lease() -> Lease:
    from devices.hosting import leases

    return leases.begin("here", ["simulator"], leases.LeaseTimes())
