"""`manage.py up`: brings everything of one installation up under supervisor, and everything down again.

It runs before Django is set up, because the settings need the servers it starts; so it keeps to the standard library
and stays small while it waits. Whatever dies, nothing is left behind: supervisor is tied to this process and every
program is tied to supervisor (config/tether.py).
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import xmlrpc.client
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from configparser import RawConfigParser
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType

from supervisor.xmlrpc import SupervisorTransport

from config.bootstrap import BASE_DIR, environment, hold_run_lock, say, stop
from config.embedded import (
    READY_TIMEOUT_S,
    ROOT_HOME,
    UNPRIVILEGED,
    Postgres,
    Server,
    ServerError,
    Valkey,
    path_hash,
    private_folder,
    socket_folder,
    tethered,
    wait_until,
    write_private,
)

STALE_TIMEOUT_S = 30
WEB_TIMEOUT_S = 60
ACCOUNT = "flotilla"
WITHOUT_END = "1000000000"


class Stopped(BaseException):
    """Somebody asked the whole installation to end."""


@dataclass(frozen=True)
class Installation:
    """One checkout's folders, secrets and servers."""

    var: Path
    environ: dict[str, str]
    keys: dict[str, str]
    servers: list[Server] = field(default_factory=list)
    control_password: str = field(default_factory=secrets.token_hex)

    @property
    def supervisor_socket(self) -> Path:
        return socket_folder(self.var, "supervisor") / "control"

    @property
    def configuration(self) -> Path:
        return self.var / "supervisord.conf"

    @property
    def host(self) -> str:
        return self.environ["HOST"]

    @property
    def port(self) -> int:
        return int(self.environ["PORT"])

    @property
    def address(self) -> str:
        return self.environ.get("SITE_URL") or f"http://localhost:{self.port}"


def installation(environ: dict[str, str]) -> Installation:
    """Fill in what the environment leaves open: folders, generated secrets, addresses of the embedded servers."""
    var = Path(environ.get("VAR_DIR") or BASE_DIR / "var").resolve()
    for folder in (var, var / "secrets", var / "log", var / "run", var / "mail", var / "sessions", var / "simulator"):
        private_folder(folder)
    own = {name: secret(var / "secrets", name) for name in ("SECRET_KEY", "VAULT_KEYS", "REDIS_PASSWORD")}
    simulator = private_folder(socket_folder(var, "simulator"))
    defaults = {
        "SECRET_KEY": own["SECRET_KEY"],
        "HOST": "127.0.0.1",
        "PORT": "8000",
        "VAR_DIR": str(var),
        "SIMULATOR_SOCKET": str(simulator / "network"),
        "SIMULATOR_CONTROL": str(simulator / "control"),
    }
    filled = environ | {name: environ.get(name) or value for name, value in defaults.items()}
    servers: list[Server] = []
    if not filled.get("DATABASE_URL"):
        servers.append(own_postgres(var))
        filled["DATABASE_URL"] = servers[-1].url
    if not filled.get("REDIS_URL") and not filled.get("REDISHOST"):
        password = own["REDIS_PASSWORD"]
        servers.append(Valkey(var / "redis", socket_folder(var, "redis") / "valkey", password))
        filled |= {"REDIS_URL": servers[-1].url, "REDIS_EMBEDDED": "1"}
    # Only the engine may open the vault (SECURITY 26), so its keys leave the environment that everything else inherits.
    own["VAULT_KEYS"] = filled.pop("VAULT_KEYS", "") or own["VAULT_KEYS"]
    return Installation(var, filled, own, servers)


def own_postgres(var: Path) -> Postgres:
    sockets = socket_folder(var, "postgres")
    if os.geteuid() == 0:
        place = BASE_DIR if var == BASE_DIR / "var" else var
        return Postgres(ROOT_HOME / path_hash(place) / "data", sockets, user=UNPRIVILEGED)
    return Postgres(var / "postgres" / "data", sockets)


def secret(folder: Path, name: str) -> str:
    """A secret made once per installation, readable by its owner only."""
    path = folder / name.lower()
    if not path.exists():
        made = (
            urlsafe_b64encode(secrets.token_bytes(32)).decode() if name == "VAULT_KEYS" else secrets.token_urlsafe(48)
        )
        write_private(path, made)
    return path.read_text().strip()


# ---- What supervisor runs


