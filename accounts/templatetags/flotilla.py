"""What every template may say: numbers, times, the menu and the page title."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from django import template
from django.conf import settings
from django.template.base import NodeList, Parser, Token
from django.template.context import Context
from django.urls import Resolver404, resolve, reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from accounts.access import current_membership
from accounts.models import Workspace

register = template.Library()


@dataclass(frozen=True)
class Link:
    label: str
    url: str
    icon: str
    current: bool = False


# An entry appears with its first working page.
MENU = [
    ("Dashboard", "/dashboard", "layout-dashboard"),
    ("Devices", "/devices/", "smartphone"),
    ("Contacts", "/contacts/", "users"),
    ("Content", "/content/", "file-text"),
    ("Campaigns", "/campaigns/", "megaphone"),
    ("Sequences", "/sequences/", "workflow"),
    ("Inbox", "/inbox/", "inbox"),
    ("Queue", "/queue/", "list-ordered"),
    ("Integrations", "/integrations/", "plug"),
    ("Settings", "/settings/", "settings"),
]
ACCOUNT_LINKS = [
    ("Profile", "accounts:profile", "user"),
    ("Password", "account_change_password", "key-round"),
    ("Workspaces", "accounts:workspaces", "building-2"),
]
WORKSPACE_TABS = [
    ("Workspace", "accounts:settings", "building-2"),
    ("Members", "accounts:members", "users"),
    ("Alerts", "monitoring:alert_settings", "bell"),
]
UNITS = [("second", 60), ("minute", 60), ("hour", 24), ("day", 30), ("month", 12)]


@cache
def exists(path: str) -> bool:
    try:
        resolve(path)
    except Resolver404:
        return False
    return True


@register.simple_tag(takes_context=True)
def navigation(context: Context) -> list[Link]:
    here = context["request"].path if "request" in context else ""
    return [
        Link(label, url, icon, current=here == url or here.startswith(url.rstrip("/") + "/"))
        for label, url, icon in MENU
        if exists(url)
    ]


@register.simple_tag(takes_context=True)
def account_links(context: Context) -> list[Link]:
    links = [Link(label, reverse(name), icon) for label, name, icon in ACCOUNT_LINKS]
    links.append(Link("Status", "/status", "activity"))
    if context["user"].is_staff:
        links.append(Link("Operations", "/operations/", "server"))
        links.append(Link("Administration", reverse("admin:index"), "shield"))
    return links


@register.simple_tag(takes_context=True)
def settings_tabs(context: Context) -> list[Link]:
    """Those of the workspace need one: a person without any still has a profile."""
    here = context["request"].path
    tabs = [*(WORKSPACE_TABS if current_workspace(context) else []), *ACCOUNT_LINKS]
    return [Link(label, reverse(name), icon, current=here == reverse(name)) for label, name, icon in tabs]


@register.simple_tag
def sign_up_mode() -> str:
    return settings.SIGNUP


@register.simple_tag(takes_context=True)
def current_workspace(context: Context) -> Workspace | None:
    """The workspace named in the top bar, also on pages that stand outside any workspace."""
    request = context.get("request")
    if request is None or not getattr(request, "user", None) or not request.user.is_authenticated:
        return None
    if hasattr(request, "workspace"):
        return request.workspace
    if not hasattr(request, "workspace_in_menu"):  # the top bar and the menu ask one after the other
        membership = current_membership(request)
        request.workspace_in_menu = membership.workspace if membership else None
    return request.workspace_in_menu


@register.filter
def number(value: Any) -> str:
    """12345 → 12,345; nothing → a dash."""
    if value is None or value == "":
        return "—"
    return f"{value:,}" if isinstance(value, int | float) else str(value)


@register.filter
def relative_time(value: datetime | None) -> str | SafeString:
    """ "3 minutes ago", with the exact instant in the workspace's zone on hover. A script keeps it fresh."""
    if value is None:
        return "—"
    exact = timezone.localtime(value)
    words = in_words((timezone.now() - value).total_seconds())
    return SafeString(  # nothing in it is anybody's text; a table has hundreds of them
        f'<time datetime="{value.isoformat()}" title="{exact:%a %-d %b %Y, %H:%M:%S} ({exact.tzname()})"'
        f" data-relative>{words}</time>"
    )


def in_words(seconds: float) -> str:
    """Seconds since an instant, as people say it; negative lies ahead."""
    amount = abs(seconds)
    if amount < 10:
        return "just now" if seconds >= 0 else "in a moment"
    unit = "year"
    for name, size in UNITS:
        if amount < size:
            unit = name
            break
        amount /= size
    words = f"{int(amount)} {unit}{'' if int(amount) == 1 else 's'}"
    return f"{words} ago" if seconds > 0 else f"in {words}"


@register.tag
def capture(parser: Parser, token: Token) -> CaptureNode:
    """`{% capture as name %}…{% endcapture %}`: the page's title stands in the tab and in the heading."""
    _tag, _as, name = token.split_contents()
    nodelist = parser.parse(("endcapture",))
    parser.delete_first_token()
    return CaptureNode(nodelist, name)


class CaptureNode(template.Node):
    def __init__(self, nodelist: NodeList, name: str) -> None:
        self.nodelist = nodelist
        self.name = name

    def render(self, context: Context) -> SafeString:
        context[self.name] = self.nodelist.render(context)
        return SafeString("")
