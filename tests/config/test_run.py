"""`./run` from the outside: real processes in a folder of their own, started, killed and stopped."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from config.embedded import ROOT_HOME, path_hash, wait_until

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv" / "bin" / "python"
SET_BY_THE_TESTS = {"REDIS_URL", "DATABASE_URL", "SECRET_KEY", "STATIC_MANIFEST", "ALLOWED_HOSTS", "VAULT_KEYS"}

pytestmark = pytest.mark.faults


class Run:
    """One `./run` with its own folder, port and servers."""

    def __init__(self, folder: Path) -> None:
        self.var = folder / "var"
        self.output = folder / "output"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        inherited = {name: value for name, value in os.environ.items() if name not in SET_BY_THE_TESTS}
        self.environ = {**inherited, "ENV_FILE": "", "VAR_DIR": str(self.var), "PORT": str(self.port)}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.output.open("wb") as output:
            self.process = subprocess.Popen([ROOT / "run"], env=self.environ, stdout=output, stderr=output)
        assert wait_until(lambda: "Flotilla is at" in self.said() or self.ended(), 90), self.said()
        assert not self.ended(), self.said()

    def said(self) -> str:
        return self.output.read_text()

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        self.send(signal.SIGTERM)
        assert self.process is not None
        return self.process.wait(timeout=60)

    def again(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run([ROOT / "run"], env=self.environ, capture_output=True, text=True, check=False)

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PYTHON, "manage.py", *arguments], cwd=ROOT, env=self.environ, capture_output=True, text=True, check=False
        )

    def processes(self, *words: str) -> list[psutil.Process]:
        """What runs for this folder: by the environment it was given or the folders it was told."""
        marks = (str(self.var), path_hash(self.var))
        found = []
        for process in psutil.process_iter():
            try:
                about = " ".join([*process.cmdline(), process.environ().get("VAR_DIR", "")])
                running = process.status() != psutil.STATUS_ZOMBIE
            except psutil.Error:
                continue
            if running and any(mark in about for mark in marks) and all(word in about for word in words):
                found.append(process)
        return [process for process in found if process.pid != os.getpid()]

    def get(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://localhost:{self.port}{path}", timeout=10) as answer:
                return int(answer.status)
        except OSError:
            return 0

    def clear(self) -> None:
        if self.process and not self.ended():
            self.stop()
        for process in self.processes():
            process.kill()
        shutil.rmtree(ROOT_HOME / path_hash(self.var), ignore_errors=True)
        shutil.rmtree(Path("/run/flotilla") / path_hash(self.var), ignore_errors=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """One folder for all tests here: a first start, which makes everything, takes longer than any other."""
    run = Run(tmp_path_factory.mktemp("run"))
    try:
        yield run
    finally:
        run.clear()


@pytest.fixture
def running(run: Run) -> Run:
    if run.process is None or run.ended():
        run.start()
    return run


def within(seconds: float, condition: Callable[[], object]) -> None:
    assert wait_until(lambda: bool(condition()), seconds)


def runs_anew(run: Run, killed: int, words: list[str]) -> bool:
    return any(process.pid != killed for process in run.processes(*words))


def test_one_command_starts_everything_once(running: Run) -> None:
    assert f"Flotilla is at http://localhost:{running.port}/" in running.said()
    assert "/setup/" in running.said()
    assert running.get("/accounts/login/") == 200
    within(20, lambda: running.said().count("Successfully connected to Redis") >= 5)
    for words in (["daphne"], ["run_clock"], ["run_engine"], ["imports", "exports"], ["simulator", "--network"]):
        assert running.processes(*words), words

    second = running.again()
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert "already runs" in second.stderr


def test_secrets_are_private_and_each_is_given_to_who_needs_it(running: Run) -> None:
    assert running.var.stat().st_mode & 0o777 == 0o700
    secrets = {path.name: path.read_text() for path in (running.var / "secrets").iterdir()}
    assert set(secrets) == {"secret_key", "vault_keys", "redis_password"}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (running.var / "secrets").iterdir())
    written = [path for folder in ("redis", "sessions", "simulator") for path in (running.var / folder).rglob("*")]
    assert any(path.name.startswith("appendonly") for path in written)
    assert [path for path in written if path.stat().st_mode & 0o077] == []
    said = running.said()
    command_lines = " ".join(" ".join(process.cmdline()) for process in running.processes())
    for secret in secrets.values():
        assert secret not in said
        assert secret not in command_lines
    within(20, lambda: running.processes("run_engine"))
    holders = [p for p in running.processes() if secrets["vault_keys"] in p.environ().values()]
    assert holders
    assert all("run_engine" in " ".join(p.cmdline()) or "devices.gateway" in " ".join(p.cmdline()) for p in holders)


def test_every_process_says_when_redis_goes_and_when_it_is_back(running: Run) -> None:
    processes = ("web", "worker", "clock", "engine")

    def told(sentence: str, times: int) -> bool:
        lines = [line for line in running.said().splitlines() if sentence in line]
        return all(sum(f'"process": "{name}"' in line for line in lines) >= times for name in processes)

    within(20, lambda: told("Successfully connected to Redis", 1))
    (valkey,) = running.processes("valkey-server")
    valkey.suspend()
    within(20, lambda: told("Redis is not reachable; sending goes on from PostgreSQL", 1))
    assert running.get("/accounts/login/") == 200
    valkey.resume()
    within(20, lambda: told("Successfully connected to Redis", 2))


def test_a_killed_process_is_started_again(running: Run) -> None:
    for words in (["daphne"], ["valkey-server"], ["postgres", "-D"]):
        (killed, *_) = running.processes(*words)
        killed.kill()
        within(20, partial(runs_anew, running, killed.pid, words))
    within(30, lambda: running.get("/accounts/login/") == 200)


def test_after_a_kill_nothing_runs_on_and_the_next_start_finds_its_data(running: Run) -> None:
    made = running.manage("shell", "-c", "from accounts.models import User; User.objects.create_user('a@example.com')")
    assert made.returncode == 0, made.stderr
    running.send(signal.SIGKILL)
    within(40, lambda: running.processes() == [])
    running.start()
    found = running.manage(
        "shell", "-v", "0", "-c", "from accounts.models import User; print(User.objects.get().email)"
    )
    assert found.stdout.strip() == "a@example.com", found.stderr


def test_sigterm_leaves_nothing(running: Run) -> None:
    assert running.manage("migrate", "--check").returncode == 0
    started = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - started < 20
    assert running.processes() == []
    assert running.manage("migrate", "--check").returncode == 2


def test_when_supervisor_is_killed_everything_ends(running: Run) -> None:
    (supervisor, *_) = running.processes("supervisor.supervisord")
    supervisor.kill()
    assert running.process is not None
    assert running.process.wait(timeout=30) == 1
    within(40, lambda: running.processes() == [])


def test_a_taken_port_is_refused_in_one_line(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", run.port))
        taken.listen()
        refused = run.again()
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Port {run.port} on 127.0.0.1 can't be used")
