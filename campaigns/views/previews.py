"""What a campaign's form shows while somebody writes: the text as a contact reads it, the audience counted, a test."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.direct import send_test
from campaigns.actions.drafts import no_caption
from campaigns.audience import Audience, field_words, person_at, reachable, size_of, variables_of
from campaigns.compose import TextError, parse, problem_of, variables_in
from campaigns.compose import render as render_text
from campaigns.forms.campaigns import LONGEST_H, TEXTS
from campaigns.forms.direct import DraftTestForm
from campaigns.forms.steps import selectable_devices
from campaigns.missing import report
from campaigns.models import Assignment, Campaign, Contact, Failover, Media
from campaigns.numbers import on_whatsapp
from campaigns.opt_out import VARIABLE, problem_in
from campaigns.plans import course_of, warnings, who_is_left_out
from campaigns.querysets.contacts import ContactQuerySet
from campaigns.views.campaigns import the_campaign
from campaigns.views.direct import latest, poll
from devices.models import Device

OWN_WORDS = [
    ("name", "Name"),
    ("first_name", "First name"),
    ("phone", "Phone number"),
    (VARIABLE, "Opt-out link"),
]
LONGEST_DAYS = 3_650
MOST_WORDINGS = 1_000_000
NO_ROWS = UUID(int=0)


@require_POST
@workspace_role("viewer")
def preview(request: WorkspaceRequest) -> HttpResponse:
    """The text as contact N of the audience would read it. Saves nothing."""
    people = people_asked(request, request.POST)
    count = size_of(people).reachable
    number = min(max(int_of(request.POST.get("number", "")), 1), max(count, 1))
    contact = person_at(people, number)
    media = media_asked(request, request.POST.get("media_uuid", ""))
    context: dict[str, object] = {"contact": contact, "number": number, "people": count, "media": media}
    typed = source_asked(request)
    context["field"] = request.POST.get("field") in TEXTS  # a page that only shows the text has no place for a mistake
    context["at"] = timezone.now()
    source = typed.strip()
    if problem := problem_of(typed):
        return render(request, "campaigns/_preview.html", {**context, "error": problem.error, "problem": problem})
    try:
        template = parse(source)
        known = {word for pair in OWN_WORDS + field_words(request.workspace) for word in pair}
        context["unknown"] = sorted(variables_in(source) - known)
        wordings = min(template.wordings, MOST_WORDINGS)
        wording = min(max(int_of(request.POST.get("wording", "")), 1), wordings)
        context |= {"wording": wording, "wordings": wordings, "many_wordings": template.wordings > wordings}
        variables, beside_a_file = variables_of(contact) if contact else {}, media is not None
        context["text"] = render_text(template, variables, caption=beside_a_file, wording=wording) if source else ""
        context["error"] = no_caption(source, media) or problem_in(source)
    except TextError as error:
        context["error"] = error
    return render(request, "campaigns/_preview.html", context)


@require_POST
@workspace_role("viewer")
def missing(request: WorkspaceRequest) -> HttpResponse:
    """What people of the audience lack of the text's variables. Apart from the preview: it looks at many people."""
    found = report(texts_asked(request), people_asked(request, request.POST))
    return render(request, "campaigns/_missing.html", {"missing": found})


def texts_asked(request: WorkspaceRequest) -> list[str]:
    """The text of every variant as it was typed; of a page with one field, that one."""
    typed = [request.POST.get(name, "").replace("\r\n", "\n").strip() for name in TEXTS]
    return [typed[0], *(text for text in typed[1:] if text)]


def field_asked(request: WorkspaceRequest) -> str | None:
    """The name of the field that is typed in, for a mistake to be marked beside it; None on a page without one."""
    asked = request.POST.get("look") or request.POST.get("field")
    return asked if asked in TEXTS else None


def source_asked(request: WorkspaceRequest) -> str:
    """The text that is looked at, as it was typed."""
    return request.POST.get(field_asked(request) or TEXTS[0], "").replace("\r\n", "\n")


@require_GET
@workspace_role("viewer")
def audience_count(request: WorkspaceRequest) -> HttpResponse:
    """How many people the choices of the form reach, who is left out, and how long it takes through its devices."""
    campaign = campaign_asked(request, request.GET)
    asked = audience_asked(request, request.GET, campaign)
    people = asked.contacts(request.workspace)
    size = size_of(people)
    chosen = ids_of(request.GET.getlist("devices"))
    if campaign is not None and "assignment" not in request.GET:
        chosen = list(campaign.device_links.values_list("device_id", flat=True))
    devices = list(selectable_devices(request.workspace, []).filter(pk__in=chosen))
    so_far = campaign_so_far(request, request.GET, campaign)
    absent = on_whatsapp(reachable(people), False).count_lately() if so_far.leave_out_absent else 0
    held_out = round((size.reachable - absent) * asked.hold_out / 100)
    size = replace(size, left_out=absent + held_out)
    course = course_of(so_far, people, size, devices)
    context = {
        "size": size,
        "left_out": list(who_is_left_out(so_far, asked, size, absent, held_out)),
        "devices": devices,
        "course": course,
        "warnings": warnings(so_far, devices, course) if devices else [],
        "unchosen": not (asked.everyone or asked.tags or asked.segments or asked.retarget_of),
        "nobody": not size.people and not Contact.objects.for_workspace(request.workspace).exists(),
    }
    return render(request, "campaigns/_audience.html", context)


