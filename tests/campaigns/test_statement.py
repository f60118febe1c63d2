"""The outbox's prepared statements: what they are given arrives as it was, and they survive a migration."""

from __future__ import annotations

import math

import pytest
from django.db import connection

from campaigns import outbox
from campaigns.outbox import Claimed
from campaigns.outbox.statement import rows_of
from devices.hosting import leases
from devices.hosting.leases import LeaseTimes
from devices.hosting.threads import DatabaseThread
from tests.campaigns.outbox_cases import ask, owned_device, running_campaign
from tests.factories import make_workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (
            "text",
            ["", "NULL", 'a "quoted" one', "back\\slash", "{br,aces}", " spaces ", "line\nfeed\t", None, "é漢🙂"],
        ),
        ("float8", [0.0, -1.5, 1e-323, math.inf, -math.inf, None]),
        ("bytea", [b"", b'\0\\"{}', bytes(range(256)), None]),
        ("bool", [True, False, None]),
        ("bigint", [0, -1, 2**62, None]),
        ("text", []),
    ],
)
def test_every_value_arrives_as_it_was(kind: str, values: list[object]) -> None:
    assert [row[0] for row in rows_of(f"SELECT * FROM unnest(%(values)s::{kind}[])", {"values": values})] == values


async def test_claims_go_on_after_a_migration_changed_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    lease = leases.begin("here", ["simulator"], LeaseTimes())
    make_workspace()
    workspace = make_workspace()
    devices = [owned_device(workspace, lease) for _ in range(2)]
    running_campaign(workspace, devices, 2)
    thread = DatabaseThread("claim")
    assert isinstance((await thread.run(outbox.claim, lease, ask(devices[0])))[0], Claimed)
    try:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE campaigns_message ALTER phone TYPE varchar(17)")
        [answer] = await thread.run(outbox.claim, lease, ask(devices[1]))
        assert isinstance(answer, Claimed)
    finally:
        thread.close()
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE campaigns_message ALTER phone TYPE varchar(16)")
        connection.close()
