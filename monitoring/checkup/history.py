"""Incidents: opened when a part is found bad twice, closed when it is found well, shown for a week."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.utils import timezone

from monitoring.checkup.parts import BAD, OK, WARN, Look
from monitoring.models import Heartbeat, Incident, Kept

SHOWN_FOR = timedelta(days=7)
KEPT_FOR = timedelta(days=90)
SAME = timedelta(minutes=2)  # what comes back so soon never ended
BEFORE = timedelta(seconds=120)  # an older look confirms nothing
LOCK = 0x666C6F74


@transaction.atomic
def record(look: Look, away_since: datetime | None = None) -> None:
    """Write down what changed. Any number may: one at a time, and each sees what the one before wrote.

    ``away_since``: PostgreSQL was away from then until this look, and nobody could write that down.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    last = Kept.objects.filter(name="look").first()
    if last and last.at >= look.at:
        return
    seen = last.value if last and last.at > look.at - BEFORE else {}
    open_ones = {incident.part: incident for incident in Incident.objects.filter(until=None)}
    for finding in look.findings:
        known = open_ones.get(finding.part)
        if finding.state == OK and known:
            close(known, look.at)
        if finding.state not in (WARN, BAD) or (known and known.state == finding.state):
            continue
        if seen.get(finding.part) == finding.state:
            assert last is not None
            if known:
                close(known, last.at)
            begin(finding.part, finding.state, last.at, finding.sentence)
    if away_since:
        note_outage(away_since, look.at)
    states = {finding.part: finding.state for finding in look.findings}
    Kept.objects.update_or_create(name="look", defaults={"at": look.at, "value": states})


def close(incident: Incident, at: datetime) -> None:
    Incident.objects.filter(pk=incident.pk, until=None).update(until=at)


def begin(part: str, state: str, at: datetime, sentence: str) -> None:
    again = Incident.objects.filter(part=part, state=state, until__gt=at - SAME).order_by("-until").first()
    if again:
        Incident.objects.filter(pk=again.pk).update(until=None, sentence=sentence)
    else:
        Incident.objects.create(part=part, state=state, since=at, sentence=sentence)


def note_outage(since: datetime, until: datetime) -> None:
    """Once, though several processes have seen it."""
    if not Incident.objects.filter(part="database", state=BAD, since__lt=until, until__gt=since).exists():
        sentence = "The database did not answer."
        Incident.objects.create(part="database", state=BAD, since=since, until=until, sentence=sentence)


def lately() -> list[Incident]:
    """Those that last, and those of the last days, newest first."""
    shown = Incident.objects.filter(since__gt=timezone.now() - SHOWN_FOR) | Incident.objects.filter(until=None)
    return list(shown.order_by("-since", "-pk")[:200])


def since_when(incidents: Iterable[Incident], look: Look) -> dict[str, datetime]:
    """For each part since when it is as it was found, where these incidents, newest first, tell."""
    found: dict[str, datetime] = {}
    newest: dict[str, Incident] = {}
    for incident in incidents:
        newest.setdefault(incident.part, incident)
    for finding in look.findings:
        incident_of = newest.get(finding.part)
        if incident_of and finding.state == OK and incident_of.until:
            found[finding.part] = incident_of.until
        elif incident_of and finding.state == incident_of.state and not incident_of.until:
            found[finding.part] = incident_of.since
    return found


def tidy() -> int:
    """Forget old incidents and what killed programs last said; returns how many rows."""
    old = Incident.objects.filter(until__lt=timezone.now() - KEPT_FOR).delete()[0]
    return old + Heartbeat.objects.filter(at__lt=timezone.now() - timedelta(days=1)).delete()[0]
