"""Holds all devices' sessions for jobs that come and go: `python -m … NETWORK LISTEN < "id phone" lines`.

A plain implementation needs one too (WAHA, Evolution API), since a session can't be opened by every job. This one
is the cheapest there can be: the gateway's own words on a Unix socket. It says "ready" when all devices are online.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile

import uvloop

from devices.gateway.client import Gateway
from devices.gateway.contract import Command, Event, Online, Open, Outcome, Send
from devices.gateway.link import Link


class SessionService:
    def __init__(self) -> None:
        self.gateway: Gateway
        self.online = 0
        self.asking: dict[int, Link] = {}

    def connect(self) -> Link:
        def pass_on(sends: list[Send]) -> None:
            self.asking.update((send.message, link) for send in sends)
            self.gateway.post(sends)

        link = Link(Command, on_words=pass_on, on_lost=lambda: None)
        return link

    def hear(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Online):
                self.online += 1
            elif isinstance(event, Outcome) and (link := self.asking.pop(event.message, None)):
                link.send(event)


async def serve(network: str, listen: str, devices: list[list[str]], folder: str) -> None:
    service = SessionService()
    ended = asyncio.Event()
    service.gateway = await Gateway.start(
        [sys.executable, "-m", "devices.gateway.simulator", "--socket", network],
        on_events=service.hear,
        on_exit=lambda gateway: ended.set(),
    )
    service.gateway.post([Open(int(pk), 1, f"{folder}/{pk}", phone) for pk, phone in devices])
    async with await asyncio.get_running_loop().create_unix_server(service.connect, listen):
        while service.online < len(devices):
            await asyncio.sleep(0.01)
        print("ready", flush=True)  # noqa: T201
        await ended.wait()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="fs") as folder:
        uvloop.run(serve(sys.argv[1], sys.argv[2], [line.split() for line in sys.stdin], folder))
