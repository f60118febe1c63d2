"""The rules behind "needs attention": each speaks while its cause is there, and is silent when it is gone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time, timedelta
from html import unescape
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import User, Workspace
from campaigns.models import Campaign, Lane, MinuteMeter, Stream
from devices.models import Device, DeviceEvent, Host
from monitoring.attention import RULES, Trouble, attention
from tests.factories import make_campaign, make_device, make_host

pytestmark = pytest.mark.django_db

LONG_AGO = timedelta(minutes=20)
Change = Callable[[], Any]


def device_of(workspace: Workspace, **fields: Any) -> Device:
    then = timezone.now() - LONG_AGO
    host = make_host(started_at=then)
    return make_device(workspace, **{"name": "Shop 1", "owner": host, "state_at": then, **fields})


def running(workspace: Workspace, device: Device, stream: dict[str, Any] | None = None, **fields: Any) -> Campaign:
    now = timezone.now()
    campaign = make_campaign(
        workspace,
        devices=(device,),
        **{"name": "Sale", "state": "running", "launched_at": now, "planned_at": now, **fields},
    )
    values = {"pending": 3, "running": campaign.state == "running", **(stream or {})}
    Stream.objects.create(workspace=workspace, campaign=campaign, device=device, lane=Lane.CAMPAIGN, **values)
    return campaign


def changed(row: Any, **fields: Any) -> Change:
    return lambda: type(row).objects.filter(pk=row.pk).update(**fields)


# Each makes the cause and says how it goes away.


def no_engine(workspace: Workspace) -> Change:
    make_host(lease_until=timezone.now() - LONG_AGO)
    return lambda: Host.objects.update(lease_until=timezone.now() + LONG_AGO)


def question(workspace: Workspace) -> Change:
    device = device_of(workspace, state="banned")
    campaign = running(workspace, device, failover="ask")
    return changed(campaign, failover="wait")


def canary(workspace: Workspace) -> Change:
    campaign = running(workspace, device_of(workspace), canary=2, awaiting_word=5)
    return changed(campaign, canary_passed_at=timezone.now())


def paused_itself(workspace: Workspace) -> Change:
    campaign = running(workspace, device_of(workspace), state="paused", paused_why="Too many failed.")
    return changed(campaign, state="running")


def late_start(workspace: Workspace) -> Change:
    device_of(workspace)
    campaign = make_campaign(workspace, name="Sale", state="scheduled", start_at=timezone.now() - LONG_AGO)
    return changed(campaign, start_at=timezone.now() + LONG_AGO)


def device_gone(workspace: Workspace) -> Change:
    device = device_of(workspace, state="unlinked")
    running(workspace, device)
    return changed(device, state="online")


def device_away(workspace: Workspace) -> Change:
    device = device_of(workspace, state="offline")
    running(workspace, device)
    return changed(device, state="online")


def uncertain(workspace: Workspace) -> Change:
    campaign = running(workspace, device_of(workspace), {"uncertain": 2})
    return lambda: Stream.objects.filter(campaign=campaign).update(uncertain=0)


def dead(workspace: Workspace) -> Change:
    campaign = running(workspace, device_of(workspace), {"dead": 2})
    return lambda: Stream.objects.filter(campaign=campaign).update(dead=0)


def failure_rate(workspace: Workspace) -> Change:
    device = device_of(workspace)
    start = timezone.now() - LONG_AGO
    meter = MinuteMeter.objects.create(workspace=workspace, device=device, start=start, sent=70, failed=30)
    return changed(meter, start=timezone.now() - timedelta(minutes=61))


def forecast(workspace: Workspace) -> Change:
    device = device_of(workspace, min_delay=10, max_delay=30)  # 1,000 messages take over five hours
    campaign = running(workspace, device, {"pending": 1_000, "expires_at": timezone.now() + timedelta(hours=4)})
    return lambda: Stream.objects.filter(campaign=campaign).update(expires_at=timezone.now() + timedelta(hours=7))


def device_held(workspace: Workspace) -> Change:
    device = device_of(workspace, held_until=timezone.now() + LONG_AGO, held_reason="refused 463")
    running(workspace, device)
    return changed(device, held_until=timezone.now())


def cap(workspace: Workspace) -> Change:
    today = timezone.now().astimezone(workspace.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    device = device_of(workspace, daily_cap=50, day_used=50, day_start=today)
    running(workspace, device)
    return changed(device, daily_cap=60)


CAUSES = {
    made.__name__: made
    for made in (
        no_engine,
        question,
        canary,
        paused_itself,
        late_start,
        device_gone,
        device_away,
        uncertain,
        failure_rate,
        forecast,
        device_held,
        cap,
        dead,
    )
}


def told(workspace: Workspace) -> dict[str, Trouble]:
    return {trouble.rule: trouble for trouble in attention(workspace)}


def test_there_is_a_cause_for_every_rule() -> None:
    assert list(CAUSES) == [rule.key for rule in RULES]


@pytest.mark.parametrize("rule", CAUSES)
def test_each_rule_speaks_while_its_cause_lasts_and_only_of_its_own_workspace(
    workspace: Workspace, charlie: User, rule: str
) -> None:
    also = {"question": {"device_gone"}}.get(rule, set())  # a banned number is told of itself, too
    goes_away = CAUSES[rule](workspace)
    found = told(workspace)
    assert set(found) == {rule, *also}
    trouble = found[rule]
    assert trouble.title
    assert trouble.text
    assert rule == "no_engine" or (trouble.url.startswith("/") and trouble.action and trouble.about)
    assert rule == "no_engine" or not told(charlie.owned_workspace)
    goes_away()
    assert set(told(workspace)) == also


def test_links_of_all_rules_lead_to_pages_that_answer(workspace: Workspace, as_alice: Any) -> None:
    for rule, made in CAUSES.items():
        if rule != "no_engine":
            Device.objects.filter(workspace=workspace, name="Shop 1").update(name=f"Before {rule}")
            made(workspace)
    found = attention(workspace)
    assert {trouble.rule for trouble in found} == set(CAUSES) - {"no_engine"}
    for url in {trouble.url for trouble in found}:
        assert as_alice.get(url).status_code == 200, url
    page = unescape(as_alice.get("/dashboard").content.decode())
    assert all(trouble.title in page for trouble in found)


def test_what_waits_for_a_decision_comes_before_old_failures(workspace: Workspace) -> None:
    dead(workspace)
    Device.objects.update(name="Shop 0")
    canary(workspace)
    assert [trouble.rule for trouble in attention(workspace)] == ["canary", "dead"]


def test_a_flapping_number_is_away_since_it_was_last_online(workspace: Workspace) -> None:
    now = timezone.now()
    device = device_of(workspace, state="offline", state_at=now)
    running(workspace, device)
    events = [("online", 60), ("offline", 30), ("connecting", 3), ("offline", 0)]
    for kind, minutes in events:
        DeviceEvent.objects.create(workspace=workspace, device=device, kind=kind, at=now - timedelta(minutes=minutes))
    Host.objects.update(started_at=now - timedelta(hours=2))
    since = (now - timedelta(minutes=30)).astimezone(workspace.zone)
    assert f"Since {since:%a %-d %b, %H:%M}." in told(workspace)["device_away"].text
    DeviceEvent.objects.create(workspace=workspace, device=device, kind="online", at=now)
    DeviceEvent.objects.create(workspace=workspace, device=device, kind="offline", at=now)
    assert told(workspace) == {}, "it was there a moment ago"


def test_a_cap_says_when_it_goes_on(workspace: Workspace) -> None:
    cap(workspace)
    midnight = (timezone.now().astimezone(workspace.zone) + timedelta(days=1)).replace(hour=0, minute=0)
    text = told(workspace)["cap"].text
    assert text == f"3 messages wait for it. It goes on {midnight:%a %-d %b}, 00:00."


def test_a_few_failures_among_a_few_messages_alarm_nobody(workspace: Workspace) -> None:
    device = device_of(workspace)
    for sent, failed, start in ((10, 9, 5), (900, 100, 10)):
        at = timezone.now() - timedelta(minutes=start)
        meter = MinuteMeter.objects.create(workspace=workspace, device=device, start=at, sent=sent, failed=failed)
        assert told(workspace) == {}
        meter.delete()


def test_hours_that_never_meet_have_no_end_in_sight(workspace: Workspace) -> None:
    device = device_of(workspace, sending_from=time(9), sending_to=time(10))
    Workspace.objects.filter(pk=workspace.pk).update(quiet_from=time(8), quiet_to=time(12))
    workspace.refresh_from_db()
    running(workspace, device, {"pending": 5, "expires_at": timezone.now() + timedelta(days=9)})
    assert "no end is in sight" in told(workspace)["forecast"].text


def test_failed_tests_are_told_of_without_a_campaign(workspace: Workspace) -> None:
    device = device_of(workspace)
    Stream.objects.create(workspace=workspace, device=device, lane=Lane.DIRECT, running=True, dead=1, uncertain=1)
    found = told(workspace)
    assert found["dead"].title == "Tests and replies: 1 message failed"
    assert found["uncertain"].title == "Tests and replies: 1 message needs a look"
    assert found["dead"].url == "/queue/"
