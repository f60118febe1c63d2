"""The ramp: which devices wait to be opened, and how many may be opened by now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

RATES = {"simulator": 1_000, "whatsapp": 40}  # sessions opened a second
TURN_S = 0.05


class Ramp:
    """Opens sessions no faster than their driver's rate, so that a restart is no storm of log-ins."""

    def __init__(self) -> None:
        self._waiting: dict[int, None] = {}  # in order, each device once
        self._allowed = dict.fromkeys(RATES, 0.0)
        self._counted_at = asyncio.get_running_loop().time()

    def __contains__(self, device_id: int) -> bool:
        return device_id in self._waiting

    def add(self, device_ids: Iterable[int]) -> None:
        self._waiting |= dict.fromkeys(device_ids)

    def add_later(self, device_id: int, pause: float) -> None:
        asyncio.get_running_loop().call_later(pause, self.add, [device_id])

    def discard(self, device_id: int) -> None:
        self._waiting.pop(device_id, None)

    async def next(self, driver_of: Callable[[int], str | None]) -> list[int]:
        """After a turn, the devices to open now. ``driver_of`` a device, None while its gateway is not up."""
        await asyncio.sleep(TURN_S)
        now = asyncio.get_running_loop().time()
        turn = min(now - self._counted_at, 2 * TURN_S)
        self._counted_at = now
        for driver, rate in RATES.items():
            self._allowed[driver] = min(self._allowed[driver], 1.0) + rate * turn  # what was not used is not saved up
        return [device_id for device_id in list(self._waiting) if self._may_open(device_id, driver_of(device_id))]

    def _may_open(self, device_id: int, driver: str | None) -> bool:
        if driver is None or self._allowed[driver] < 1:
            return False
        self._allowed[driver] -= 1
        del self._waiting[device_id]
        return True
