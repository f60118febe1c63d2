"""Runs one program tied to its parent: it ends when the parent dies, however the parent dies.

`python -SE tether.py [--user NAME] [--lock FILE] [--member FILE] [--death SIGNAL] -- program …`: a lock is held alone
and a membership is shared, both for as long as the program lives. Standard library only.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import pwd
import signal
import sys

PR_SET_PDEATHSIG = 1


def become(user: str) -> None:
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def hold(path: str, kind: int) -> None:
    """Lock the file; the descriptor, and with it the lock, passes through exec."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"{path} is held by another process")
    os.set_inheritable(descriptor, True)


def main(arguments: list[str]) -> None:
    split = arguments.index("--")
    options = dict(zip(arguments[:split:2], arguments[1:split:2], strict=True))
    program = arguments[split + 1 :]
    parent = os.getppid()
    if user := options.get("--user"):
        os.chdir("/")  # the checkout may be closed to that user
        become(user)
    if lock := options.get("--lock"):
        hold(lock, fcntl.LOCK_EX)
    if group := options.get("--member"):
        hold(group, fcntl.LOCK_SH)
    # After the change of user: the kernel clears this setting when credentials change.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.Signals[options.get("--death", "SIGTERM")])
    if os.getppid() != parent:
        sys.exit("the parent ended first")
    os.execvp(program[0], program)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
