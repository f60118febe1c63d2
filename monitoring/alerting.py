"""Who is told of alerts by e-mail, and what the e-mail says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from accounts.models import Membership, Role, User, Workspace
from campaigns.shown import counted
from monitoring.models import Alert, AlertChoice
from monitoring.models.alert import TOLD

SUBJECT_LENGTH = 120
LINES = 20  # of each part; Home has them all


@dataclass(frozen=True, slots=True)
class Line:
    """One alert in an e-mail, with the address of its page."""

    title: str
    text: str
    url: str
    since: datetime
    told: int


def wants_alerts(workspace: Workspace, user: User, role: str) -> bool:
    choice = AlertChoice.objects.for_workspace(workspace).filter(user=user).first()
    return choice.wanted if choice else role == Role.OWNER


def told_members(workspace: Workspace) -> list[User]:
    """Owners and managers who want it, in the order in which they came."""
    choices = dict(AlertChoice.objects.for_workspace(workspace).values_list("user", "wanted"))
    members = Membership.objects.filter(workspace=workspace, role__in=TOLD, user__is_active=True)
    return [
        member.user
        for member in members.select_related("user").order_by("created_at", "pk")
        if choices.get(member.user_id, member.role == Role.OWNER)
    ]


def mail_of(workspace: Workspace, alerts: Sequence[Alert], to: Sequence[User]) -> EmailMultiAlternatives:
    """One e-mail about all of these; it names devices and campaigns, and never a contact."""
    new = [line_of(alert) for alert in alerts if alert.ended_at is None and not alert.told]
    still = [line_of(alert) for alert in alerts if alert.ended_at is None and alert.told]
    over = [line_of(alert) for alert in alerts if alert.ended_at is not None]
    context = {
        "workspace": workspace,
        "new": new[:LINES],
        "still": still[:LINES],
        "over": over[:LINES],
        "more": sum(max(0, len(part) - LINES) for part in (new, still, over)),
        "home": settings.SITE_URL + reverse("monitoring:home"),
        "settings": settings.SITE_URL + reverse("monitoring:alert_settings"),
    }
    with timezone.override(workspace.zone):
        text = render_to_string("monitoring/mail/alerts.txt", context)
        html = render_to_string("monitoring/mail/alerts.html", context)
    mail = EmailMultiAlternatives(
        subject_of(workspace, new, still, over),
        text,
        to=[user.email for user in to],
        headers={"List-Unsubscribe": f"<{context['settings']}>", "Auto-Submitted": "auto-generated"},
    )
    mail.attach_alternative(html, "text/html")
    return mail


def line_of(alert: Alert) -> Line:
    url = settings.SITE_URL + (alert.url or reverse("monitoring:home"))
    title, text = (" ".join(words.split()) for words in (alert.title, alert.text))  # a name makes no line of its own
    return Line(title, text, url, alert.since, alert.told)


def subject_of(workspace: Workspace, new: Sequence[Line], still: Sequence[Line], over: Sequence[Line]) -> str:
    named = new or still or over
    if len(named) > 1:
        number = counted(len(named), "thing")
        what = f"{number} need you" if new else f"{number} still need you" if still else f"{number} all clear"
    else:
        what = f"{'' if new else 'Still: ' if still else 'All clear: '}{named[0].title}"
    return " ".join(f"{workspace.name}: {what}".split())[:SUBJECT_LENGTH]
