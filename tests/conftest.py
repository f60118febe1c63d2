"""One PostgreSQL and one Valkey for a whole test session, in a private folder, over Unix sockets."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.conf import settings

from config.embedded import FORGETFUL, temporary_servers

session = ExitStack()


def start_servers() -> None:
    """Before Django reads its settings. xdist's workers inherit the controller's environment, servers included."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker:
        number = int(worker.removeprefix("gw")) + 1
        os.environ["REDIS_URL"] += f"?db={number}"
        os.environ["CHANNEL_PREFIX"] = worker  # publish and subscribe know no database numbers
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        return
    var = session.enter_context(tempfile.TemporaryDirectory(prefix="flotilla-var-"))
    (Path(var) / "static").mkdir()
    os.environ.update(
        session.enter_context(temporary_servers(*FORGETFUL)),
        DJANGO_SETTINGS_MODULE="config.settings",
        ENV_FILE="",
        SECRET_KEY=secrets.token_urlsafe(48),
        STATIC_MANIFEST="0",
        VAR_DIR=var,
        ALLOWED_HOSTS="localhost,127.0.0.1,testserver",
    )
    for name in ("DEBUG", "SIGNUP", "SITE_URL", "EMAIL_URL", "DATABASE_POOL", "VAULT_KEYS", "SESSIONS_DIR"):
        os.environ.pop(name, None)


start_servers()
_ = settings.DATABASES  # pytest-django sets Django up when it finds the settings read


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """A worker that inherits this reads the settings before it comes here, and shares its Redis with the others."""
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)


def pytest_unconfigure() -> None:
    session.close()
