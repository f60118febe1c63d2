"""What open dashboards of Worker Status cost the web process, beside a fleet at work.

`nice python -m tests.benchmarks.bench_sockets [--sockets 200] [--devices 3000] [--rate 1000] [--seconds 60] [--fleet]`:
so many real websockets, each a page of a workspace of its own (or all of the whole fleet, for staff), each of which
fetches all of it every half minute as the page does. Prints the shares of a core that web and engine take, with and
without the pages, and how large the frames are.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from dataclasses import dataclass, field

from config.rehearsal.measure import cpu_s
from tests.benchmarks.busy_fleet import BusyFleet, busy_fleet, say, session_of, staff

FETCH_EVERY_S = 30.0
BUDGET = 0.5  # of a core
HANDSHAKE = """GET {path} HTTP/1.1\r
Host: 127.0.0.1:{port}\r
Origin: http://127.0.0.1:{port}\r
Cookie: sessionid={cookie}\r
{extra}\r
\r
"""
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
)


@dataclass
class Heard:
    frames: list[int] = field(default_factory=list)  # bytes of each
    fetched: list[float] = field(default_factory=list)  # ms of each
    closed: int = 0


async def listen(port: int, topic: str, cookie: str, heard: Heard) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    ask = HANDSHAKE.format(path=f"/ws/live/{topic}/", port=port, cookie=cookie, extra=UPGRADE)
    writer.write(ask.encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101"), head
    try:
        while True:
            first, length = await reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await reader.readexactly(2))
            elif length == 127:
                length = int.from_bytes(await reader.readexactly(8))
            await reader.readexactly(length)
            if first & 0x0F == 1:
                heard.frames.append(length)
            elif first & 0x0F == 9:  # a ping wants its answer, masked with zeros
                writer.write(b"\x8a\x80\x00\x00\x00\x00")
    except asyncio.IncompleteReadError:
        heard.closed += 1


async def fetch_again(port: int, path: str, cookie: str, heard: Heard, delay: float) -> None:
    await asyncio.sleep(delay)
    while True:
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        ask = HANDSHAKE.format(path=path, port=port, cookie=cookie, extra="Connection: close")
        writer.write(ask.encode())
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
        writer.close()
        heard.fetched.append(1000 * (time.perf_counter() - began))
        await asyncio.sleep(FETCH_EVERY_S)


async def watch(
    fleet: BusyFleet, cookies: list[str], topic: str, path: str, seconds: float
) -> tuple[Heard, float, float]:
    heard = Heard()
    tasks = []
    for place, cookie in enumerate(cookies):
        delay = FETCH_EVERY_S * place / len(cookies)
        tasks.append(asyncio.create_task(listen(fleet.port, topic, cookie, heard)))
        tasks.append(asyncio.create_task(fetch_again(fleet.port, path, cookie, heard, delay)))
        await asyncio.sleep(0.02)
    await asyncio.sleep(5)
    for task in tasks:
        if task.done():
            task.result()  # says why a socket was refused
    heard.frames.clear()
    heard.fetched.clear()
    web, engine = await asyncio.to_thread(shares, fleet, seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return heard, web, engine


def shares(fleet: BusyFleet, seconds: float) -> tuple[float, float]:
    """Of a core that web and engine take in so many seconds."""
    pids = (fleet.web.pid, fleet.installation.engines[0].pid)
    began, before = time.perf_counter(), [cpu_s(pid) for pid in pids]
    time.sleep(seconds)
    passed = time.perf_counter() - began
    web, engine = ((cpu_s(pid) - was) / passed for pid, was in zip(pids, before, strict=True))
    return web, engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=200)
    parser.add_argument("--devices", type=int, default=3_000)
    parser.add_argument("--rate", type=float, default=1_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--fleet", action="store_true", help="all of them watch all devices")
    asked = parser.parse_args()
    with busy_fleet(asked.devices, asked.rate, 2 * asked.seconds + 60) as fleet:
        from accounts.models import User

        size = os.stat(fleet.installation.ledger).st_size
        alone = shares(fleet, asked.seconds / 2)
        if asked.fleet:
            cookies = [session_of(staff()) for _ in range(asked.sockets)]
            topic, path = "fleet", "/operations/workers?frame=1"
        else:
            owners = list(User.objects.order_by("pk")[: asked.sockets])
            cookies = [session_of(owners[place % len(owners)]) for place in range(asked.sockets)]
            topic, path = "workers", "/dashboard/workers?frame=1"
        heard, web, engine = asyncio.run(watch(fleet, cookies, topic, path, asked.seconds))
        assert os.stat(fleet.installation.ledger).st_size > size, "nothing was sent meanwhile"
    frames = sorted(heard.frames) or [0]
    say(f"{asked.sockets} sockets on {topic}, {asked.devices:,} devices, {asked.rate:,.0f} messages a second")
    say(f"web {100 * web:.0f} % of a core (without pages {100 * alone[0]:.0f} %), budget {100 * BUDGET:.0f} %")
    say(f"engine {100 * engine:.0f} % of a core (without pages {100 * alone[1]:.0f} %)")
    say(
        f"{len(heard.frames) / asked.seconds / asked.sockets:.2f} frames a second and socket, "
        f"{statistics.mean(frames):,.0f} bytes on average, {frames[-1]:,} at most; {heard.closed} sockets were closed"
    )
    if heard.fetched:
        say(f"all of it fetched {len(heard.fetched)} times, {statistics.median(heard.fetched):.0f} ms each")


if __name__ == "__main__":
    main()
