"""What may go wrong: each happens to a running installation, waits until it is over, and says what it saw."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from config.rehearsal import looking
from config.rehearsal.installation import Installation, Program
from config.rehearsal.ledger import read_ledger
from config.rehearsal.measure import children_of
from config.rehearsal.servers import OwnServer

Facts = dict[str, Any]

REDIS_NOTICED_S = 6.0  # Redis is asked every 5 s
POSTGRES_AWAY_S = 3.0


def kill_engine(installation: Installation, rng: random.Random) -> Facts:
    """kill -9 of any engine that runs, and a fresh start on the same disk half a second later."""
    engine = rng.choice([engine for engine in installation.engines if engine.running])
    before = len(installation.at_risk)
    installation.kill(engine)
    former = engine.pid
    installation.until("the restart", lambda: engine.pid != former)
    return {"in_flight": len(installation.at_risk) - before}


def stop_engine(installation: Installation, rng: random.Random, number: int = 0) -> Facts:
    """SIGTERM, as at a deployment, and a fresh start on the same disk."""
    engine = installation.engines[number]
    before = looking.uncertain()
    code, seconds = installation.terminate(engine)
    left = looking.in_flight(owner__pid=engine.pid)
    return {"code": code, "seconds": seconds, "uncertain": looking.uncertain() - before, "in_flight": left}


def freeze_engine(installation: Installation, rng: random.Random) -> Facts:
    """The first engine stands still for three times its lease; another has to take its devices over meanwhile."""
    from django.conf import settings

    engine = installation.engines[0]
    ttl = float(engine.environment.get("LEASE_TTL", settings.LEASE_TIMES["ttl"]))
    with looking.attempts_standing_still():
        engine.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        at_risk = looking.open_tags(owner__pid=engine.pid)
    time.sleep(0.2)  # a statement that waited for us ends in PostgreSQL
    at_risk |= looking.open_tags(owner__pid=engine.pid)
    installation.at_risk |= at_risk

    others = [other.pid for other in installation.engines if other is not engine]
    taken = installation.until("the takeover", lambda: looking.all_online(others))
    installation.let_pass(max(0.0, 3 * ttl - (time.monotonic() - began)))
    engine.wanted_end = True
    engine.process.send_signal(signal.SIGCONT)
    return {"in_flight": len(at_risk), "taken_over_s": taken, "code": engine.process.wait(100)}


def kill_gateway(installation: Installation, rng: random.Random) -> Facts:
    """kill -9 of one gateway process: its engine starts another."""
    engine = installation.engines[0].pid
    gateway = children_of([engine])[engine][0]
    before = looking.doubts()
    with looking.attempts_standing_still():
        at_risk = looking.open_tags(owner__pid=engine)
        os.kill(gateway, signal.SIGKILL)
    told = installation.until("the doubts", lambda: not at_risk & looking.open_tags())
    cut_off = installation.until("the devices' loss", lambda: not installation.everybody_online())
    # Until it notices, the engine may hand a message to the dead one: one for each device that had none open
    installation.at_risk |= at_risk | one_for_each_device(before)
    back = installation.until("the devices' return", installation.everybody_online)
    return {"in_flight": len(at_risk), "told_s": told, "back_s": round(cut_off + back, 2)}


def one_for_each_device(before: dict[str, int]) -> set[str]:
    """The tags of new doubts, one for a device."""
    return set({device: tag for tag, device in looking.doubts().items() if tag not in before}.values())


def pause(installation: Installation, rng: random.Random) -> Facts:
    """Pause every campaign, look at what leaves from 2 s after the answer, and resume."""
    with everything_paused(installation):
        answered = time.time()
        installation.let_pass(4)
        late = [entry for entry in read_ledger(installation.ledger) if entry.left > answered + 2]
    return {"left_late": len(late), "resumed_s": installation.next_message()}


def redis_away(installation: Installation, rng: random.Random, seconds: float = REDIS_NOTICED_S) -> Facts:
    """Redis dies. Campaigns resumed meanwhile are found by polling; back and empty, it rings the bells again."""
    from django_rq import get_connection

    with everything_paused(installation):
        installation.end_server(installation.servers.redis, signal.SIGKILL)
        installation.let_pass(REDIS_NOTICED_S)
    polled = installation.next_message()
    installation.let_pass(seconds - REDIS_NOTICED_S)
    with everything_paused(installation):
        installation.start_server(installation.servers.redis)
        get_connection("clock").flushall()
        installation.let_pass(REDIS_NOTICED_S)
    return {"away_s": seconds, "polled_s": polled, "rung_s": installation.next_message()}


def redis_killed(installation: Installation, rng: random.Random) -> Facts:
    """kill -9 of Redis, which is back at once with what it had on disk."""
    installation.end_server(installation.servers.redis, signal.SIGKILL)
    installation.start_server(installation.servers.redis)
    return {"resumed_s": installation.next_message()}


def redis_flushed(installation: Installation, rng: random.Random) -> Facts:
    """FLUSHALL in the middle of everything."""
    from django_rq import get_connection

    get_connection("clock").flushall()
    return {"resumed_s": installation.next_message()}


def postgres_restart(installation: Installation, rng: random.Random) -> Facts:
    """PostgreSQL ends immediately, as in a crash, is away for 3 s and recovers."""
    postgres = installation.servers.postgres
    installation.end_server(postgres, signal.SIGQUIT)
    installation.let_pass(POSTGRES_AWAY_S)
    start_postgres(installation, postgres)
    return {"resumed_s": installation.next_message()}


def postgres_away(installation: Installation, rng: random.Random, seconds: float) -> Facts:
    """PostgreSQL is away for so long that every engine's lease runs out: they end by themselves."""
    postgres = installation.servers.postgres
    before = len(installation.ends)
    with looking.attempts_standing_still() as at_risk:
        installation.end_server(postgres, signal.SIGQUIT)
    installation.at_risk |= at_risk
    installation.let_pass(seconds)
    fenced = sum(program.kind == "engine" and code == 75 for program, code in installation.ends[before:])
    start_postgres(installation, postgres)
    return {"away_s": seconds, "fenced": fenced, "in_flight": len(at_risk), "resumed_s": installation.next_message()}


