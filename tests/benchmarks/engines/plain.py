"""Runs one plain implementation on an installation of its own: `python -m … NAME [options]` prints its figures as JSON.

The queue is filled before the workers start and held back until they are ready; the clock and the CPU run from the
tenth part of the messages to the last one. Then the same workers are killed (all of them and their children, as when
their machine goes) while they send more, and the rows are compared with the simulated network's ledger.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
from redis import Redis

from config.embedded import temporary_servers, tethered
from tests.benchmarks.bench_gateway import start_network
from tests.benchmarks.engines.implementations import PACKAGE, PLAINS, QUIET_S, Plain

TEXT = "Hello {{ name }}, your order is ready. Reply STOP to hear no more."
PEOPLE_SQL = """
INSERT INTO campaigns_contact (workspace_id, phone, name, fields, status, consent_source, opted_out_reason)
SELECT %s, '+6012' || lpad(n::text, 8, '0'), 'Person ' || n, '{}', 'customer', 'benchmark', ''
FROM generate_series(1, %s) n
"""
PATIENCE_S = 120


class Run:
    """One installation: servers, network, session service and the workers of one plain implementation."""

    def __init__(self, plain: Plain, folder: Path, cleanup: ExitStack) -> None:
        self.plain = plain
        self.folder = folder
        self.cleanup = cleanup
        self.redis = Redis.from_url(os.environ["REDIS_URL"])
        self.workers: list[subprocess.Popen[bytes]] = []
        self.log = (folder / "log").open("ab")
        self.ledger_path = folder / "l"
        self.ledger = self.ledger_path.open("rb")
        self.lines = 0
        cleanup.callback(self.kill_workers)

    def seed(self, messages: int, devices: int) -> list[int]:
        """The messages' ids, in the order of devices in turn."""
        from django.core.management import call_command
        from django.db import connection
        from django.utils import timezone

        from campaigns.actions.planning import plan_chunk
        from campaigns.models import CampaignState, Message
        from tests.factories import make_campaign, make_device, make_workspace

        call_command("migrate", verbosity=0)
        workspace = make_workspace(device_limit=devices)
        numbers = tuple(make_device(workspace) for _ in range(devices))
        with connection.cursor() as cursor:
            cursor.execute(PEOPLE_SQL, [workspace.pk, messages])
        running: dict[str, Any] = {"state": CampaignState.RUNNING, "launched_at": timezone.now()}
        campaign = make_campaign(workspace, text=TEXT, devices=numbers, **running)
        while not plan_chunk(campaign.pk):
            pass
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        self.open_sessions([f"{device.pk} {device.phone}\n" for device in numbers])
        return list(Message.objects.order_by("pk").values_list("pk", flat=True))

    def open_sessions(self, lines: list[str]) -> None:
        listen = os.environ["SESSION_SERVICE"] = str(self.folder / "s")
        command = [sys.executable, "-m", f"{PACKAGE}.session_service", str(self.folder / "n"), listen]
        self.service = subprocess.Popen(
            tethered(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        self.cleanup.callback(end, self.service)
        assert self.service.stdin is not None
        assert self.service.stdout is not None
        self.service.stdin.writelines(lines)
        self.service.stdin.close()
        assert self.service.stdout.readline() == "ready\n", self.tail()

    def start_workers(self) -> None:
        environment = {**os.environ, **self.plain.environment}
        self.workers = [
            subprocess.Popen(tethered(command), env=environment, stdout=self.log, stderr=self.log)
            for command in self.plain.commands
        ]

    def kill_workers(self) -> None:
        """SIGKILL, the children after the parent, which could replace them."""
        for worker in self.workers:
            children = psutil.Process(worker.pid).children(recursive=True) if worker.poll() is None else []
            end(worker)
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()

    # ------------------------------------------------------------------ what is measured

    def measure(self, ids: list[int]) -> dict[str, Any]:
        self.plain.fill(ids)
        self.redis.rename(self.plain.key, "held")
        self.start_workers()
        self.wait_for("the workers", lambda: self.plain.count() == self.plain.ready)
        self.redis.rename("held", self.plain.key)
        self.wait_for("a tenth of the messages", lambda: self.sent() >= len(ids) // 10)
        first, began, cpu = self.sent(), time.monotonic(), self.cpu_s()
        self.wait_for("the last message", lambda: self.sent() >= len(ids))
        counted, seconds, spent = len(ids) - first, time.monotonic() - began, self.cpu_s() - cpu
        return {
            "messages": len(ids),
            "rate_per_s": round(counted / seconds, 1),
            "cpu_s_per_1000": round(spent * 1000 / counted, 2),
            "ledger": {"entries": self.sent(), "duplicates": verdict(self.ledger_path, ids)["sent_twice"]},
        }

    def kill(self, ids: list[int], kills: int) -> dict[str, Any]:
        before = self.sent()
        self.plain.fill(ids)
        for number in range(1, kills + 1):
            share = before + len(ids) * number // (kills + 1)
            self.wait_for("the next kill", lambda share=share: self.sent() >= share)  # type: ignore[misc]
            self.kill_workers()
            self.start_workers()
        self.wait_until_quiet(before + len(ids))
        return {"messages": len(ids), "kills": kills, **verdict(self.ledger_path, ids)}

    def wait_until_quiet(self, enough: int) -> None:
        """Until every message is recorded, or none came for so long that none will."""
        seen, since = self.sent(), time.monotonic()
        while time.monotonic() - since < (QUIET_S if seen > enough else self.plain.quiet_s):
            time.sleep(0.1)
            if (now := self.sent()) != seen:
                seen, since = now, time.monotonic()

    def sent(self) -> int:
        """Lines of the ledger."""
        self.lines += self.ledger.read().count(b"\n")
        return self.lines

    def cpu_s(self) -> float:
        """Of workers, session service with its gateway, PostgreSQL and Valkey, ended children included."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            postgres = psutil.Process(cursor.fetchone()[0]).ppid()
        roots = [postgres, self.redis.info("server")["process_id"], self.service.pid]
        processes = [psutil.Process(pid) for pid in [*roots, *(worker.pid for worker in self.workers)]]
        return sum(spent(one) for root in processes for one in [root, *root.children(recursive=True)])

    def wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > until or any(worker.poll() is not None for worker in self.workers):
                raise SystemExit(f"{what}: not within {PATIENCE_S} s, or a worker ended: {self.tail()}")
            time.sleep(0.02)

    def tail(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-3_000:]


def spent(process: psutil.Process) -> float:
    """CPU seconds of a process and of its children that ended."""
    try:
        return sum(process.cpu_times()[:4])
    except psutil.NoSuchProcess:
        return 0.0


def verdict(ledger: Path, ids: list[int]) -> dict[str, int]:
    """What became of these messages, by the ledger and by their rows."""
    from campaigns.models import Message, MessageState

    wanted = set(ids)
    times = Counter(int(line.split()[3], 16) for line in ledger.read_text().splitlines())
    recorded = set(Message.objects.filter(state=MessageState.SENT).values_list("pk", flat=True))
    sent = wanted & times.keys()
    return {
        "never_sent": len(wanted - sent),
        "sent_twice": sum(times[pk] > 1 for pk in wanted),
        "sent_unrecorded": len(sent - recorded),
        "flagged": 0,
    }


def end(process: subprocess.Popen[Any]) -> None:
    process.kill()
    process.wait()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=PLAINS)
    parser.add_argument("--devices", type=int, default=600)
    parser.add_argument("--messages", type=int, default=3_000)
    parser.add_argument("--kill-messages", type=int, default=1_500)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--ack-ms", type=float, default=20)
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends what was started, like Ctrl-C
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="fb")))
        servers = cleanup.enter_context(temporary_servers())
        settings = {"DJANGO_SETTINGS_MODULE": "config.settings", "SECRET_KEY": secrets.token_urlsafe(32)}
        os.environ.update(servers, **settings, ENV_FILE="", VAR_DIR=str(folder), STATIC_MANIFEST="0")
        import django
        from django.db import connections

        django.setup()
        network = start_network(folder, asked.ack_ms, receipts=False)
        cleanup.callback(end, network)
        cleanup.callback(connections.close_all)
        run = Run(PLAINS[asked.name], folder, cleanup)
        ids = run.seed(asked.messages + asked.kill_messages, asked.devices)
        result = {"engine": asked.name, **run.measure(ids[: asked.messages])}
        if asked.kills:
            result["killed"] = run.kill(ids[asked.messages :], asked.kills)
        print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    main()
