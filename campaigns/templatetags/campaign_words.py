"""What campaign templates say: texts as WhatsApp draws them, and states in words."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils.safestring import SafeString

from accounts.models import Workspace
from campaigns.bubble import drawn
from campaigns.models import Media
from campaigns.shown import duration
from devices.models import Device
from devices.shown import Shown, shown

FILE_ICONS = {"image": "image", "video": "video", "audio": "music", "document": "file-text"}

register = template.Library()
register.filter("drawn", drawn)
register.filter("duration", duration)


@register.filter
def device_state(device: Device) -> Shown:
    """``device`` comes from ``with_shown_state()``."""
    return shown(device)


@register.filter
def file_icon(media: Media) -> str:
    return FILE_ICONS[media.kind]


@register.filter
def file_ending(media: Media) -> str:
    """What a reader sees of a document's type: ``PDF``."""
    return media.name.rpartition(".")[2].upper()[:5]


@register.filter
def in_zone_of(at: datetime, workspace: Workspace) -> str | SafeString:
    """The instant on the workspace's wall clock, whoever renders it."""
    return f"{at.astimezone(workspace.zone):%a %-d %b %Y, %H:%M}"
