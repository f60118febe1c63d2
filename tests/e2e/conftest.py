"""A real site for a real browser: Daphne on a free port, over the test session's PostgreSQL and Valkey."""

from __future__ import annotations

import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

if TYPE_CHECKING:
    from accounts.models import User

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
READY_S = 30
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


@dataclass
class Site:
    """The running web process. `env` is what any other process of the installation needs to join it."""

    url: str
    env: dict[str, str]
    log_dir: Path
    stack: ExitStack = field(default_factory=ExitStack)

    def start(self, *manage: str) -> subprocess.Popen[bytes]:
        """Run `manage.py …` beside the site until the test session ends; the caller may end it sooner."""
        name = "-".join(re.sub(r"\W", "", part) for part in manage[:2])
        return self.stack.enter_context(running([sys.executable, "manage.py", *manage], self.env, self.log_dir / name))


@contextmanager
def running(command: list[str], env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.with_suffix(".log").open("ab") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"The site did not start:\n{log.read_text()[-3000:]}")


@contextmanager
def served(folder: Path, **env: str) -> Iterator[Site]:
    """A site over the test database; `env` changes what its processes are told."""
    port = free_port()
    database = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}")
    daphne = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "config.asgi:application"]
    with ExitStack() as stack:
        # pytest's own paths are too long for sockets
        sockets = stack.enter_context(tempfile.TemporaryDirectory(prefix="flotilla-e2e-"))
        told = {
            **os.environ,
            "DATABASE_URL": urlunsplit(database),
            "PORT": str(port),
            "SITE_URL": f"http://127.0.0.1:{port}",
            "SIGNUP": "open",
            "ALLOWED_HOSTS": "127.0.0.1,localhost",
            "VAR_DIR": str(folder),
            "SIMULATOR_SOCKET": f"{sockets}/network",
            "SIMULATOR_CONTROL": f"{sockets}/phones",
            **env,
        }
        process = stack.enter_context(running(daphne, told, folder / "web"))
        site = Site(f"http://127.0.0.1:{port}", told, folder)
        wait_until_up(f"{site.url}/accounts/login/", process, folder / "web.log")
        with site.stack:
            yield site


@pytest.fixture(scope="session")
def site(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with served(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def start_fleet(site: Site, transactional_db: None, tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Start all that runs beside the web: `start_fleet("--ack-ms", "20")` says how the simulated network behaves.

    Answers the network's ledger. The processes end with the test, before its rows do.
    """
    env = {**site.env, "SESSIONS_DIR": str(tmp_path / "sessions")}
    manage = [sys.executable, "manage.py"]
    with ExitStack() as stack:

        def started(*behaviour: str) -> Path:
            ledger = tmp_path / "ledger.log"
            network = [sys.executable, "-m", "devices.gateway.simulator", "--network", "--ledger", str(ledger)]
            network += ["--socket", env["SIMULATOR_SOCKET"], "--control", env["SIMULATOR_CONTROL"], *behaviour]
            programs = {
                "network": network,
                "worker": [*manage, "work", "clock", "planning", "webhooks"],
                "worker-files": [*manage, "work", "imports", "exports"],
                "clock": [*manage, "run_clock"],
                "engine": [*manage, "run_engine"],
            }
            for name, command in programs.items():
                stack.enter_context(running(command, env, tmp_path / name))
            return ledger

        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One per module: while Playwright runs, the thread counts as asynchronous, and async tests could not."""
    if not Path(CHROMIUM).exists():
        pytest.fail(f"The browser tests need {CHROMIUM}: run `apt install chromium`, or set CHROMIUM to its path.")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()
    os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE")


@pytest.fixture
def open_page(site: Site, browser: Browser, transactional_db: None) -> Iterator[Callable[..., Page]]:
    """Open a page as a new visitor: `open_page(viewport=PHONE, color_scheme="dark")`.

    The test fails when any of its pages logged an error: a script that broke, or one the content policy stopped.
    """
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def opened(**options: object) -> Page:
        context = browser.new_context(
            **{"base_url": site.url, "viewport": DESK, "reduced_motion": "reduce", **options}  # type: ignore[arg-type]
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if is_fault(line.type, line.text) else None)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not errors, "\n".join(errors)


def is_fault(kind: str, text: str) -> bool:
    """The browser also logs each 4xx answer, each lost socket and each request that a newer one replaced.

    Tests of those look at the page. A request that failed is logged as `htmx:sendError` besides.
    """
    return kind == "error" and not re.search(
        r"Failed to load resource|WebSocket connection to|htmx:(wsError|afterRequest|sendAbort)|^\[object Event\]", text
    )


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    return open_page()


@pytest.fixture
def sign_in(open_page: Callable[..., Page]) -> Callable[..., Page]:
    """A page of somebody who is signed in already: `sign_in(user, viewport=PHONE)`."""

    def signed_in(user: User, **options: object) -> Page:
        client = Client()
        client.force_login(user)
        page = open_page(**options)
        page.context.add_cookies(
            [
                {"name": name, "value": cookie.value, "domain": "127.0.0.1", "path": "/"}
                for name, cookie in client.cookies.items()
            ]
        )
        return page

    return signed_in


@dataclass
class SignedUp:
    page: Page
    user: User
    password: str


@pytest.fixture
def sign_up(open_page: Callable[..., Page]) -> Callable[..., SignedUp]:
    """Sign somebody up through the page, as a newcomer does: `sign_up("Alice's Shop", viewport=PHONE)`."""

    def signed_up(workspace: str = "Alice's Shop", **options: object) -> SignedUp:
        page = open_page(**{"timezone_id": "Asia/Kuala_Lumpur", **options})
        email, password = f"{secrets.token_hex(4)}@example.com", secrets.token_urlsafe(16)
        page.goto("/accounts/signup/")
        page.get_by_label("E-mail").fill(email)
        page.get_by_label("Password").fill(password)
        page.get_by_label("Workspace").fill(workspace)
        page.get_by_role("button", name="Sign up").click()
        expect(page).to_have_url(re.compile(r"/dashboard$"))
        return SignedUp(page, get_user_model().objects.get(email=email), password)

    return signed_up