def supervisor_configuration(site: Installation) -> RawConfigParser:
    """Groups end in falling order of priority: programs first, then the simulated network, Redis, PostgreSQL last."""
    config = RawConfigParser()
    config["supervisord"] = {
        "nodaemon": "true",
        "logfile": "/dev/null",
        "logfile_maxbytes": "0",
        "loglevel": "warn",
        "pidfile": str(site.var / "run" / "supervisord.pid"),
        "childlogdir": str(site.var / "log"),
        "directory": escaped(BASE_DIR),
        **({"user": "root"} if os.geteuid() == 0 else {}),
    }
    account = {"username": ACCOUNT, "password": site.control_password}
    config["unix_http_server"] = {"file": escaped(site.supervisor_socket), "chmod": "0700", **account}
    config["rpcinterface:supervisor"] = {
        "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
    }
    config["supervisorctl"] = {"serverurl": f"unix://{escaped(site.supervisor_socket)}", **account}
    for priority, server in enumerate(site.servers, start=1):
        config[f"program:{server.name}"] = server_program(site, server) | {"priority": str(priority)}
    simulator = programs(site)["simulator"]
    config["program:simulator"] = app_program(site, "simulator", simulator) | {"autostart": "true", "priority": "50"}
    apps = {name: command for name, command in programs(site).items() if name != "simulator"}
    config["group:app"] = {"programs": ",".join(apps), "priority": "100"}
    for name, command in apps.items():
        config[f"program:{name}"] = app_program(site, name, command)
    config["program:engine"]["environment"] = f'VAULT_KEYS="{escaped(site.keys["VAULT_KEYS"])}"'
    return config


def programs(site: Installation) -> dict[str, list[str]]:
    manage = [sys.executable, "manage.py"]
    daphne = [sys.executable, "-m", "daphne", "-v", "0", "-b", site.host, "-p", str(site.port)]
    network = [sys.executable, "-m", "devices.gateway.simulator", "--network"]
    network += ["--socket", site.environ["SIMULATOR_SOCKET"], "--control", site.environ["SIMULATOR_CONTROL"]]
    return {
        "simulator": [*network, "--ledger", str(site.var / "simulator" / "ledger.log")],
        "web": [*daphne, "config.asgi:application"],
        "worker": [*manage, "work", "clock", "planning", "webhooks", "--with-scheduler"],
        "worker-files": [*manage, "work", "imports", "exports"],
        "clock": [*manage, "run_clock"],
        "engine": [*manage, "run_engine"],
    }


def server_program(site: Installation, server: Server) -> dict[str, str]:
    command = tethered(server.program, user=server.user, lock=server.lock, death=server.death)
    log = escaped(site.var / "log" / f"{server.name}.log")
    return {
        "command": escaped(shlex.join(command)),
        "stopsignal": server.death.removeprefix("SIG"),
        "stopwaitsecs": "60",
        "redirect_stderr": "true",
        "stdout_logfile": log,
        "stdout_logfile_maxbytes": "5MB",
        "stdout_logfile_backups": "2",
        "umask": "077",
        **restarted_for_ever(),
    }


def app_program(site: Installation, name: str, command: list[str]) -> dict[str, str]:
    return {
        "command": escaped(shlex.join(tethered(command, member=site.var / "run" / "members.lock"))),
        "autostart": "false",
        "stopwaitsecs": "15",
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": "/dev/fd/1",
        "stdout_logfile_maxbytes": "0",
        "umask": "077",
        **restarted_for_ever(),
    }


def restarted_for_ever() -> dict[str, str]:
    """A program that ran is restarted at once; one that can't start is tried again without end, ever more rarely."""
    return {"autorestart": "true", "startsecs": "2", "startretries": WITHOUT_END}


def escaped(value: object) -> str:
    return str(value).replace("%", "%%")


# ---- Up and down


def await_predecessors(var: Path) -> None:
    """Let what a killed run left behind end by itself, and end it when it doesn't."""
    lock = var / "run" / "members.lock"
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)

    def alone() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    if not alone():
        say("Waiting for the processes of a killed run to end …")
        if not wait_until(alone, STALE_TIMEOUT_S):
            for process in holders(lock):
                os.kill(process, signal.SIGKILL)
            if not wait_until(alone, STALE_TIMEOUT_S):
                stop("Processes of a killed run do not end: look for them with `fuser` on var/run/members.lock.")
    os.close(descriptor)


