"""Writing campaigns, step by step: each is saved by itself, and what is right is saved whatever else is wrong."""

from __future__ import annotations

from uuid import UUID, uuid4

from django.contrib import messages
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.datastructures import MultiValueDict
from django.views.decorators.http import require_POST

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.drafts import (
    Changes,
    Edit,
    VariantText,
    change_safety,
    change_text,
    create_draft,
    delete_draft,
    edit_draft,
    variant_texts_of,
)
from campaigns.actions.templates import NameTaken, save_template
from campaigns.audience import field_words
from campaigns.forms.campaigns import RunningForm
from campaigns.forms.direct import DraftTestForm
from campaigns.forms.steps import FORMS, AudienceForm, StepForm, morning_of
from campaigns.lists import day_of
from campaigns.live import figures, streams_of
from campaigns.models import Campaign, CampaignState, Segment, Tag, Template
from campaigns.steps import AUDIENCE, MESSAGE, REVIEW, STEPS, after, next_step, steps_of
from campaigns.views.answers import is_fragment, say
from campaigns.views.campaigns import the_campaign
from campaigns.views.previews import NO_ROWS, OWN_WORDS, int_of, uuid_of
from devices.models import Device

TEMPLATES_OFFERED = 200


@workspace_role("manager")
def create(request: WorkspaceRequest) -> HttpResponse:
    """The first step. Its answer makes the draft, once however often it is sent: the page names it beforehand."""
    form = AudienceForm(request.workspace, request.user, *posted(request), initial=first_choices(request))
    if request.method == "POST" and form.is_valid():
        uuid = uuid_of(request.POST.get("draft", "")) or uuid4()
        changes = {**beginnings(request), **form.changes()}
        campaign, made = create_draft(request.workspace, request.user, uuid, changes)
        return follow(request, campaign, AUDIENCE) if made else save_step(request, campaign, AUDIENCE, form, 0)
    return step_page(request, form, AUDIENCE)


def posted(request: WorkspaceRequest) -> tuple[QueryDict | None, MultiValueDict | None]:
    """What was filled in, and the files among it; nothing before a form is sent."""
    return (request.POST, request.FILES) if request.method == "POST" else (None, None)


def first_choices(request: WorkspaceRequest) -> dict[str, list[int]]:
    """The tags and segments that the address names: `?tag=…` from an import, `?segment=…` from a segment."""
    tags = Tag.objects.for_workspace(request.workspace).filter(name__in=request.GET.getlist("tag"))
    uuids = [uuid for asked in request.GET.getlist("segment") if (uuid := uuid_of(asked))]
    segments = Segment.objects.for_workspace(request.workspace).filter(uuid__in=uuids)
    return {
        "tags": list(tags.values_list("pk", flat=True)),
        "segments": list(segments.values_list("pk", flat=True)),
    }


def beginnings(request: WorkspaceRequest) -> Changes:
    """What a new draft has from its page's address, a template or a day; and the device where there is but one."""
    linked = Device.objects.for_workspace(request.workspace).linked()[:2]
    changes: Changes = {"devices": linked if len(linked) == 1 else []}
    if day := day_of(request.POST.get("day", "")):
        changes["start_at"] = morning_of(day, request.workspace)
    if template := template_asked(request, request.POST.get("template", "")):
        changes |= {"variant_texts": [VariantText(template.content.text)], "media": template.content.media}
    return changes


def template_asked(request: WorkspaceRequest, uuid: str) -> Template | None:
    own = Template.objects.for_workspace(request.workspace).select_related("content__media")
    return own.filter(uuid=uuid_of(uuid) or NO_ROWS).first()


