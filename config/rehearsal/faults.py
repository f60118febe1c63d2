"""What may go wrong during a rehearsal: each fault happens at once, and its facts become part of the result."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.embedded import tethered
from config.rehearsal.measure import children_of, parent_of

if TYPE_CHECKING:
    from config.rehearsal.command import Rehearsal

Facts = dict[str, Any]

PATIENCE_S = 100
REDIS_NOTICED_S = 6  # Redis is asked every 5 s


def kill_engine(run: Rehearsal) -> Facts:
    """kill -9, and a fresh start on the same disk half a second later, as supervisor would."""
    number = run.rng.randrange(len(run.engines))
    engine = run.engines[number]
    run.meter.sample(memory=False)
    engine.kill()
    engine.wait()
    time.sleep(0.5)
    at_risk = in_flight()  # only now: PostgreSQL carries the last statement of a dead client to its end
    run.replace_engine(number)
    return {"in_flight": at_risk}


def stop_engine(run: Rehearsal) -> Facts:
    """SIGTERM, as at a deployment, and a fresh start on the same disk."""
    before, began = uncertain(), time.time()
    run.meter.sample(memory=False)
    run.engines[0].terminate()
    code = run.engines[0].wait(PATIENCE_S)
    seconds = time.time() - began
    facts = {"code": code, "seconds": round(seconds, 2), "uncertain": uncertain() - before, "in_flight": in_flight()}
    run.replace_engine(0)
    return facts


def freeze_engine(run: Rehearsal) -> Facts:
    """The first engine stands still for three times its lease; another has to take its devices over meanwhile."""
    from django.conf import settings

    engine = run.engines[0]
    run.meter.sample(memory=False)
    engine.send_signal(signal.SIGSTOP)
    began = time.time()
    time.sleep(0.2)  # its last statements end in PostgreSQL
    at_risk = in_flight(owner__pid=engine.pid)
    taken = seconds_until(lambda: online_elsewhere(engine.pid) == run.asked.devices)
    time.sleep(max(0.0, 3 * settings.LEASE_TIMES["ttl"] - (time.time() - began)))
    engine.send_signal(signal.SIGCONT)
    code = engine.wait(PATIENCE_S)
    run.replace_engine(0)
    return {"in_flight": at_risk, "taken_over_s": taken, "code": code}


def kill_gateway(run: Rehearsal) -> Facts:
    """kill -9 of one gateway process: its engine starts another."""
    from django.db import connection

    engine = run.engines[0].pid
    gateway = children_of([engine])[engine][0]
    with connection.cursor() as cursor:
        os.kill(gateway, signal.SIGKILL)
        cursor.execute("SELECT clock_timestamp()")
        killed_at = cursor.fetchone()[0]
    at_risk = in_flight()
    told = seconds_until(lambda: in_flight(open_at__lt=killed_at) == 0)
    cut_off = seconds_until(lambda: online() < run.asked.devices)
    back = seconds_until(lambda: online() == run.asked.devices)
    return {"in_flight": at_risk, "told_s": told, "back_s": cut_off + back}


def pause(run: Rehearsal) -> Facts:
    """Pause every campaign, look at what leaves from 2 s after the answer, and resume."""
    from config.rehearsal.ledger import read_ledger

    set_paused(True)
    answered = time.time()
    time.sleep(4)
    late = [entry for entry in read_ledger(run.ledger) if entry.at > answered + 2]
    set_paused(False)
    return {"left_late": len(late), "resumed_s": seconds_until_next_message(run)}


def redis_away(run: Rehearsal) -> Facts:
    """Redis stops. Campaigns resumed meanwhile are found by polling; back and empty, it rings the bells again."""
    from django_rq import get_connection

    set_paused(True)
    server = get_connection("clock").info("server")
    pid, program = server["process_id"], [server["executable"], server["config_file"]]
    stop_server(pid, signal.SIGKILL)
    time.sleep(REDIS_NOTICED_S)
    set_paused(False)
    polled = seconds_until_next_message(run)
    set_paused(True)
    start_server(run, "redis", pid, program)
    seconds_until(redis_answers)
    get_connection("clock").flushall()
    time.sleep(REDIS_NOTICED_S)
    set_paused(False)
    return {"polled_s": polled, "rung_s": seconds_until_next_message(run)}


def postgres_restart(run: Rehearsal) -> Facts:
    """PostgreSQL ends immediately, as in a crash, is away for 3 s and recovers."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = parent_of(cursor.fetchone()[0])
    program = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    user = pwd.getpwuid(Path(f"/proc/{pid}").stat().st_uid).pw_name if os.geteuid() == 0 else None
    stop_server(pid, signal.SIGQUIT)
    connection.close()
    time.sleep(3)
    start_server(run, "postgres", pid, program, user)
    seconds_until(postgres_answers)
    return {"resumed_s": seconds_until_next_message(run)}


FAULTS: dict[str, Callable[[Rehearsal], Facts]] = {
    "kill-engine": kill_engine,
    "stop-engine": stop_engine,
    "freeze-engine": freeze_engine,
    "kill-gateway": kill_gateway,
    "pause": pause,
    "redis-away": redis_away,
    "postgres-restart": postgres_restart,
}


# ---------------------------------------------------------------------- servers


def stop_server(pid: int, number: int) -> None:
    os.kill(pid, number)
    seconds_until(lambda: not Path(f"/proc/{pid}").exists() or is_zombie(pid))


def is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def start_server(run: Rehearsal, kind: str, former: int, program: list[str], user: str | None = None) -> None:
    """The same program again, in place of process ``former``."""
    command = tethered(program, user=user, death="SIGINT")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=run.logs, stderr=run.logs)
    run.meter.roots.pop(former, None)
    run.meter.roots[process.pid] = kind
    run.servers.callback(process.wait, PATIENCE_S)
    run.servers.callback(process.send_signal, signal.SIGINT)


def redis_answers() -> bool:
    from django_rq import get_connection
    from redis.exceptions import RedisError

    try:
        return bool(get_connection("clock").ping())
    except RedisError:
        return False


def postgres_answers() -> bool:
    from django.db import OperationalError, connection

    try:
        connection.ensure_connection()
    except OperationalError:
        return False
    return True


# ---------------------------------------------------------------------- looking on


def seconds_until(condition: Callable[[], bool]) -> float:
    began = time.time()
    while not condition():
        if time.time() - began > PATIENCE_S:
            raise SystemExit(f"what a fault waits for did not happen within {PATIENCE_S} s")
        time.sleep(0.05)
    return round(time.time() - began, 2)


def seconds_until_next_message(run: Rehearsal) -> float:
    size = run.ledger.stat().st_size
    return seconds_until(lambda: run.ledger.stat().st_size > size)


def set_paused(paused: bool) -> None:
    from campaigns.actions.campaigns import pause_campaign, resume_campaign
    from campaigns.models import Campaign

    for campaign in Campaign.objects.open():
        (pause_campaign if paused else resume_campaign)(campaign, None)


def online() -> int:
    from devices.models import Device

    return Device.objects.online().count()


def online_elsewhere(pid: int) -> int:
    """Devices that are online at another host than the one with this process."""
    from devices.models import Device

    return Device.objects.online().exclude(owner__pid=pid).count()


def in_flight(**which: Any) -> int:
    """Open attempts, or only those of some devices."""
    from devices.models import Device

    return Device.objects.filter(open_message__isnull=False, **which).count()


def uncertain() -> int:
    from campaigns.models import Stream

    return Stream.objects.totals()["uncertain"]