def everything_killed(installation: Installation, rng: random.Random) -> Facts:
    """kill -9 of every process at once, PostgreSQL and Redis with them, as when the power fails; then all start."""
    servers = installation.servers
    with looking.attempts_standing_still() as at_risk:
        victims: list[Program] = installation.of_kind("engine", "web", "worker", "clock")
        for program in victims:
            program.wanted_end = True
            program.process.kill()
        installation.end_server(servers.postgres, signal.SIGQUIT)
        installation.end_server(servers.redis, signal.SIGKILL)
    for program in victims:
        program.process.wait()
    installation.at_risk |= at_risk
    start_postgres(installation, servers.postgres)
    installation.start_server(servers.redis)
    return {"in_flight": len(at_risk), "resumed_s": installation.next_message()}


def start_postgres(installation: Installation, postgres: OwnServer) -> None:
    installation.start_server(postgres)
    installation.until("PostgreSQL's answer", looking.postgres_answers)


@contextmanager
def everything_paused(installation: Installation) -> Iterator[None]:
    """Every campaign rests for the length of a block, and nothing new is started.

    None without its plan: one that Redis has lost waits for the reconciler, and there might be nothing to go on with.
    """
    from campaigns.actions.campaigns import pause_campaign, resume_campaign
    from campaigns.models import Campaign

    on_tick, installation.on_tick = installation.on_tick, None
    installation.until("the plans", looking.all_planned)
    resting = [campaign for campaign in Campaign.objects.open() if pause_campaign(campaign, None)]
    yield
    for campaign in resting:
        resume_campaign(campaign, None)
    installation.on_tick = on_tick