@workspace_role("manager")
def edit(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """Go on where somebody left off."""
    campaign = the_campaign(request, uuid)
    return redirect("campaigns:step", campaign.uuid, next_step(campaign))


@workspace_role("manager")
def step(request: WorkspaceRequest, uuid: UUID, step: str) -> HttpResponse:
    campaign = the_campaign(request, uuid)
    if step not in STEPS:
        raise Http404("There is no such step.")
    if campaign.state != CampaignState.DRAFT:
        return say(request, "Only a draft can be edited. Of a running campaign the text can be changed.", campaign)
    if request.method == "POST":
        data = with_template(request) if step == MESSAGE else request.POST
        form = FORMS[step](request.workspace, request.user, data, request.FILES, campaign=campaign)
        version = request.POST.get("version")
        return save_step(request, campaign, step, form, None if version is None else int_of(version))
    form = FORMS[step](request.workspace, request.user, campaign=campaign)
    return step_page(request, form, step, campaign)


def with_template(request: WorkspaceRequest) -> QueryDict:
    """What was filled in, with a template's message in place of the first variant where somebody asked for that."""
    template = template_asked(request, request.POST.get("template", "")) if "use_template" in request.POST else None
    if template is None:
        return request.POST
    data = request.POST.copy()
    data["text"] = template.content.text
    data["media_uuid"] = str(template.content.media.uuid) if template.content.media else ""
    return data


def save_step(
    request: WorkspaceRequest, campaign: Campaign, step: str, form: StepForm, version: int | None
) -> HttpResponse:
    """Save what is right of it. By htmx: it saved itself in the background, and hears in a line what became of that."""
    valid, alone = form.is_valid(), is_fragment(request)
    steps_done = STEPS.index(step) + 1 if valid and not alone else 0
    outcome = edit_draft(campaign, request.user, form.changes(), version, alone=alone, steps_done=steps_done)
    if alone:
        wrong = [form.fields[name].label or name.replace("_", " ") for name in form.errors if name in form.fields]
        context = {"campaign": campaign, "outcome": outcome.value, "wrong": wrong, "version": version}
        return render(request, "campaigns/_saved.html", context)
    if outcome == Edit.CLOSED:
        return say(request, "Somebody started this campaign meanwhile; your changes were not saved.", campaign)
    if outcome == Edit.NEWER:
        return step_page(request, form, step, campaign, newer=True)
    if not valid:
        return step_page(request, form, step, campaign)
    if step == MESSAGE and "keep_template" in request.POST:
        keep_as_template(request, campaign)
    return follow(request, campaign, step)


def keep_as_template(request: WorkspaceRequest, campaign: Campaign) -> None:
    name = request.POST.get("template_name", "").replace("\0", "").strip() or campaign.name
    content = campaign.content
    try:
        template = save_template(request.workspace, request.user, name, content.text, content.media)
        messages.success(request, f"The message is kept as the template “{template.name}”.")
    except NameTaken as taken:
        messages.warning(request, str(taken))


def follow(request: WorkspaceRequest, campaign: Campaign, step: str) -> HttpResponse:
    """To the step that was asked for, else the next one."""
    stay = "use_template" in request.POST or "keep_template" in request.POST
    asked = step if stay else request.POST.get("go", "")
    to = asked if asked in (*STEPS, REVIEW) else after(step)
    if to == REVIEW:
        return redirect("campaigns:campaign", campaign.uuid)
    return redirect("campaigns:step", campaign.uuid, to)


def step_page(
    request: WorkspaceRequest, form: StepForm, step: str, campaign: Campaign | None = None, newer: bool = False
) -> HttpResponse:
    """``newer``: somebody else changed the draft, and nothing of the form was saved; the form still holds it all."""
    context = {
        "form": form,
        "campaign": campaign,
        "step": step,
        "steps": steps_of(campaign, step),
        "following": after(step),
        "newer": newer,
        "workspace": request.workspace,
        "draft": uuid_of(request.POST.get("draft", "")) or uuid4(),
        **extras(request, step, campaign),
    }
    status = 409 if newer else 422 if form.errors else 200
    return render(request, f"campaigns/steps/{step}.html", context, status=status)


def extras(request: WorkspaceRequest, step: str, campaign: Campaign | None) -> dict[str, object]:
    if campaign is None:
        asked = request.POST if request.method == "POST" else request.GET
        return {"template": template_asked(request, asked.get("template", "")), "day": day_of(asked.get("day", ""))}
    if step != MESSAGE:
        return {}
    templates = Template.objects.for_workspace(request.workspace).filter(archived_at=None)
    return {
        "words": OWN_WORDS + field_words(request.workspace),
        "templates": templates.order_by("name")[:TEMPLATES_OFFERED],
        "test": DraftTestForm(request.workspace),
    }


@workspace_role("manager")
def text(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """What can be changed after the start: the text for those not written to yet, and what happens if it goes wrong."""
    campaign = the_campaign(request, uuid)
    form = RunningForm(request.user, *posted(request), campaign=campaign)
    if request.method == "POST" and form.is_valid():
        said = []
        if change_text(campaign, form.cleaned_data["text"], request.user, form.chosen, form.others):
            said.append("Everyone not written to yet gets the new message.")
        if change_safety(campaign, form.safety(), request.user):
            said.append("What happens when something goes wrong is as you chose.")
        return say(request, " ".join(said) or "Nothing was changed.", campaign)
    context = {
        "form": form,
        "campaign": campaign,
        "words": OWN_WORDS + field_words(request.workspace),
        "remaining": figures(streams_of([campaign])[campaign.pk])["remaining"],
        "several": len(variant_texts_of(campaign)) > 1,
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