@require_POST
@workspace_role("manager")
def test_send(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """The message as it is in the form and as the person in the preview would get it, to one's own number."""
    campaign = the_campaign(request, uuid)
    form = DraftTestForm(request.workspace, request.POST)
    if form.is_valid():
        source, media = source_asked(request), media_asked(request, request.POST.get("media_uuid", ""))
        people = people_asked(request, request.POST)
        contact = person_at(people, max(int_of(request.POST.get("number", "")), 1))
        try:
            text = render_text(parse(source), variables_of(contact) if contact else {}, caption=media is not None)
            if problem := no_caption(source, media):
                raise TextError(problem)
            device: Device = form.cleaned_data["device"]
            send_test(device, form.cleaned_data["phone"], literally(text), by=request.user, media=media)
        except TextError as error:
            form.add_error(None, str(error))
    context: dict[str, object] = {"test": form, "campaign": campaign}
    if form.is_valid():
        lines = latest(form.cleaned_data["device"])
        context |= {"device": form.cleaned_data["device"], "lines": lines, "poll": poll(lines)}
    status = 200 if form.is_valid() else 422
    return render(request, "campaigns/steps/_test_send.html", context, status=status)


def literally(text: str) -> str:
    """A text that says exactly this when it is read as a template."""
    return text.replace("{", '{{ "{" }}')


def campaign_so_far(request: WorkspaceRequest, asked: QueryDict, campaign: Campaign | None) -> Campaign:
    """Never saved: what the form says while it is being filled in. What makes no sense yet counts as left empty."""
    if campaign is not None and "assignment" not in asked:
        return campaign
    try:
        least = min(max(float(asked.get("min_delay") or 0), 0), 86_400)
    except ValueError:
        least = 0
    expiry = min(int_of(asked.get("expire_after_h", "")), LONGEST_H) or None
    return Campaign(
        workspace=request.workspace,
        min_delay=least,
        assignment=asked.get("assignment", Assignment.STICKY),
        device_cap=int_of(asked.get("device_cap", "")) or None,
        failover=asked.get("failover", Failover.WAIT),
        expire_after_h=campaign.expire_after_h if campaign else expiry,
        start_at=campaign.start_at if campaign else None,
        stagger_s=campaign.stagger_s if campaign else 0,
        local_from=campaign.local_from if campaign else None,
        local_to=campaign.local_to if campaign else None,
        leave_out_absent=campaign.leave_out_absent if campaign else False,
    )


def campaign_asked(request: WorkspaceRequest, asked: QueryDict) -> Campaign | None:
    """The draft that the form belongs to; None: it was not saved yet, or is no campaign of this workspace."""
    own = Campaign.objects.for_workspace(request.workspace).select_related("workspace")
    return own.filter(uuid=uuid_of(asked.get("campaign", "")) or NO_ROWS).first()


def people_asked(request: WorkspaceRequest, asked: QueryDict) -> ContactQuerySet:
    return audience_asked(request, asked, campaign_asked(request, asked)).contacts(request.workspace)


def audience_asked(request: WorkspaceRequest, asked: QueryDict, campaign: Campaign | None) -> Audience:
    """As the form says, where it asks who gets it; else as the draft says."""
    if "audience" not in asked and campaign is not None:
        return Audience.of(campaign)
    earlier = None
    if asked.get("audience") == "earlier":
        own = Campaign.objects.for_workspace(request.workspace).filter(
            uuid=uuid_of(asked.get("earlier", "")) or NO_ROWS
        )
        earlier = own.values_list("pk", flat=True).first()
    return Audience(
        everyone=asked.get("audience") == "everyone",
        tags=tuple(ids_of(asked.getlist("tags"))),
        segments=tuple(ids_of(asked.getlist("segments"))),
        excluded_tags=tuple(ids_of(asked.getlist("exclude_tags"))),
        excluded_segments=tuple(ids_of(asked.getlist("exclude_segments"))),
        retarget_of=earlier,
        retarget=asked.get("retarget", "") if earlier else "",
        not_contacted_days=min(int_of(asked.get("not_contacted_days", "")), LONGEST_DAYS) or None,
        hold_out=min(int_of(asked.get("hold_out", "")), 90),
    )


def media_asked(request: WorkspaceRequest, uuid: str) -> Media | None:
    return Media.objects.for_workspace(request.workspace).filter(uuid=uuid_of(uuid) or NO_ROWS).first()


def uuid_of(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def ids_of(values: list[str]) -> list[int]:
    return [found for value in values if (found := int_of(value))]


def int_of(value: str) -> int:
    """0 where it is no positive number that fits an id."""
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 19 else 0
