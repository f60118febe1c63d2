"""What every gateway process does about its surroundings: dying with its engine, open files, logging."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import resource
import signal
import socket
import struct
import sys
import time
from datetime import UTC, datetime
from typing import NamedTuple, TextIO

_PR_SET_PDEATHSIG = 1
_UCRED = struct.Struct("3i")


def die_with_parent(engine_socket: socket.socket) -> None:
    """Have the kernel kill this process when the thread that started it ends (man 2 prctl, PR_SET_PDEATHSIG).

    The parent may have died before we asked: then we have been adopted by somebody who is not the process
    that made the socket, and leave at once. Raises SystemExit.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if peer_of(engine_socket) != os.getppid():
        raise SystemExit("the engine that started this gateway is gone")


def peer_of(connection: socket.socket) -> int:
    """The id of the process that made the other end of a Unix socket."""
    pid, _, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(pid)


def raise_open_files() -> None:
    """Every session keeps a file open: lift the soft limit to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _JsonLine(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "process": self._process,
            "pid": record.process,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_to_stderr(process: str, stream: TextIO | None = None) -> logging.Handler:
    """JSON lines on stderr, or on another stream. Callers log counts and reasons, never a phone number or a text."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonLine(process))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    return handler


def engine_socket(descriptor: int) -> socket.socket:
    """The socket to the engine that started this process, which ends with it from now on."""
    os.set_inheritable(descriptor, False)
    engine = socket.socket(fileno=descriptor)
    die_with_parent(engine)
    raise_open_files()
    engine.setblocking(False)
    return engine


class Usage(NamedTuple):
    cpu_s: float
    rss_mb: float
    threads: int
    fds: int


def usage() -> Usage:
    """What this process takes of its machine."""
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    return Usage(
        cpu_s=time.process_time(),
        rss_mb=pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        threads=len(os.listdir("/proc/self/task")),
        fds=len(os.listdir("/proc/self/fd")),
    )
