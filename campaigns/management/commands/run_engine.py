"""`manage.py run_engine`: one host. Owns devices, paces them, sends."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import time
from pathlib import Path
from random import Random
from typing import Any

import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection

from accounts.allocation import settle_memory
from accounts.redis import RedisWatch
from campaigns import outbox
from campaigns.engine.concurrency import Limit
from campaigns.pulse import Pulse
from campaigns.sender import Sender
from devices import fault_points
from devices.gateway.process import usage
from devices.hosting import leases
from devices.hosting.gateways import Limits
from devices.hosting.host import Host
from devices.hosting.leases import HostId, HostIdTaken, Lease, LeaseTimes
from devices.hosting.sealing import BadKeys, Seal
from devices.hosting.sessions import Sessions
from devices.hosting.threads import DatabaseThread
from devices.hosting.wake import Wake
from devices.jobs import Bell

logger = logging.getLogger(__name__)

POLL_S = 5.0
SETTLE_WITHIN_S = 8.0


class Command(BaseCommand):
    help = "Run one host: it owns devices by lease, paces them and sends."

    def handle(self, *args: Any, **options: Any) -> None:
        seal = seal_of_the_vault()
        try:
            host_id = HostId(Path(settings.SESSIONS_DIR))
        except HostIdTaken as problem:
            raise CommandError(str(problem)) from None
        try:
            fault_points.arm(settings.FAULT, settings.DRIVERS)
        except fault_points.FaultRefused as problem:
            raise CommandError(str(problem)) from None
        raise_open_files()
        times = LeaseTimes(**settings.LEASE_TIMES)
        lease = begin_when_postgres_answers(host_id.value, times)
        settle_memory()
        uvloop.run(Engine(lease, times, seal).run())


class Engine:
    """Puts the halves of a host together: leases and sessions below, the sender above, the bell between them."""

    def __init__(self, lease: Lease, times: LeaseTimes, seal: Seal | None) -> None:
        self.lease = lease
        self.times = times
        self.seal = seal
        self.redis = RedisWatch(settings.REDIS_URL)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        pulse = Pulse()
        rng = Random(os.urandom(16))  # noqa: S311 - paces messages, keeps no secret
        limit = Limit(settings.MIN_CONCURRENT_WORKERS, settings.MAX_CONCURRENT_WORKERS)
        sender = Sender(self.lease, limit, pulse, rng)
        sessions = self.sessions_for(sender)
        host = self.host_of(sessions, sender)
        sender.start(sessions, host.watchdog)
        Bell.deliver = lambda ids: loop.call_soon_threadsafe(sender.rouse, ids)
        Bell.look = lambda ids: loop.call_soon_threadsafe(host.look, ids)
        wake = Wake(self.lease.host, self.lease.incarnation)
        self.redis.start()
        wake.start()
        duties = (sessions.run(), host.run(), sender.run(), pulse.run(), self.poll(sender))
        tasks = [loop.create_task(duty) for duty in duties]
        logger.info("Host %s is up, incarnation %d", self.lease.host, self.lease.incarnation)
        ends = [loop.create_task(stop.wait()), loop.create_task(host.lost.wait())]
        done, _ = await asyncio.wait([*tasks, *ends], return_when=asyncio.FIRST_COMPLETED)
        for task in done.intersection(tasks):
            logger.error("A duty of the engine ended", exc_info=task.exception())
        wake.stop()
        await asyncio.gather(sender.drain(SETTLE_WITHIN_S), sessions.end_pairings())
        for task in (*tasks, *ends):
            task.cancel()
        await sessions.stop()
        sender.close()
        pulse.close()
        await host.close()
        logger.info("Host %s is down", self.lease.host)

    def sessions_for(self, sender: Sender) -> Sessions:
        return Sessions(
            self.lease.host,
            Path(settings.SESSIONS_DIR),
            programs(),
            settings.GATEWAY_DEVICES,
            sender,
            seal=self.seal,
            copy_every_s=settings.VAULT_EVERY_S,
            pairings_at_once=settings.PAIRINGS_AT_ONCE,
            limits={"whatsapp": Limits(settings.GATEWAY_MAX_MB, settings.GATEWAY_MAX_CYCLES)},
        )

    def host_of(self, sessions: Sessions, sender: Sender) -> Host:
        def meters() -> dict[str, Any]:
            return {**sessions.meters(), **sender.meters(), **footprint()}

        return Host(self.lease, self.times, list(programs()), sessions, outbox.abandon, meters=meters)

    async def poll(self, sender: Sender) -> None:
        """While Redis is away, Postgres is asked for due work."""
        database = DatabaseThread("poll")
        while True:
            await asyncio.sleep(POLL_S)
            if settings.ENGINE_POLLING == "off" or self.redis.connected is not False:
                continue
            try:
                sender.rouse(await database.run(outbox.devices_with_due_work, self.lease))
            except Exception:
                logger.exception("Due work could not be looked for")


def footprint() -> dict[str, Any]:
    """What the engine itself takes of its machine, without its gateways; and of which version it is."""
    now = usage()
    return {
        "rss_mb": round(now.rss_mb, 1),
        "fds": now.fds,
        "threads": now.threads,
        "cpu_s": round(now.cpu_s, 1),
        "version": settings.VERSION,
    }


def seal_of_the_vault() -> Seal | None:
    """Real sessions are never without a copy: nobody should have to scan again because a disk broke."""
    try:
        return Seal(settings.VAULT_KEYS)
    except BadKeys as problem:
        if "whatsapp" in settings.DRIVERS:
            raise CommandError(f"{problem}.", returncode=2) from None
        logger.warning("%s: no copies of sessions are kept", problem)
        return None


def programs() -> dict[str, list[str]]:
    """How to start each driver's gateway, after the interpreter's name."""
    simulator = ["--socket", settings.SIMULATOR_SOCKET, "--send-timeout", str(settings.SIMULATOR_SEND_TIMEOUT)]
    known = {
        "simulator": ["-m", "devices.gateway.simulator", *simulator],
        "whatsapp": ["-m", "devices.gateway.whatsapp"],
    }
    return {driver: known[driver] for driver in settings.DRIVERS if driver in known}


def begin_when_postgres_answers(host_id: str, times: LeaseTimes) -> Lease:
    while True:
        try:
            return leases.begin(host_id, list(programs()), times)
        except OperationalError as problem:
            logger.warning("PostgreSQL is not reachable, waiting: %s", type(problem).__name__)
            connection.close()
            time.sleep(1)


def raise_open_files() -> None:
    """A gateway holds a file for each session."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
