"""The stages of `./test`, one after the other; the first that fails ends it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = Path(sys.executable).parent
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
STAGES = {
    "format": ["ruff", "format", "--check", "--quiet", "."],
    "lint": ["ruff", "check", "--quiet", "."],
    # From scratch each time: the Django plugin loses the managers' row types in an incremental run.
    # With -m our own `tests` comes before the one that a library installs.
    "types": ["python", "-m", "mypy", "--no-incremental", "--cache-dir=/dev/null", "."],
    "templates": ["djlint", "templates", "--lint", "--quiet"],
    "migrations": ["python", "-m", "config.embedded", "manage.py", "makemigrations", "--check", "--dry-run"],
    "fast": ["pytest", "-q", "-n", "2", "-m", "not browser and not faults and not neonize"],
    "neonize": ["pytest", "-q", "-n", "2", "-m", "neonize"],
    "browser": ["pytest", "-q", "-n", "2", "--dist", "loadfile", "-m", "browser"],
    "faults": ["pytest", "-q", "-n", "2", "--dist", "loadfile", "-m", "faults", "--ignore", "tests/faults"],
    "chaos": ["pytest", "-q", "tests/faults"],  # whole installations: one at a time
}
FOUND_NO_TESTS = 5


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def browser_is_there() -> bool:
    """Whether a Chromium can be found, after installing Debian's where we may."""
    if not any(map(shutil.which, CHROMIUM)) and os.geteuid() == 0 and shutil.which("apt-get"):
        say("Installing Debian's chromium …")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.call(["apt-get", "-qq", "update"], env=quiet, stdout=subprocess.DEVNULL)
        install = ["apt-get", "-qq", "install", "-y", "--no-install-recommends", "chromium"]
        subprocess.call(install, env=quiet, stdout=subprocess.DEVNULL)
    return any(map(shutil.which, CHROMIUM))


def passes(name: str) -> bool:
    program, *arguments = STAGES[name]
    say(f"── {name}")
    started = time.monotonic()
    environ = {**os.environ, "SECRET_KEY": "only-for-checks"}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes start: compile for the first alone
    code = subprocess.call([PROGRAMS / program, *arguments], env=environ)
    say(f"── {name}: {'passed' if code in (0, FOUND_NO_TESTS) else 'FAILED'} in {time.monotonic() - started:.1f} s")
    return code in (0, FOUND_NO_TESTS)


def main(chosen: list[str]) -> int:
    for name in chosen or STAGES:
        if name not in STAGES:
            say(f"There is no stage {name}: choose from {', '.join(STAGES)}.")
            return 2
        if name == "browser" and not browser_is_there():
            say("The browser suite needs Chromium: apt install chromium (as root), then start again.")
            return 1
        if not passes(name):
            return 1
    say("All stages passed.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
