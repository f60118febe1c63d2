"""Copies: asks gateways for copies of sessions, open or closing ones, and gives them to the vault."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from devices.gateway import contract
from devices.gateway.contract import Command
from devices.hosting.gateways import GatewaySlot
from devices.hosting.leases import OwnedDevice
from devices.hosting.vault import Vault

ANSWER_S = 60.0  # many may close before it


class Copies:
    """What is asked of gateways and not answered yet, by its number."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self._asked = 0
        self._open: dict[int, tuple[GatewaySlot, asyncio.Future[str]]] = {}

    async def take(self, slot: GatewaySlot, device: OwnedDevice) -> None:
        """Of a session that stays open."""
        if copy := await self._ask(slot, lambda number: contract.Snapshot(device.id, number)):
            await self.vault.keep(device, copy, clean=False)

    async def close(self, slot: GatewaySlot, device: OwnedDevice) -> bool:
        """Close the session, wait until its file is free, and keep a clean copy of it; false when that failed."""
        copy = await self._ask(slot, lambda number: contract.Close(device.id, number))
        return copy is not None and await self.vault.keep(device, copy, clean=True)

    def heard(self, taken: contract.SnapshotTaken) -> None:
        _, answer = self._open.get(taken.request, (None, None))
        if answer is None or answer.done():
            self.vault.discard(taken.path)
        else:
            answer.set_result(taken.path)

    def lost(self, slot: GatewaySlot) -> None:
        """Its process died: the session files are free, and as they are."""
        for where, answer in self._open.values():
            if where is slot and not answer.done():
                answer.set_result("")

    async def _ask(self, slot: GatewaySlot, command: Callable[[int], Command]) -> str | None:
        """The copy's path; empty when the session is not open there; None when the gateway does not say."""
        self._asked += 1
        number = self._asked
        if not slot.post([command(number)]):
            return ""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._open[number] = (slot, answer)
        try:
            return await asyncio.wait_for(answer, ANSWER_S)
        except TimeoutError:
            return None
        finally:
            del self._open[number]
