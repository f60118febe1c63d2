"""What the menu says of the queue."""

from __future__ import annotations

from django import template
from django.template.context import Context

from accounts.templatetags.flotilla import current_workspace
from monitoring.queue import waiting_for_somebody

register = template.Library()


@register.simple_tag(takes_context=True)
def queue_waits(context: Context) -> int:
    """How many messages wait for somebody's decision; 0 outside any workspace."""
    workspace = current_workspace(context)
    return waiting_for_somebody(workspace) if workspace else 0
