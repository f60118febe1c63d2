"""Messages a second through one gateway, and what they cost the gateway and the simulated network in CPU.

`python -m tests.benchmarks.bench_gateway [--devices 3000] [--seconds 5] [--receipts]`: every device sends its
next message as soon as it has the outcome of the last, so the figures are those of full load.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from devices.gateway.client import Gateway
from devices.gateway.contract import Command, Event, Online, Open, Send, Sent
from devices.gateway.control import ControlUnavailable, SimulatorControl

SIMULATOR = [sys.executable, "-m", "devices.gateway.simulator"]
TEXT = "Hello Aisyah, your order is ready. Reply STOP to hear no more from us."


def start_network(folder: Path, ack_ms: float, receipts: bool) -> subprocess.Popen[bytes]:
    paths = ["--socket", str(folder / "n"), "--control", str(folder / "c"), "--ledger", str(folder / "l")]
    shares = [] if receipts else ["--delivered-share", "0"]
    pace = ["--ack-ms", str(ack_ms), "--jitter-ms", "0", *shares]
    network = subprocess.Popen([*SIMULATOR, "--network", *paths, *pace], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            SimulatorControl(folder / "c").state()
        except ControlUnavailable:
            time.sleep(0.02)
        else:
            return network
    raise SystemExit("the network did not start")


class Load:
    """Keeps every device busy, counts what comes back."""

    def __init__(self) -> None:
        self.gateway: Gateway
        self.sent = 0
        self.online = 0
        self.sending = False

    def next(self, device: int) -> Send:
        return Send(device, 1, self.sent, secrets.token_bytes(32), f"+6012{self.sent % 10**7:07}", TEXT)

    def hear(self, events: list[Event]) -> None:
        commands: list[Command] = []
        for event in events:
            if isinstance(event, Sent):
                self.sent += 1
                if self.sending:
                    commands.append(self.next(event.device))
            elif isinstance(event, Online):
                self.online += 1
        if commands:
            self.gateway.post(commands)


def cpu(pid: int) -> float:
    """Seconds of user and system time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def measure(folder: Path, network_pid: int, devices: int, seconds: float) -> None:
    load = Load()
    gateway = load.gateway = await Gateway.start(
        [*SIMULATOR, "--socket", str(folder / "n")], on_events=load.hear, on_exit=lambda gateway: None
    )
    began = time.monotonic()
    gateway.post([Open(n, 1, str(folder / f"s{n}"), f"+6011{n:07}") for n in range(devices)])
    while load.online < devices:
        await asyncio.sleep(0.01)
    print(f"{devices} devices online after {time.monotonic() - began:.2f} s")  # noqa: T201
    load.sending = True
    gateway.post([load.next(n) for n in range(devices)])
    await asyncio.sleep(1)
    before = load.sent, cpu(gateway.pid), cpu(network_pid), time.monotonic()
    await asyncio.sleep(seconds)
    after = load.sent, cpu(gateway.pid), cpu(network_pid), time.monotonic()
    sent, gateway_s, network_s, wall_s = (b - a for a, b in zip(before, after, strict=True))
    rss = [resident_mb(pid) for pid in (gateway.pid, network_pid)]
    print(f"{sent / wall_s:,.0f} messages/s")  # noqa: T201
    print(f"gateway {gateway_s / sent * 1e6:.1f} µs CPU a message, {rss[0]:.0f} MB")  # noqa: T201
    print(f"network {network_s / sent * 1e6:.1f} µs CPU a message, {rss[1]:.0f} MB")  # noqa: T201
    await gateway.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--ack-ms", type=float, default=5)
    parser.add_argument("--receipts", action="store_true", help="with deliveries, reads and replies")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fg") as name:
        network = start_network(Path(name), arguments.ack_ms, arguments.receipts)
        try:
            uvloop.run(measure(Path(name), network.pid, arguments.devices, arguments.seconds))
        finally:
            network.terminate()
            network.wait()


if __name__ == "__main__":
    main()
