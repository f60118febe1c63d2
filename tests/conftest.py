"""One PostgreSQL and one Valkey for a whole test session, in a private folder, over Unix sockets; and the cast.

Alice owns the workspace, Bob looks on, Charlie is a stranger with a workspace of his own, Sam is staff.
"""

from __future__ import annotations

import gc
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test import Client, TransactionTestCase
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from config.embedded import FORGETFUL, temporary_servers

if TYPE_CHECKING:  # pytest reads this file before Django is set up: models are imported where they are used
    from redis import Redis

    from accounts.models import User, Workspace

session = ExitStack()
gc.set_threshold(50_000, 20, 20)  # thousands of collected tests stay: do not look through them again and again

# A machine that is busy makes no example wrong.
hypothesis_settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("any machine")


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


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`-m faults` need not import all the files that never say the word."""
    marker = config.option.markexpr
    if collection_path.suffix != ".py" or not marker.isidentifier():
        return None
    says = [file for file in (collection_path, collection_path.with_name("conftest.py")) if file.exists()]
    return None if any(marker in file.read_text() for file in says) else True


MANY = 1_000  # rows, beyond which references are dearer to check than files are to make
FROM_MIGRATIONS = {"auth_permission", "django_content_type"}


def delete_rows(_test: TransactionTestCase) -> None:
    """What a test has committed. `flush` would truncate all tables and make the permissions anew: ten times dearer."""
    tables = sorted(set(connection.introspection.django_table_names(include_views=False)) - FROM_MIGRATIONS)
    with transaction.atomic(), connection.cursor() as cursor:
        # A web process that still answers must not add to what is being deleted.
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN SHARE ROW EXCLUSIVE MODE")
        count = "SELECT '{0}', (SELECT count(*) FROM (SELECT FROM {0} LIMIT {1}) few)"
        cursor.execute(" UNION ALL ".join(count.format(table, MANY) for table in tables))
        filled = {table: rows for table, rows in cursor.fetchall() if rows}
        if MANY in filled.values():
            cursor.execute(f"TRUNCATE {', '.join(filled)} CASCADE")
            return
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        for table in filled:
            cursor.execute(f"DELETE FROM {table}")


TransactionTestCase._fixture_teardown = delete_rows  # type: ignore[attr-defined]


@pytest.fixture
def alice(db: None) -> User:
    from tests.factories import make_user

    return make_user("alice@example.com")


@pytest.fixture
def workspace(alice: User, charlie: User) -> Workspace:
    """Hers. There is always a second one: Charlie's."""
    from tests.factories import make_workspace

    return make_workspace(alice, name="Alice's shop")


@pytest.fixture
def bob(workspace: Workspace) -> User:
    from tests.factories import make_member

    return make_member(workspace, "viewer", email="bob@example.com")


@pytest.fixture
def charlie(db: None) -> User:
    from tests.factories import make_user, make_workspace

    charlie = make_user("charlie@example.com")
    make_workspace(charlie, name="Charlie's shop")
    return charlie


@pytest.fixture
def sam(db: None) -> User:
    from tests.factories import make_user

    return make_user("sam@example.com", is_staff=True)


@pytest.fixture
def sign_in() -> Callable[[User], Client]:
    def signed_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return signed_in


@pytest.fixture
def as_alice(alice: User, workspace: Workspace, sign_in: Callable[[User], Client]) -> Client:
    return sign_in(alice)


@pytest.fixture
def as_bob(bob: User, sign_in: Callable[[User], Client]) -> Client:
    return sign_in(bob)


@pytest.fixture
def as_charlie(charlie: User, sign_in: Callable[[User], Client]) -> Client:
    return sign_in(charlie)


@pytest.fixture
async def look_from_the_loop(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Lets a test that runs in an event loop ask the database as if it did not."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    connection.ensure_connection()  # of this asynchronous context, which the test inherits
    yield
    connection.close()


@pytest.fixture
def redis() -> Iterator[Redis]:
    """The jobs' Redis, empty before and after."""
    import django_rq

    jobs = django_rq.get_connection("clock")
    jobs.flushdb()
    yield jobs
    jobs.flushdb()
