"""A workspace whose campaigns share devices: variants, people held out, every state, and one from the days before."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

from django.utils import timezone

from accounts.models import Workspace
from campaigns.models import Campaign, Stream
from devices.models import Device
from tests.campaigns.campaign_cases import varied_campaign
from tests.campaigns.report_cases import told_campaign

LINK = re.compile(r'<a[^>]*href="(?P<url>[^"]+)"[^>]*>(?P<words>.*?)</a>', re.DOTALL)
PLAIN_NUMBER = re.compile(r"\s*([\d,]+)\s*")


def launched_at(campaign: Campaign, days_ago: float, **fields: Any) -> Campaign:
    Campaign.objects.filter(pk=campaign.pk).update(launched_at=timezone.now() - timedelta(days=days_ago), **fields)
    campaign.refresh_from_db()
    return campaign


def told_workspace(workspace: Workspace) -> tuple[list[Campaign], list[Device]]:
    """Two campaigns of these days at the same two devices, a third at one of its own, and one of last week."""
    last_week = launched_at(varied_campaign(workspace), 9)  # all write to everybody: the first to the fewest
    varied = launched_at(varied_campaign(workspace), 1, name="Autumn <offer>")
    alone = launched_at(varied_campaign(workspace), 0)
    told = launched_at(told_campaign(workspace, rounds=1), 2)
    devices = [stream.device for stream in Stream.objects.filter(campaign=told, variant=1).order_by("pk")]
    for stream, device in zip(Stream.objects.filter(campaign=varied).order_by("pk"), devices, strict=True):
        Stream.objects.filter(pk=stream.pk).update(device=device)
    return [told, varied, alone, last_week], devices


def figures_in(html: str, part: str) -> list[tuple[str, int]]:
    """Each number that is a link within the element of this id, with its address."""
    start = html.index(f'id="{part}"')
    end = html.find('id="report-', start + 10)
    found = []
    for link in LINK.finditer(html, start, end if end > 0 else len(html)):
        value = re.search(r'class="figure-value">\s*([\d,]+)', link["words"]) or PLAIN_NUMBER.fullmatch(link["words"])
        if value:
            found.append((unescape(link["url"]), int(value[1].replace(",", ""))))
    return found
