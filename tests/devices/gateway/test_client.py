"""The engine's side of a gateway process: bounded, told of its end exactly once, and giving no secrets away."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from devices.gateway import client, link
from devices.gateway.client import Gateway
from devices.gateway.contract import NotSent, Stats, StatsReport
from tests.devices.gateway.world import PROGRAM, Engine, SimulatedWorld, wait_until

BIG = "x" * 100_000
DEAF = "import sys, time; time.sleep(60)"
READS_AFTER_A_BYTE = """
import socket, sys
engine = socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1]))
sys.stdin = open(sys.argv[1])
sys.stdin.read(1)
while engine.recv(1 << 20):
    pass
"""


@pytest_asyncio.fixture(loop_scope="module")
async def start() -> AsyncIterator[Callable[..., object]]:
    engines: list[Engine] = []

    async def start_program(*argv: str, env: dict[str, str] | None = None) -> Engine:
        engine = Engine()
        engine.gateway = await Gateway.start(argv, on_events=engine.hear, on_exit=engine.exited, env=env)
        engines.append(engine)
        return engine

    yield start_program
    for engine in engines:
        await engine.gateway.stop(timeout=0.1)


async def test_a_gateway_that_does_not_keep_up_is_congested_until_it_has(start: Callable, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    engine = await start(sys.executable, "-c", READS_AFTER_A_BYTE, str(gate))
    sends = [engine.sending(text=BIG) for _ in range(30)]
    engine.post(*sends)
    assert not engine.gateway.congested
    engine.post(*[engine.sending(text=BIG) for _ in range(30)])
    assert engine.gateway.congested
    await asyncio.to_thread(gate.write_text, "!")
    async with asyncio.timeout(10):
        while engine.gateway.congested:
            await asyncio.sleep(0.01)


async def test_a_gateway_that_takes_nothing_at_all_is_cut_off(start: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "LIMIT", 8 * 1024 * 1024)
    monkeypatch.setattr(client, "LINGER_S", 0.1)
    engine = await start(sys.executable, "-c", DEAF)
    engine.post(*[engine.sending(text=BIG) for _ in range(100)])
    await engine.until(lambda: engine.exits == 1, "exit")
    assert not engine.gateway.alive


async def test_events_wait_while_the_engine_holds_them_back(world: SimulatedWorld, engine: Engine) -> None:
    await world.online(engine)
    engine.gateway.hold(True)
    engine.post(Stats(1))
    await asyncio.sleep(0.2)
    assert not engine.seen(StatsReport)
    engine.gateway.hold(False)
    await engine.see(StatsReport)


async def test_the_end_of_a_gateway_is_told_once_after_its_last_event_and_with_the_process_gone(
    world: SimulatedWorld, engine: Engine
) -> None:
    gone: list[tuple[bool, int]] = []
    told = engine.exited
    process = engine.gateway.pid

    def on_exit(gateway: Gateway) -> None:
        told(gateway)
        gone.append((Path(f"/proc/{process}").exists(), len(engine.events)))

    engine.gateway._on_exit = on_exit
    engine.post(*[Stats(n) for n in range(1000)])
    await engine.see(StatsReport, times=1000)
    os.kill(process, signal.SIGKILL)
    await engine.until(lambda: engine.exits == 1, "exit")
    await engine.gateway.stop()
    engine.post(Stats(2000))
    await asyncio.sleep(0.1)
    assert gone == [(False, 1000)]


async def test_a_stubborn_gateway_is_killed(start: Callable) -> None:
    engine = await start(sys.executable, "-c", DEAF)
    await engine.gateway.stop(timeout=0.1)
    assert engine.exits == 1
    assert not Path(f"/proc/{engine.gateway.pid}").exists()


async def test_a_program_that_does_not_start_ends_at_once(start: Callable) -> None:
    engine = await start(sys.executable, "-c", "raise SystemExit(3)")
    await engine.until(lambda: engine.exits == 1, "exit")
    with pytest.raises(FileNotFoundError):
        await Gateway.start(["/nowhere/gateway"], on_events=lambda events: None, on_exit=lambda gateway: None)


async def test_a_text_that_cannot_be_encoded_is_not_sent_and_hurts_no_other(
    world: SimulatedWorld, engine: Engine
) -> None:
    await world.online(engine)
    bad, good = engine.sending(text="\ud800"), engine.sending()
    engine.post(bad, good)
    assert isinstance(await engine.outcome(bad.message), NotSent)
    await engine.outcome(good.message)


async def test_secrets_of_the_engine_stay_with_it(start: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_KEYS", "a-secret-for-this-test")
    monkeypatch.setenv("DATABASE_URL", "postgres://secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://the-way-out:3128")
    engine = await start(sys.executable, "-c", DEAF)
    environ = Path(f"/proc/{engine.gateway.pid}/environ")
    wait_until(lambda: b"PATH=" in environ.read_bytes(), "the environment of the program that was started")
    environment = environ.read_bytes()
    assert b"HTTPS_PROXY=http://the-way-out:3128" in environment
    assert b"secret" not in environment


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
def test_no_gateway_outlives_a_killed_engine(stopped: bool) -> None:
    """Running, it sees the end of its socket; stopped, it can see nothing and the kernel has to end it."""
    program = textwrap.dedent(f"""
        import asyncio
        from devices.gateway.client import Gateway
        from devices.gateway.contract import Stats
        async def main():
            heard = asyncio.Event()
            gateway = await Gateway.start({[*PROGRAM, "--socket", "/nowhere"]!r},
                on_events=lambda events: heard.set(), on_exit=lambda gateway: None)
            gateway.post([Stats(1)])
            await heard.wait()
            print(gateway.pid, flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        gateway = int(engine.stdout.readline())
        if stopped:
            os.kill(gateway, signal.SIGSTOP)
        engine.kill()
        wait_until(lambda: not _runs(gateway), "the gateway is gone")


def _runs(process: int) -> bool:
    """False for a zombie, too: it waits for whoever adopted it to collect it."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_nothing_of_django_is_loaded_by_a_gateway() -> None:
    program = (
        "import sys, devices.gateway.simulator, devices.gateway.network, devices.gateway.client, "
        "devices.gateway.control; print([m for m in sys.modules if m.split('.')[0] in ('django', 'psycopg')])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"