def holders(path: Path) -> list[int]:
    """The other processes that have the file open."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if link.readlink() == path:
                found.add(int(link.parts[2]))
        except OSError:
            continue  # ended meanwhile, or somebody else's
    return sorted(found - {os.getpid()})


def start_supervisor(site: Installation) -> subprocess.Popen[bytes]:
    private_folder(site.supervisor_socket.parent)
    write_private(site.configuration, "")
    with site.configuration.open("w") as file:
        supervisor_configuration(site).write(file)
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(site.configuration)]
    # Its own session: Ctrl-C reaches this process alone, which then ends everything in order. Its complaints go to a
    # file: when this process is killed the pipe breaks, and a supervisor that can't complain ends without order.
    with (site.var / "log" / "supervisord.log").open("wb") as complaints:
        return subprocess.Popen(
            tethered(command, member=site.var / "run" / "members.lock"),
            env=site.environ,
            cwd=BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            start_new_session=True,
        )


def pass_on(process: subprocess.Popen[bytes]) -> None:
    """Copy what the programs log to our own output, for as long as somebody reads it."""
    assert process.stdout is not None
    source, readable = process.stdout.fileno(), True
    while chunk := os.read(source, 65536):
        try:
            if readable:
                os.write(sys.stdout.fileno(), chunk)
        except OSError:
            readable = False


def await_servers(site: Installation, supervisor: subprocess.Popen[bytes]) -> None:
    for server in site.servers:
        wait_until(partial(is_settled, server, supervisor), READY_TIMEOUT_S)
        if not server.is_ready():
            raise ServerError(f"{server.name} does not answer: see {site.var}/log/{server.name}.log")


def is_settled(server: Server, supervisor: subprocess.Popen[bytes]) -> bool:
    return supervisor.poll() is not None or server.is_ready()


def prepare_database(site: Installation, options: list[str]) -> str:
    """Migrate, collect static files, seed on request; answers what a person should read."""
    command = tethered([sys.executable, "manage.py", "prepare", *options])
    done = subprocess.run(
        command, env=site.environ, cwd=BASE_DIR, stdout=subprocess.PIPE, text=True, check=False, start_new_session=True
    )
    if done.returncode:
        raise ServerError("The database could not be prepared (see above).")
    return done.stdout


def start_programs(site: Installation) -> None:
    transport = SupervisorTransport(ACCOUNT, site.control_password, f"unix://{site.supervisor_socket}")
    server = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
    server.supervisor.startProcessGroup("app", False)


def web_answers(site: Installation) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(site.host, site.host)  # noqa: S104
    try:
        with socket.create_connection((host, site.port), timeout=1):
            return True
    except OSError:
        return False


def check_port(site: Installation) -> None:
    """Refuse now, in one line, what the web process could only fail at for ever."""
    family = socket.AF_INET6 if ":" in site.host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((site.host, site.port))
    except OSError as problem:
        stop(f"Port {site.port} on {site.host} can't be used ({problem.strerror}): set PORT or HOST.")


def check_number(environ: Mapping[str, str], name: str) -> None:
    value = environ.get(name) or "1"
    if not (value.isascii() and value.isdigit() and 1 <= int(value) <= 65535):
        stop(f"{name} must be a number from 1 to 65535.", code=2)


def leave_note(site: Installation) -> Path:
    """Tell `manage.py` in this checkout which servers run (config/running.py)."""
    note = site.var / "run" / "environment.json"
    names = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "VAR_DIR", "PORT", "SIMULATOR_SOCKET", "SIMULATOR_CONTROL")
    write_private(note, json.dumps({name: site.environ[name] for name in names if site.environ.get(name)}))
    return note


def bring_up(site: Installation, supervisor: subprocess.Popen[bytes], options: list[str]) -> None:
    await_servers(site, supervisor)
    message = prepare_database(site, options)
    start_programs(site)
    wait_until(lambda: supervisor.poll() is not None or web_answers(site), WEB_TIMEOUT_S)
    if web_answers(site):
        say(f"Flotilla is at {site.address}/")
    else:
        say(f"The web process does not answer on port {site.port} yet; it is tried again without end.")
    if message.strip():
        say(message.strip())


def on_signal(number: int, frame: FrameType | None) -> None:
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.SIG_IGN)  # once is enough: the rest is on its way
    raise Stopped


def main(options: list[str]) -> int:
    environ = environment()
    check_number(environ, "PORT")
    lock = environ.pop("RUN_LOCK", None)  # held, and handed over, by ./run
    site_var = Path(environ.get("VAR_DIR") or BASE_DIR / "var").resolve()
    _descriptor = int(lock) if lock else hold_run_lock(site_var)
    supervisor = None
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, on_signal)
    try:
        site = installation(environ)
        await_predecessors(site.var)
        check_port(site)
        for server in site.servers:
            server.prepare()
        note = leave_note(site)
        supervisor = start_supervisor(site)
        output = threading.Thread(target=pass_on, args=(supervisor,), daemon=True)
        output.start()
        bring_up(site, supervisor, options)
        supervisor.wait()
        say("Supervisor ended by itself: everything stops.")
        return 1
    except Stopped:
        return 0
    except ServerError as problem:
        say(str(problem))
        return 1
    finally:
        if supervisor:
            started = time.monotonic()
            supervisor.terminate()
            supervisor.wait()
            output.join(timeout=2)
            note.unlink(missing_ok=True)
            say(f"Flotilla stopped in {time.monotonic() - started:.0f} s.")
