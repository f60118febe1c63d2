"""Claims and settlements a second for many devices on one connection, by what a workspace asks of each claim.

`python -m tests.benchmarks.bench_claim [--devices 500] [--rounds 20]`: the same number of messages with no settings,
with quiet hours that are over, with a frequency cap that nobody has reached, and with variants; durable PostgreSQL.
"""

from __future__ import annotations

import argparse
import os
import secrets
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from config.embedded import temporary_servers

SETTINGS: dict[str, dict[str, Any]] = {
    "no settings": {},
    "quiet hours": {"quiet_from": "00:00:00", "quiet_to": "00:00:01"},
    "frequency cap": {"frequency_cap": 1_000},
    "both": {"quiet_from": "00:00:00", "quiet_to": "00:00:01", "frequency_cap": 1_000},
}


def prepare(devices: int, people: int) -> tuple[Any, list[Any]]:
    """One workspace, its devices on this host, and a planned campaign."""
    from django.db.models.functions import Now

    from campaigns.actions.planning import plan_chunk
    from campaigns.models import Campaign, CampaignState, Contact
    from devices.hosting import leases
    from devices.models import Host
    from tests.factories import make_campaign, make_device, make_workspace

    lease = leases.begin("here", ["simulator"], leases.LeaseTimes())
    workspace = make_workspace(device_limit=devices)
    owned = [make_device(workspace, owner_id=lease.host, epoch=1, min_delay=0, max_delay=0) for _ in range(devices)]
    Contact.objects.bulk_create(
        (Contact(workspace=workspace, phone=f"+6012{number:08}") for number in range(people)), batch_size=5_000
    )
    campaign = make_campaign(workspace, devices=tuple(owned), state=CampaignState.RUNNING)
    Campaign.objects.filter(pk=campaign.pk).update(launched_at=Now())
    while not plan_chunk(campaign.pk):
        pass
    Host.objects.update(lease_until=Now() + timedelta(hours=1))
    return lease, owned


def claim_round(claim: Callable[..., Any], lease: Any, owned: list[Any]) -> tuple[float, float, int]:
    """Seconds of the claim, seconds of the settlement, messages."""
    from campaigns import outbox
    from campaigns.outbox import Ask, Claimed, Settlement

    asks = [Ask(device.pk, 1, 0.5, secrets.token_bytes(32)) for device in owned]
    began = time.perf_counter()
    answers = [answer for answer in claim(lease, asks) if isinstance(answer, Claimed)]
    claimed = time.perf_counter()
    outbox.settle(
        [
            Settlement(one.device, 1, one.message, one.tag, "sent", "", "Hello", 0.0, time.time(),
                       f"id-{one.message}", "chat", time.time())
            for one in answers
        ]
    )  # fmt: skip
    return claimed - began, time.perf_counter() - claimed, len(answers)


def run_all(devices: int, rounds: int) -> None:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from accounts.models import Workspace
    from campaigns import outbox

    call_command("migrate", verbosity=0)
    lease, owned = prepare(devices, devices * (rounds + 2) * len(SETTINGS))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    for _ in range(4):
        claim_round(outbox.claim, lease, owned)
    took: dict[str, list[tuple[float, float, int]]] = {name: [] for name in SETTINGS}
    for _ in range(rounds):  # in turns, so that all see the same machine
        for name, fields in SETTINGS.items():
            nothing = {"quiet_from": None, "quiet_to": None, "frequency_cap": None}
            Workspace.objects.update(**{**nothing, **fields})
            took[name].append(claim_round(outbox.claim, lease, owned))
    for name, found in took.items():
        claims = sorted(claim for claim, _, _ in found)
        messages = sum(count for _, _, count in found)
        whole = sum(claim + settle for claim, settle, _ in found)
        print(  # noqa: T201
            f"{name}: {messages / whole:,.0f} messages/s claimed and settled; "
            f"a claim of {devices} devices takes {1_000 * claims[len(claims) // 2]:.1f} ms (median)"
        )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--devices", type=int, default=500)
    options.add_argument("--rounds", type=int, default=20)
    asked = options.parse_args()
    with temporary_servers() as urls:
        os.environ.update(urls, SECRET_KEY=secrets.token_urlsafe(48), DJANGO_SETTINGS_MODULE="config.settings")
        run_all(asked.devices, asked.rounds)


if __name__ == "__main__":
    main()
