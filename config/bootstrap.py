"""What `./run` and `./test` do before any package is there: a virtual environment with the locked dependencies.

Standard library only, Python ≥ 3.11.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

BASE_DIR = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(BASE_DIR))

from config.env_file import read_env_file  # noqa: E402
from config.service_urls import BadValue, database_url, redis_url  # noqa: E402

VENV = BASE_DIR / ".venv"
PYTHON = VENV / "bin" / "python"
RUNTIME = "requirements.lock"
DEVELOPMENT = "requirements-dev.lock"
BAD_ENVIRONMENT = 2
REFUSED = 1


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def stop(line: str, code: int = REFUSED) -> NoReturn:
    say(line)
    raise SystemExit(code)


def environment() -> dict[str, str]:
    """The process's environment over the `.env` file, with both service URLs checked."""
    try:
        file = os.environ.get("ENV_FILE", ".env")
        merged = {**(read_env_file(BASE_DIR / file) if file else {}), **os.environ}
        addresses = {"REDIS_URL": redis_url(merged), "DATABASE_URL": database_url(merged)}
    except BadValue as problem:
        stop(str(problem), BAD_ENVIRONMENT)
    if merged.get("EMBEDDED", "").lower() in ("0", "false", "no", "off"):
        for name, address in addresses.items():
            if not address:
                stop(f"{name} is not set and EMBEDDED=0: set it, or drop EMBEDDED.", BAD_ENVIRONMENT)
    return merged | {"ENV_FILE": ""}


def hold_run_lock(var: Path) -> int:
    """Be the only `./run` of this checkout; the descriptor is the lock and passes through exec."""
    var.mkdir(mode=0o700, parents=True, exist_ok=True)
    var.chmod(0o700)
    descriptor = os.open(var / "run.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stop("Flotilla already runs from this folder: stop it first (Ctrl-C where it runs).")
    os.set_inheritable(descriptor, True)
    return descriptor


def wanted(lock: str) -> str:
    """What the virtual environment must have been made from to be up to date."""
    content = (BASE_DIR / lock).read_bytes()
    return f"{hashlib.sha256(content).hexdigest()} {sys.version_info.major}.{sys.version_info.minor}"


def stamps() -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads((VENV / "installed.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def install(lock: str) -> None:
    """Bring `.venv` to the lock file; nothing happens when it was made from it already."""
    installed = stamps()
    if PYTHON.exists() and installed.get(lock) == wanted(lock):
        return
    started = time.monotonic()
    say(f"Installing {lock} into .venv …")
    installer = virtual_environment()
    command = [*installer, "install", "-qq", "--disable-pip-version-check", "--no-input", "--no-deps"]
    command += ["--require-hashes", "-r", str(BASE_DIR / lock)]
    if subprocess.call(command):
        stop("The dependencies could not be installed (see above): check the network, then start again.")
    done = {lock: wanted(lock)} | ({RUNTIME: wanted(RUNTIME)} if lock == DEVELOPMENT else {})
    (VENV / "installed.json").write_text(json.dumps(installed | done))
    say(f"Installed in {time.monotonic() - started:.0f} s.")


def virtual_environment() -> list[str]:
    """Make `.venv` where it is missing or of another Python; answers how to call pip for it."""
    own_pip = importlib.util.find_spec("ensurepip") is not None
    if not (PYTHON.exists() and (VENV / "pyvenv.cfg").exists() and works_with_this_python()):
        if not own_pip and importlib.util.find_spec("pip") is None:
            stop("Python's venv module is incomplete here: apt install python3-venv, then start again.")
        shutil.rmtree(VENV, ignore_errors=True)
        subprocess.check_call([sys.executable, "-m", "venv", *([] if own_pip else ["--without-pip"]), str(VENV)])
    if list(VENV.glob("lib/python*/site-packages/pip")):
        return [str(PYTHON), "-m", "pip"]
    return [sys.executable, "-m", "pip", "--python", str(PYTHON)]


def works_with_this_python() -> bool:
    version = "import sys; print(*sys.version_info[:2])"
    found = subprocess.run([PYTHON, "-c", version], capture_output=True, text=True, check=False)
    return found.stdout.split() == [str(part) for part in sys.version_info[:2]]


def run(arguments: list[str]) -> NoReturn:
    merged = environment()
    var = Path(merged.get("VAR_DIR") or BASE_DIR / "var").resolve()
    merged |= {"VAR_DIR": str(var), "RUN_LOCK": str(hold_run_lock(var))}
    install(RUNTIME)
    os.chdir(BASE_DIR)
    os.execve(PYTHON, [str(PYTHON), "manage.py", "up", *arguments], merged)  # noqa: S606


def main(task: str, *arguments: str) -> NoReturn:
    if task == "run":
        run(list(arguments))
    install(DEVELOPMENT)
    raise SystemExit(0)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        raise SystemExit(130) from None
