"""Alerts by e-mail: told in time, repeated quietly, cleared once, and to nobody who does not want them."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import AuditEntry, Role, User, Workspace
from config.schedule import TIMETABLE
from monitoring.actions import alerts
from monitoring.actions.alerts import note_alerts, tell_alerts, watch
from monitoring.attention import Trouble
from monitoring.models import Alert, AlertChoice
from tests.factories import make_member, make_workspace
from tests.monitoring.test_attention import canary, device_gone, device_of, running

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
MOMENTS = ("since", "seen_at", "told_at", "ended_at", "due_at")


def later(**span: int) -> None:
    """As if so much time had passed."""
    Alert.objects.update(**{moment: F(moment) - timedelta(**span) for moment in MOMENTS})


def trouble(rule: str = "device_gone", about: str = "device:1", title: str = "Shop 1: banned") -> Trouble:
    return Trouble("red", title, "It waits.", "/devices/", "Open", about=about, rule=rule)


def subjects() -> list[str]:
    found = [str(sent.subject) for sent in mail.outbox]
    mail.outbox.clear()
    return found


def minute(workspace: Workspace, *found: Trouble, **span: int) -> list[str]:
    """What is told when the clock looks, so much later, and finds this."""
    later(**(span or {"minutes": 1}))
    assert note_alerts(workspace, found)
    tell_alerts()
    return subjects()


def test_a_trouble_is_told_at_once_then_after_an_hour_then_four_then_daily(workspace: Workspace) -> None:
    found = trouble()
    assert minute(workspace, found) == ["Alice's shop: Shop 1: banned"]
    for span, told in [
        ({"minutes": 1}, 0),
        ({"minutes": 58}, 0),
        ({"minutes": 1}, 1),
        ({"minutes": 239}, 0),
        ({"minutes": 1}, 1),
        ({"hours": 23}, 0),
        ({"hours": 1}, 1),
        ({"hours": 23}, 0),
        ({"hours": 1}, 1),
    ]:
        assert len(minute(workspace, found, **span)) == told, span
    assert Alert.objects.get().told == 5


def test_a_repetition_says_since_when(workspace: Workspace) -> None:
    minute(workspace, trouble())
    later(hours=1)
    note_alerts(workspace, [trouble()])
    tell_alerts()
    (sent,) = mail.outbox
    assert sent.subject == "Alice's shop: Still: Shop 1: banned"
    since = Alert.objects.get().since.astimezone(workspace.zone)
    assert f"(since {since:%a %-d %b, %H:%M})" in sent.body


def test_a_rule_may_wait_before_anybody_is_told(workspace: Workspace) -> None:
    found = trouble("dead", "campaign:1")
    assert minute(workspace, found) == []
    assert minute(workspace, found, minutes=9) == []
    assert len(minute(workspace, found)) == 1
    other = trouble("dead", "campaign:2")
    minute(workspace, found, other)
    minute(workspace, found)
    assert minute(workspace, found, minutes=20) == [], "it was over before anybody had to know"


def test_that_it_is_over_is_told_once_and_only_to_those_who_were_told(workspace: Workspace) -> None:
    minute(workspace, trouble())
    assert minute(workspace) == []
    assert minute(workspace, minutes=4) == []
    assert minute(workspace) == ["Alice's shop: All clear: Shop 1: banned"]
    assert minute(workspace, hours=30) == []


def test_what_comes_and_goes_is_told_of_once(workspace: Workspace) -> None:
    told = []
    for turn in range(30):
        told += minute(workspace, *([trouble()] if turn % 2 == 0 else []))
    assert told == ["Alice's shop: Shop 1: banned"]
    for _ in range(5):
        told += minute(workspace)
    told += minute(workspace, trouble())
    told += minute(workspace, trouble(), minutes=3)
    assert len(told) == 2, "new trouble right after the all clear waits"
    told += minute(workspace, trouble(), minutes=2)
    assert told[1:] == ["Alice's shop: All clear: Shop 1: banned", "Alice's shop: Shop 1: banned"]


def test_what_happens_in_one_minute_comes_in_one_e_mail(workspace: Workspace) -> None:
    minute(workspace, trouble(about="device:9", title="Shop 9: offline"))
    later(minutes=6)
    note_alerts(workspace, [])
    later(minutes=6)
    note_alerts(workspace, [trouble(), trouble(about="device:2", title="Shop 2: banned")])
    tell_alerts()
    (sent,) = mail.outbox
    assert sent.subject == "Alice's shop: 2 things need you"
    for part in ("Needs you", "Shop 1: banned", "Shop 2: banned", "All clear", "Shop 9: offline"):
        assert part in sent.body


def test_the_e_mail_has_both_parts_and_links_and_no_person_in_it(workspace: Workspace, settings: Any) -> None:
    settings.SITE_URL = "https://fleet.example"
    device = device_of(workspace, state="banned", name="Shop <1> & Sons")
    campaign = running(workspace, device, {"dead": 1}, name="Sale")
    assert watch() == 1
    (sent,) = mail.outbox
    assert sent.to == ["alice@example.com"]
    link = f"https://fleet.example/devices/{device.uuid}/"
    assert "Shop <1> & Sons: banned" in sent.body
    assert link in sent.body
    ((html, kind),) = [(str(part[0]), part[1]) for part in sent.alternatives]  # type: ignore[attr-defined]
    assert kind == "text/html"
    assert "Shop &lt;1&gt; &amp; Sons: banned" in html
    assert f'href="{link}"' in html
    assert "WhatsApp has stopped this number. 3 messages wait for it." in html
    assert "This is over." not in html
    assert "https://fleet.example/settings/alerts/" in sent.body
    assert sent.extra_headers["List-Unsubscribe"] == "<https://fleet.example/settings/alerts/>"
    for text in (str(sent.body), html):
        assert "<script" not in text
        assert not re.search(r"\+60\d{6}", text)
    assert campaign.name not in sent.subject


def test_a_long_e_mail_names_the_first_and_counts_the_rest(workspace: Workspace) -> None:
    note_alerts(workspace, [trouble(about=f"device:{number}", title=f"Shop {number}.") for number in range(30)])
    tell_alerts()
    (sent,) = mail.outbox
    assert sent.subject == "Alice's shop: 30 things need you"
    assert "Shop 19." in sent.body
    assert "Shop 20." not in sent.body
    assert "And 10 more." in sent.body


@pytest.mark.parametrize("name", ["A\nBcc: all@example.com", "x" * 80, "Ünï\r\ncode"])
def test_names_cannot_write_headers(workspace: Workspace, name: str) -> None:
    workspace.name = name
    workspace.save()
    minute(workspace)
    note_alerts(workspace, [trouble(title="Shop\r\nBcc: all@example.com " + "y" * 200)])
    tell_alerts()
    (sent,) = mail.outbox
    assert "\n" not in sent.subject
    assert len(sent.subject) <= 120
    assert sent.message()["Bcc"] is None


# ---- Who is told


def test_owners_are_told_unless_they_do_not_want_it_and_managers_who_do(workspace: Workspace, alice: User) -> None:
    manager, silent = make_member(workspace, Role.MANAGER), make_member(workspace, Role.MANAGER)
    viewer = make_member(workspace, Role.VIEWER)
    gone = make_member(workspace, Role.MANAGER, is_active=False)
    for member in (manager, viewer, gone):
        AlertChoice.objects.create(workspace=workspace, user=member, wanted=True)
    minute(workspace)
    note_alerts(workspace, [trouble()])
    tell_alerts()
    assert mail.outbox.pop().to == [alice.email, manager.email]
    assert silent.email
    AlertChoice.objects.create(workspace=workspace, user=alice, wanted=False)
    AlertChoice.objects.filter(user=manager).delete()
    assert minute(workspace, trouble(), hours=1) == [], "nobody wants it"
    assert minute(workspace, trouble()) == []


def test_a_workspace_hears_of_its_own_troubles_only(workspace: Workspace, charlie: User) -> None:
    device_gone(workspace)
    canary(charlie.owned_workspace)
    later(minutes=1)
    watch()
    later(minutes=10)
    watch()
    told = {tuple(sent.to): sent.subject for sent in mail.outbox}
    assert told == {
        ("alice@example.com",): "Alice's shop: Shop 1: unlinked",
        ("charlie@example.com",): "Charlie's shop: Sale: 5 people wait for your word",
    }


def test_an_idle_workspace_is_not_looked_into(workspace: Workspace, django_assert_max_num_queries: Any) -> None:
    for _ in range(5):
        make_workspace()
    with django_assert_max_num_queries(8):
        assert watch() == 0


# ---- When something goes wrong


def test_a_failure_is_tried_again_by_the_next_run(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> int:
        raise OSError("mail server away")

    minute(workspace)
    note_alerts(workspace, [trouble()])
    with monkeypatch.context() as away:
        away.setattr(EmailBackend, "send_messages", refuse)
        assert tell_alerts() == 0
    assert Alert.objects.get().told == 0
    assert minute(workspace, trouble()) == ["Alice's shop: Shop 1: banned"]
    assert minute(workspace, trouble()) == []


def test_whoever_claimed_an_alert_and_died_has_it_told_by_another(workspace: Workspace) -> None:
    note_alerts(workspace, [trouble()])
    assert len(alerts._claim()) == 1
    assert tell_alerts() == 0, "somebody is at it"
    assert minute(workspace, trouble(), minutes=6) == ["Alice's shop: Shop 1: banned"]


def test_what_ended_while_the_e_mail_was_on_its_way_is_cleared_later(workspace: Workspace) -> None:
    note_alerts(workspace, [trouble()])
    claimed = alerts._claim()
    note_alerts(workspace, [])
    alerts._tell(claimed)
    assert subjects() == ["Alice's shop: Shop 1: banned"]
    assert minute(workspace, minutes=5) == ["Alice's shop: All clear: Shop 1: banned"]


@pytest.mark.django_db(transaction=True)
def test_an_e_mail_leaves_outside_of_any_transaction(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = []
    send = EmailBackend.send_messages

    def look(self: EmailBackend, messages: Any) -> int:
        inside.append(connection.in_atomic_block)
        return send(self, messages)

    monkeypatch.setattr(EmailBackend, "send_messages", look)
    note_alerts(workspace, [trouble()])
    assert tell_alerts() == 1
    assert inside == [False]


def test_old_alerts_are_forgotten(workspace: Workspace) -> None:
    minute(workspace, trouble())
    minute(workspace)
    minute(workspace, minutes=6)
    later(days=31)
    watch()
    assert not Alert.objects.exists()


def test_the_clock_looks_every_minute() -> None:
    (line,) = [job for job in TIMETABLE if job.func.__module__ == "monitoring.jobs.alerts"]
    assert (line.interval, line.queue_name) == (60, "webhooks")


# ---- The setting


def test_a_member_chooses_for_themselves_and_the_ledger_says_so(
    workspace: Workspace, alice: User, sign_in: SignIn
) -> None:
    manager = make_member(workspace, Role.MANAGER)
    assert "They go to alice@example.com." in sign_in(alice).get("/settings/alerts/").content.decode()
    for user, wanted in ((alice, True), (manager, False)):
        page = sign_in(user).get("/settings/alerts/").content.decode()
        assert ('name="wanted" checked' in page) is wanted
        data = {} if wanted else {"wanted": "on"}
        assert sign_in(user).post("/settings/alerts/save/", data)["Location"] == "/settings/alerts/"
        sign_in(user).post("/settings/alerts/save/", data)
    choices = dict(AlertChoice.objects.values_list("user", "wanted"))
    assert choices == {alice.pk: False, manager.pk: True}
    entries = AuditEntry.objects.filter(action="member.alerts_chosen").values_list("actor", "detail__wanted")
    assert dict(entries) == choices, "once for each: the same again is no change"


def test_a_viewer_sees_who_is_told_and_chooses_nothing(workspace: Workspace, bob: User, sign_in: SignIn) -> None:
    note_alerts(workspace, [trouble()])
    page = sign_in(bob).get("/settings/alerts/").content.decode()
    assert "Alerts go to owners and managers who want them." in page
    assert "Shop 1: banned" in page
    assert 'name="wanted"' not in page
    assert sign_in(bob).post("/settings/alerts/save/", {"wanted": "on"}).status_code == 403


def test_alerts_of_others_are_not_on_the_page(workspace: Workspace, charlie: User, sign_in: SignIn) -> None:
    note_alerts(workspace, [trouble()])
    assert "Shop 1" not in sign_in(charlie).get("/settings/alerts/").content.decode()


@pytest.mark.django_db(transaction=True)
def test_clocks_that_look_at_once_tell_once(workspace: Workspace) -> None:
    device_gone(workspace)

    def look(_: int) -> int:
        try:
            return watch()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as clocks:
        assert sum(clocks.map(look, range(8))) == 1
    assert subjects() == ["Alice's shop: Shop 1: unlinked"]


def test_workspaces_where_all_is_well_cost_no_further_questions(workspace: Workspace) -> None:
    """3,000 devices are looked into each minute: what is asked for each of 200 workspaces took 10 s of it."""

    def asked() -> int:
        with CaptureQueriesContext(connection) as context:
            watch()
        assert not Alert.objects.exists()
        return len(context)

    running(workspace, device_of(workspace))
    alone = asked()
    for _ in range(3):
        another = make_workspace()
        running(another, device_of(another), {"pending": 3, "expires_at": timezone.now() + timedelta(days=1)})
    assert asked() <= alone + 1  # the campaigns that expire
