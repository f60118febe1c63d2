"""Writing campaigns: create, edit, throw away, and what the form shows while somebody writes."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.datastructures import MultiValueDict
from django.views.decorators.http import require_GET, require_POST

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.drafts import (
    change_safety,
    change_text,
    create_campaign,
    delete_draft,
    edit_campaign,
    no_caption,
)
from campaigns.audience import audience, field_words, person_at, size_of, variables_of
from campaigns.compose import TextError, parse, problem_of, variables_in
from campaigns.compose import render as render_text
from campaigns.forms.campaigns import LONGEST_H, CampaignForm, RunningForm, selectable_devices
from campaigns.live import figures, streams_of
from campaigns.models import Assignment, Campaign, CampaignState, Contact, Failover, Media, Tag
from campaigns.plans import course_of, warnings
from campaigns.querysets.contacts import ContactQuerySet
from campaigns.views.answers import say
from campaigns.views.campaigns import the_campaign
from devices.models import Device

MOST_WORDINGS = 1_000_000
OWN_WORDS = [("name", "Name"), ("first_name", "First name"), ("phone", "Phone number")]


@workspace_role("manager")
def create(request: WorkspaceRequest) -> HttpResponse:
    form = CampaignForm(request.workspace, request.user, *posted(request), initial=first_choices(request))
    if request.method == "POST" and form.is_valid():
        campaign = create_campaign(request.workspace, request.user, form.plan())
        return redirect("campaigns:campaign", campaign.uuid)
    return form_page(request, form)


def posted(request: WorkspaceRequest) -> tuple[QueryDict | None, MultiValueDict | None]:
    """What was filled in, and the files among it; nothing before a form is sent."""
    return (request.POST, request.FILES) if request.method == "POST" else (None, None)


def first_choices(request: WorkspaceRequest) -> dict[str, list[int]]:
    """The tags the address names (`?tag=…`, from an import), and the device where there is but one."""
    named = Tag.objects.for_workspace(request.workspace).filter(name__in=request.GET.getlist("tag"))
    linked = list(Device.objects.for_workspace(request.workspace).linked().values_list("pk", flat=True)[:2])
    return {"tags": list(named.values_list("pk", flat=True)), "devices": linked if len(linked) == 1 else []}


@workspace_role("manager")
def edit(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    campaign = the_campaign(request, uuid)
    if campaign.state != CampaignState.DRAFT:
        return say(request, "Only a draft can be edited. Of a running campaign the text can be changed.", campaign)
    form = CampaignForm(request.workspace, request.user, *posted(request), campaign=campaign)
    if request.method == "POST" and form.is_valid():
        if edit_campaign(campaign, request.user, form.plan()):
            return redirect("campaigns:campaign", campaign.uuid)
        return say(request, "Somebody started this campaign meanwhile; your changes were not saved.", campaign)
    return form_page(request, form, campaign)


def form_page(request: WorkspaceRequest, form: CampaignForm, campaign: Campaign | None = None) -> HttpResponse:
    context = {
        "form": form,
        "campaign": campaign,
        "words": OWN_WORDS + field_words(request.workspace),
        "workspace": request.workspace,
        "has_tags": Tag.objects.for_workspace(request.workspace).exists(),
    }
    return render(request, "campaigns/form.html", context, status=422 if form.errors else 200)


@workspace_role("manager")
def text(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """What can be changed after the start: the text for those not written to yet, and what happens if it goes wrong."""
    campaign = the_campaign(request, uuid)
    form = RunningForm(request.user, *posted(request), campaign=campaign)
    if request.method == "POST" and form.is_valid():
        said = []
        if change_text(campaign, form.cleaned_data["text"], request.user, form.chosen):
            said.append("Everyone not written to yet gets the new message.")
        if change_safety(campaign, form.safety(), request.user):
            said.append("What happens when something goes wrong is as you chose.")
        return say(request, " ".join(said) or "Nothing was changed.", campaign)
    context = {
        "form": form,
        "campaign": campaign,
        "words": OWN_WORDS + field_words(request.workspace),
        "tags": [link.tag_id for link in campaign.tag_links.all()],
        "remaining": figures(streams_of([campaign])[campaign.pk])["remaining"],
    }
    return render(request, "campaigns/text.html", context, status=422 if form.errors else 200)


@require_POST
@workspace_role("manager")
def delete(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    campaign = the_campaign(request, uuid)
    if not delete_draft(campaign, request.user):
        return say(request, "Only a draft can be deleted.", campaign)
    messages.info(request, f"The draft “{campaign.name}” was deleted.")
    return redirect("campaigns:list")


@require_POST
@workspace_role("viewer")
def preview(request: WorkspaceRequest) -> HttpResponse:
    """The text as contact N of the audience would read it. Saves nothing."""
    people = audience_asked(request, request.POST)
    count = size_of(people).reachable
    number = min(max(int_of(request.POST.get("number", "")), 1), max(count, 1))
    contact = person_at(people, number)
    media = media_asked(request, request.POST.get("media_uuid", ""))
    context: dict[str, object] = {"contact": contact, "number": number, "people": count, "media": media}
    typed = request.POST.get("text", "").replace("\r\n", "\n")
    context["field"] = request.POST.get("field")
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
        context["error"] = no_caption(source, media)
    except TextError as error:
        context["error"] = error
    return render(request, "campaigns/_preview.html", context)


@require_GET
@workspace_role("viewer")
def audience_count(request: WorkspaceRequest) -> HttpResponse:
    """How many people the choices of the form reach, and how long that takes through its devices."""
    people = audience_asked(request, request.GET)
    size = size_of(people)
    chosen = ids_of(request.GET.getlist("devices"))
    devices = list(selectable_devices(request.workspace, []).filter(pk__in=chosen))
    so_far = campaign_so_far(request.GET)
    course = course_of(so_far, people, size, devices)
    context = {
        "size": size,
        "devices": devices,
        "course": course,
        "warnings": warnings(so_far, devices, course),
        "nobody": not size.people and not Contact.objects.for_workspace(request.workspace).exists(),
    }
    return render(request, "campaigns/_audience.html", context)


def campaign_so_far(asked: QueryDict) -> Campaign:
    """Never saved: what the form says while it is being filled in. What makes no sense yet counts as left empty."""
    try:
        least = min(max(float(asked.get("min_delay") or 0), 0), 86_400)
    except ValueError:
        least = 0
    return Campaign(
        min_delay=least,
        assignment=asked.get("assignment", Assignment.STICKY),
        device_cap=int_of(asked.get("device_cap", "")) or None,
        failover=asked.get("failover", Failover.WAIT),
        expire_after_h=min(int_of(asked.get("expire_after_h", "")), LONGEST_H) or None,
    )


def audience_asked(request: WorkspaceRequest, asked: QueryDict) -> ContactQuerySet:
    return audience(request.workspace, asked.get("audience") == "everyone", ids_of(asked.getlist("tags")))


def media_asked(request: WorkspaceRequest, uuid: str) -> Media | None:
    try:
        return Media.objects.for_workspace(request.workspace).filter(uuid=UUID(uuid)).first()
    except ValueError:
        return None


def ids_of(values: list[str]) -> list[int]:
    return [found for value in values if (found := int_of(value))]


def int_of(value: str) -> int:
    """0 where it is no positive number that fits an id."""
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 19 else 0
