"""The lease of a host, for whatever asks the outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # pytest reads this file before Django is set up: models are imported where they are used
    from devices.hosting.leases import Lease


@pytest.fixture
def lease(db: None) -> Lease:
    from devices.hosting import leases

    return leases.begin("here", ["simulator"], leases.LeaseTimes())
