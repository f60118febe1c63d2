"""Milliseconds of pages over a large workspace, on a durable PostgreSQL of its own.

`python -m tests.benchmarks.bench_pages [--people 1000000] [--devices 15] [--times 20] [--only WORD] [--keep FOLDER]`:
the workspace of `pages_fill`, then each page and partial so many times: the first answer (nothing kept by then), p50,
p95, the least, and what of it the web process computed. A kept folder is filled once and measured again the next time.
"""

from __future__ import annotations

import argparse
import os
import secrets
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from config.embedded import UNPRIVILEGED, Postgres, Valkey, running, temporary_servers

BUDGET_MS = 150
Page = tuple[str, dict[str, Any] | None]  # an address, and what is posted to it; None: it is asked for by GET


def people_pages(workspace: Any) -> dict[str, Page]:
    from django.urls import reverse

    from campaigns.contact_pages import LOOKED_THROUGH
    from campaigns.models import Contact, ContactImport, Segment, Suppression
    from devices.models import Device

    contacts = reverse("campaigns:contacts")
    searches = {
        "": "",
        ", a common word": "?q=Lee",
        ", a full name": "?q=Siti+Yamamoto",
        ", a name of a few": "?q=Zebulon",
        ", nobody's name": "?q=Qwertz",
        ", two letters": "?q=zq",
        ", a beginning of a number": "?q=012-00777",
        ", an end of a number": "?q=4777",
        ", a word of many": "?q=a",
        ", customers": "?status=customer",
        ", prospects": "?status=prospect",
        ", a device": f"?device={Device.objects.filter(workspace=workspace)[3].uuid}",
        ", no device": "?device=none",
        ", a field": "?field=city&is=is&value=Penang",
        ", a rare field": "?field=city&is=is&value=Labuan",
        ", a number field": "?field=spent&is=more&value=4990",
        ", a field nobody has": "?field=city&is=is&value=Nowhere",
        ", a number nobody has": "?field=spent&is=more&value=5000",
        ", a part of a rare field": "?field=city&is=contains&value=labu",
        ", a field that is empty": "?field=city&is=is_empty",
        ", no name without blanks": "?q=%E5%B0%8F%E6%98%8E",
        ", three filters that few pass": "?status=customer&device=none&reply=7",
        ", a tag": "?tag=newsletter",
        ", a rare tag": "?tag=board",
        ", opted out": "?consent=opted-out",
        ", agreed": "?consent=agreed",
        ", replied lately": "?reply=30",
        ", never replied": "?reply=never",
        ", not on WhatsApp": "?whatsapp=no",
        ", nobody knows whether": "?whatsapp=unknown",
        ", far down": "?before=50000",
        ", counted: a full name": "?q=Siti+Yamamoto&count=1",
        ", counted: a device": f"?device={Device.objects.filter(workspace=workspace)[3].uuid}&count=1",
        ", counted: a number field": "?field=spent&is=more&value=4990&count=1",
    }
    ids = Contact.objects.filter(workspace=workspace).order_by("-pk").values_list("pk", flat=True)
    looks = {
        ", a part of a rare field: looked further": "?field=city&is=contains&value=labu",
        ", a number nobody has: looked further": "?field=spent&is=more&value=5000",
        ", no name without blanks: looked further": "?q=%E5%B0%8F%E6%98%8E",
        ", a field that is empty: looked further": "?field=city&is=is_empty",
    }
    middle = LOOKED_THROUGH * (ids.count() // (2 * LOOKED_THROUGH))
    searches |= {what: f"{query}&further={ids[middle]}.{middle}.0" for what, query in looks.items()}
    contact = Contact.objects.filter(workspace=workspace, last_reply_at__isnull=False).order_by("pk")[0]
    source = ContactImport.objects.filter(workspace=workspace)[0]
    suppressed = Suppression.objects.filter(workspace=workspace)[0]
    segments = Segment.objects.filter(workspace=workspace).order_by("pk")
    rules = [("field:city", "contains", "pen"), ("status", "is", "customer")]
    form = {"match": "all", "name": "X", **{key: [rule[n] for rule in rules] for n, key in enumerate(FORM)}}
    return {
        **{f"contacts{what}": (contacts + query, None) for what, query in searches.items()},
        "contacts: of an import": (f"{contacts}?import={source.uuid}", None),
        "contacts: of a segment": (f"{contacts}?segment={segments[0].uuid}", None),
        "contacts: WhatsApp region": (reverse("campaigns:check_numbers"), None),
        "contacts: asked before a change": (
            reverse("campaigns:contact_change"),
            {"whom": "all", "query": "status=customer", "deed": "tag"},
        ),
        "contact with its timeline": (reverse("campaigns:contact", args=[contact.uuid]), None),
        "contact, edit": (reverse("campaigns:contact_edit", args=[contact.uuid]), None),
        "tags": (reverse("campaigns:tags"), None),
        "fields": (reverse("campaigns:fields"), None),
        "segments": (reverse("campaigns:segments"), None),
        **{
            f"segment's count: {segment.name}": (reverse("campaigns:segment_count", args=[segment.uuid]), None)
            for segment in segments
        },
        "segment, builder": (reverse("campaigns:segment", args=[segments[1].uuid]), None),
        "segment, preview": (reverse("campaigns:segment_preview"), form),
        "imports": (reverse("campaigns:imports"), None),
        "import": (reverse("campaigns:import", args=[source.uuid]), None),
        "import, upload": (reverse("campaigns:import_upload"), None),
        "suppression": (reverse("campaigns:suppression"), None),
        "suppression, one source": (reverse("campaigns:suppression") + "?source=link", None),
        "suppression, by staff": (reverse("campaigns:suppression") + "?source=everywhere", None),
        "suppression, one number": (f"{reverse('campaigns:suppression')}?q={suppressed.phone}", None),
        "suppression, remove": (reverse("campaigns:suppression_remove", args=[suppressed.uuid]), None),
        "consent": (reverse("campaigns:consent"), None),
    }  # fmt: skip


FORM = ("what", "is", "value")


def content_pages(workspace: Any) -> dict[str, Page]:
    from django.urls import reverse

    from campaigns.models import Template

    template = Template.objects.filter(workspace=workspace)[0]
    return {
        "templates": (reverse("campaigns:templates"), None),
        "templates, searched": (reverse("campaigns:templates") + "?q=number+77", None),
        "template": (reverse("campaigns:template", args=[template.uuid]), None),
        "media": (reverse("campaigns:media"), None),
        "media, searched": (reverse("campaigns:media") + "?q=file+777", None),
        "media, room": (reverse("campaigns:media") + "room/", None),
        "media, picker": (reverse("campaigns:media_picker"), None),
    }


def writing_pages(workspace: Any) -> dict[str, Page]:
    """Campaigns that have not begun: the wizard's steps and its partials, the review page, and what it looks up."""
    from django.urls import reverse

    from campaigns.models import Campaign

    pages: dict[str, Page] = {
        "campaigns": (reverse("campaigns:list"), None),
        "campaigns, completed": (reverse("campaigns:list") + "?state=completed", None),
        "campaigns, searched by name": (reverse("campaigns:list") + "?q=week+7&sort=name", None),
        "campaigns, by start": (reverse("campaigns:list") + "?sort=start", None),
        "calendar": (reverse("campaigns:calendar"), None),
        "new campaign": (reverse("campaigns:create"), None),
    }
    drafts = {
        draft.name.lower(): draft
        for draft in Campaign.objects.filter(workspace=workspace, name__startswith="Draft").order_by("pk")
    }
    for name, draft in drafts.items():
        asked = {"campaign": str(draft.uuid), "text": "Hello {{ first_name }} of {{ city }}", "look": "text"}
        pages |= {
            f"{name}: review": (reverse("campaigns:campaign", args=[draft.uuid]), None),
            f"{name}: audience counted": (f"{reverse('campaigns:audience')}?campaign={draft.uuid}", None),
            f"{name}: preview": (reverse("campaigns:preview"), asked),
            f"{name}: who lacks what": (reverse("campaigns:missing", args=[draft.uuid]), None),
        }
    draft = drafts["draft to all"]
    for step in ("audience", "message", "devices", "when"):
        pages[f"wizard: {step}"] = (reverse("campaigns:step", args=[draft.uuid, step]), None)
    return pages


def running_pages(campaign: Any) -> dict[str, Page]:
    from django.urls import reverse

    from campaigns.models import Message

    people = reverse("campaigns:recipients", args=[campaign.uuid])
    device = campaign.device_links.all()[0].device.uuid
    message = Message.objects.filter(campaign=campaign, state="dead").order_by("-pk")[0]
    middle = Message.objects.filter(campaign=campaign, state="delivered").order_by("pk")[campaign.recipients // 3]
    retry = reverse("campaigns:retry_confirm", args=[campaign.uuid])
    lists = {
        "should": "",
        "should, in the middle": f"?after={middle.contact_id}",
        "sent": "?figure=sent",
        "failed": "?figure=failed",
        "failed, one reason": "?figure=failed&reason=refused+483",
        "remaining, the last tenth": "?figure=remaining",
        "skipped": "?figure=skipped",
        "expired, 20 at the very end": "?figure=skipped&state=expired",
        "held out": "?figure=skipped&reason=hold_out",
        "skipped by the frequency cap": "?figure=skipped&reason=frequency_cap",
        "replied": "?figure=replied",
        "replied, one device": f"?figure=replied&device={device}",
        "sent and not replied": "?figure=sent&replied=no",
        "sent and replied": "?figure=sent&replied=yes",
        "read and not replied, one device": f"?figure=read&replied=no&device={device}",
        "one device": f"?figure=sent&device={device}",
        "one device, failed": f"?figure=failed&device={device}",
        "sent in one hour": "?figure=sent&hour=9",
        "read in one hour": "?figure=read&hour=9",
        "replied in one hour": "?figure=replied&hour=9",
        "read in one hour, one device": f"?figure=read&hour=9&device={device}",
        "counted: sent in one hour": "?figure=sent&hour=9&count=1",
        "counted: held out": "?figure=skipped&reason=hold_out&count=1",
    }
    return {
        "home": (reverse("monitoring:home"), None),
        "live page": (reverse("campaigns:campaign", args=[campaign.uuid]), None),
        "report": (reverse("campaigns:report", args=[campaign.uuid]), None),
        "report's details": (reverse("campaigns:report_details", args=[campaign.uuid]), None),
        "retry: all": (retry, None),
        "retry: one device": (f"{retry}?device={device}", None),
        "retry: one reason": (f"{retry}?reason=refused+483", None),
        "text of the running campaign": (reverse("campaigns:text", args=[campaign.uuid]), None),
        "why was this not sent?": (reverse("campaigns:recipient", args=[message.pk]), None),
        **{f"people: {what}": (people + query, None) for what, query in lists.items()},
    }


def report_pages(workspace: Any) -> dict[str, Page]:
    """Over a month of campaigns, and over a year of them: a thousand at fifteen devices each."""
    from datetime import timedelta

    from django.urls import reverse
    from django.utils import timezone

    from devices.models import Device

    today = timezone.now().astimezone(workspace.zone).date()
    year = f"?range=own&from={today - timedelta(days=364)}&to={today}"
    summary, devices = reverse("monitoring:campaign_summary"), reverse("monitoring:device_report")
    device = reverse("monitoring:one_device", args=[Device.objects.filter(workspace=workspace)[3].uuid])
    pages = {"campaign summary": summary, "device report": devices, "device's own report": device}
    found: dict[str, Page] = {
        f"{name}{part}{over}": (url + path + query, None)
        for name, url in pages.items()
        for over, query in ((", a month", "?range=30"), (", a year", year))
        for part, path in (("", ""), (": charts", "/charts"))
    }
    return found | {
        "campaign summary, a year, by failures": (f"{summary}{year}&sort=failed&page=20", None),
        "campaign summary, a year, searched": (f"{summary}{year}&q=week+7", None),
        "device's own report, a year, with any replies": (f"{device}{year}&figure=replied", None),
    }


def queue_pages() -> dict[str, Page]:
    from django.urls import reverse

    return {
        "queue": (reverse("monitoring:queue"), None),
        "queue: by device": (reverse("monitoring:queue_devices"), None),
        "queue: failed, in groups": (reverse("monitoring:queue_failed"), None),
        "queue: failed, refused for good": (reverse("monitoring:queue_group", args=["refused"]), None),
        "queue: failed, far down": (reverse("monitoring:queue_group", args=["refused"]) + "?after=9.500000.1", None),
        "queue: uncertain": (reverse("monitoring:queue_uncertain"), None),
        "alerts": (reverse("monitoring:alert_settings"), None),
    }


def pages_of(campaign: Any) -> dict[str, Page]:
    workspace = campaign.workspace
    return (
        people_pages(workspace)
        | content_pages(workspace)
        | writing_pages(workspace)
        | report_pages(workspace)
        | running_pages(campaign)
        | queue_pages()
    )


class Took(NamedTuple):
    """Milliseconds: of the first answer, of the others, and of these the least and what of it this process computed.

    A machine that does something else beside it makes p50 and p95 longer, the least and the computing hardly.
    """

    first: float
    p50: float
    p95: float
    least: float
    computing: float
    status: int


def measured(ask: Callable[[], Any], times: int) -> Took:
    took = []
    for _ in range(times + 1):
        began, busy = time.perf_counter(), time.process_time()
        status = ask().status_code
        took.append((1000 * (time.perf_counter() - began), 1000 * (time.process_time() - busy)))
    first, *others = took
    whole = sorted(one for one, _ in others)
    computing = min(one for _, one in others)
    p95 = whole[max(0, round(0.95 * len(whole)) - 1)]
    return Took(first[0], statistics.median(whole), p95, whole[0], computing, status)


def run_all(people: int, devices: int, times: int, only: str) -> None:
    import logging

    from django.core.cache import cache
    from django.test import Client

    import config.urls  # noqa: F401 - every page's code, as the web process loads it
    from accounts.allocation import set_apart_what_stays
    from campaigns.models import Campaign
    from tests.benchmarks.pages_fill import fill

    logging.disable(logging.CRITICAL)
    began = time.perf_counter()
    if not (campaign := Campaign.objects.filter(name="To everybody").select_related("workspace").first()):
        campaign = fill(people, devices)
        say(f"{campaign.recipients:,} people with a message each, made in {time.perf_counter() - began:.0f} s")
    client = Client()
    client.force_login(campaign.workspace.owner)
    set_apart_what_stays()  # as the web process does before its first page
    client.get("/")
    over = []
    say(f"{'':44}   first     p50     p95   least     CPU ms; budget {BUDGET_MS}")
    for what, (url, posted) in pages_of(campaign).items():
        if only not in what:
            continue
        cache.clear()
        # The rest of a list that stands is asked for by the page.
        headers = {"HX-Request": "true"} if "further=" in url else {}
        ask = partial(client.get, url, headers=headers) if posted is None else partial(client.post, url, posted)
        took = measured(ask, times)
        if took.p95 > BUDGET_MS:
            over.append(what)
        numbers = " ".join(f"{number:7.0f}" for number in took[:5])
        say(f"{what:44} {numbers} {took.status}{'  over' if took.p95 > BUDGET_MS else ''}")
    say(f"{len(over)} over the budget: {', '.join(over) or 'none'}")


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


@contextmanager
def kept_servers(folder: Path) -> Iterator[dict[str, str]]:
    """A database that stays in the folder when it is closed."""
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    valkey = Valkey(folder / "redis", folder / "sockets" / "valkey", secrets.token_urlsafe(24))
    postgres = Postgres(folder / "postgres" / "data", folder / "pg", (), user)
    with ExitStack() as servers:
        servers.enter_context(running(postgres))
        servers.enter_context(running(valkey))
        yield {"DATABASE_URL": postgres.url, "REDIS_URL": valkey.url}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--devices", type=int, default=15)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--only", default="", help="Pages whose name has this in it.")
    parser.add_argument("--keep", type=Path, help="A folder for the database, filled once.")
    options = parser.parse_args()
    with kept_servers(options.keep) if options.keep else temporary_servers() as urls:
        os.environ.update(
            urls,
            DJANGO_SETTINGS_MODULE="config.settings",
            SECRET_KEY=secrets.token_urlsafe(32),
            ENV_FILE="",
            STATIC_MANIFEST="0",
            ALLOWED_HOSTS="testserver",
        )
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connections

        call_command("migrate", verbosity=0)
        run_all(options.people, options.devices, options.times, options.only)
        connections.close_all()


if __name__ == "__main__":
    main()
