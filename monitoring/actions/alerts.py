"""Alerts: noting what the rules find, and telling of it by e-mail, quietly."""

from __future__ import annotations

import logging
import smtplib
from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from accounts.audit import record
from accounts.models import User, Workspace
from campaigns.models import Campaign, CampaignState, Stream
from monitoring.alerting import mail_of, told_members
from monitoring.attention import EVERY_ONE, LASTS, RECENT, Ground, Trouble, attention_on
from monitoring.models import Alert, AlertChoice
from monitoring.models.alert import QUIET

logger = logging.getLogger(__name__)

NOTE_LOCK = 7_301_003  # any number no other advisory lock uses
AT_ONCE = 500
CLAIMED_FOR = timedelta(minutes=5)  # whoever claimed an alert and died has it told again after so long
KEPT = timedelta(days=30)
KEPT_UNTOLD = timedelta(hours=1)  # what was over before anybody was told


def watch() -> int:
    """Note what needs a person in every workspace, then tell; returns how many e-mails left. Safe on any number of
    clocks."""
    watched = watched_workspaces()
    ground = Ground(watched)
    told_of = set(Alert.objects.filter(ended_at__isnull=True).values_list("workspace", flat=True))
    for workspace in watched:
        try:
            found = attention_on(ground, workspace, named=EVERY_ONE)
            if found or workspace.pk in told_of:
                note_alerts(workspace, found)
        except Exception:  # what is odd about one workspace must not silence all others
            logger.exception("Workspace %d could not be looked into", workspace.pk)
    now = timezone.now()
    old = Q(ended_at__lt=now - KEPT) | Q(ended_at__lt=now - KEPT_UNTOLD, told_at__isnull=True)
    Alert.objects.filter(old, due_at__isnull=True).delete()
    return tell_alerts()


def watched_workspaces() -> list[Workspace]:
    """Those in which something is under way, was lately, or is told of."""
    lively = Q(state__in=[CampaignState.RUNNING, CampaignState.PAUSED, CampaignState.SCHEDULED])
    lately = Q(finished_at__gte=timezone.now() - RECENT)
    campaigns = Campaign.objects.filter(lively | lately).values("workspace")
    waiting = Stream.objects.unsent().filter(running=True).values("workspace")
    told = Alert.objects.filter(ended_at__isnull=True).values("workspace")
    found = Workspace.objects.filter(Q(pk__in=campaigns) | Q(pk__in=waiting) | Q(pk__in=told))
    return list(found.order_by("pk"))


@transaction.atomic
def note_alerts(workspace: Workspace, found: Sequence[Trouble]) -> bool:
    """Begin, go on with and end the workspace's alerts. False: somebody else does just now."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [NOTE_LOCK, workspace.pk % 2**31])
        if not cursor.fetchone()[0]:
            return False
    now = timezone.now()
    known = {(alert.rule, alert.about): alert for alert in Alert.objects.for_workspace(workspace).select_for_update()}
    for trouble in found:
        alert = known.pop((trouble.rule, trouble.about), None) or Alert(
            workspace=workspace, rule=trouble.rule, about=trouble.about, since=now, ended_at=now
        )
        if alert.ended_at is not None:
            _begin(alert, trouble)
        alert.title, alert.text, alert.url = trouble.title[:240], trouble.text[:600], trouble.url[:400]
        alert.seen_at = now
        alert.save()
    for alert in known.values():
        if alert.ended_at is None:
            _end(alert)
    return True


def _begin(alert: Alert, trouble: Trouble) -> None:
    """Anew, or once more before anybody was told that it is over: then it goes on as if it had never ended."""
    now = timezone.now()
    if alert.told:
        alert.due_at = alert.again_at()
    else:
        alert.since = now
        alert.due_at = alert.first_word_at(LASTS[trouble.rule])
    alert.ended_at = None


def _end(alert: Alert) -> None:
    """Who was told is told that it is over, once it has stayed so for a while."""
    alert.ended_at = timezone.now()
    alert.due_at = alert.ended_at + QUIET if alert.told else None
    alert.save(update_fields=["ended_at", "due_at"])


def tell_alerts() -> int:
    """One e-mail for each workspace about all that is due; returns how many left. Outside any transaction."""
    sent = 0
    claimed = _claim()
    for _, alerts in groupby(claimed, key=lambda alert: alert.workspace_id):
        sent += _tell(list(alerts))
    return sent


@transaction.atomic
def _claim() -> list[Alert]:
    now = timezone.now()
    due = Alert.objects.filter(due_at__lte=now).select_related("workspace").order_by("workspace", "pk")
    claimed = list(due.select_for_update(skip_locked=True, of=("self",))[:AT_ONCE])
    Alert.objects.filter(pk__in=[alert.pk for alert in claimed]).update(due_at=now + CLAIMED_FOR)
    return claimed


def _tell(alerts: Sequence[Alert]) -> bool:
    """``alerts`` of one workspace, as they were claimed. What could not be told is due again at once."""
    workspace = alerts[0].workspace
    to = told_members(workspace)
    sent = False
    try:
        if to:
            sent = bool(mail_of(workspace, alerts, to).send())
    except (OSError, smtplib.SMTPException):
        logger.exception("Alerts of workspace %d could not be sent; the next run tries again", workspace.pk)
        Alert.objects.filter(pk__in=[alert.pk for alert in alerts], due_at__isnull=False).update(due_at=timezone.now())
        return False
    _note_told(alerts)
    return sent


@transaction.atomic
def _note_told(alerts: Sequence[Alert]) -> None:
    """They may have ended, or begun anew, while the e-mail was on its way."""
    now = timezone.now()
    told = {alert.pk: alert.ended_at is not None for alert in alerts}
    for alert in Alert.objects.filter(pk__in=told).order_by("pk").select_for_update():
        alert.told_at = now
        if told[alert.pk]:  # what was told is that it is over
            alert.told = 0
            alert.due_at = None if alert.ended_at else alert.first_word_at(LASTS.get(alert.rule, timedelta()))
        else:
            alert.told += 1
            alert.due_at = now + QUIET if alert.ended_at else alert.again_at()
        alert.save(update_fields=["told", "told_at", "due_at"])


@transaction.atomic
def choose_alerts(workspace: Workspace, by: User, wanted: bool) -> None:
    """Whether ``by`` is told of this workspace's alerts by e-mail."""
    AlertChoice.objects.update_or_create(workspace=workspace, user=by, defaults={"wanted": wanted})
    record(workspace, by, "member.alerts_chosen", f"workspace:{workspace.uuid}", wanted=wanted)
