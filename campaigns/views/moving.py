"""Moving what a device cannot send: the card on its page, and the answer to a campaign that asks."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.contact_moves import move_contacts
from campaigns.actions.failover import keep_waiting, send_from_others
from campaigns.actions.moving import move_pending
from campaigns.forms.moving import AnswerForm, MoveForm, MovePeopleForm, unsent_to_people_of
from campaigns.models import Contact, ContactMove
from campaigns.shown import counted
from campaigns.views.campaigns import the_campaign
from campaigns.views.direct import find_device
from campaigns.views.moves import answer


@require_http_methods(["GET", "HEAD", "POST"])
@workspace_role("manager")
def move_messages(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """The card of the device's page; a POST moves and says how many messages went where."""
    device = find_device(request, uuid)
    form = MoveForm(device, request.POST if request.method == "POST" else None)
    said = ""
    if request.method == "POST" and form.is_valid():
        chosen = form.cleaned_data
        targets = list(chosen["targets"])
        moved = move_pending(device, targets, chosen["campaign"], request.user)
        said = f"{counted(moved, 'message')} moved to {', '.join(target.name for target in targets)}."
        form = MoveForm(device)
    context = {"device": device, "form": form, "targets": form.fields["targets"].queryset, "said": said}  # type: ignore[attr-defined]
    return render(request, "campaigns/_move.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@workspace_role("manager")
def move_people(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """The card of the device's page: first how many it touches, then the move, then how far it has come."""
    device = find_device(request, uuid)
    form = MovePeopleForm(device, request.POST if request.method == "POST" else None)
    chosen = form.cleaned_data if request.method == "POST" and form.is_valid() else {}
    if chosen.get("sure"):
        move_contacts(device, chosen["to"], request.user)
        form, chosen = MovePeopleForm(device), {}
    moves = ContactMove.objects.filter(source=device).select_related("target")
    context = {
        "device": device,
        "form": form,
        "to": chosen.get("to"),
        "move": moves.order_by("-pk").first(),
        "people": Contact.objects.for_workspace(request.workspace).filter(device=device).count(),
        "unsent": unsent_to_people_of(device) if chosen else 0,
    }
    return render(request, "campaigns/_move_people.html", context, status=422 if form.errors else 200)


@require_POST
@workspace_role("manager")
def failover(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """The answer to what a campaign asks: about the devices that the page showed."""
    campaign = the_campaign(request, uuid)
    form = AnswerForm(request.POST)
    chosen, said = form.cleaned_data["answer"] if form.is_valid() else "", ""
    if chosen == "other":
        moved = send_from_others(campaign, devices_of(request.POST.getlist("device")), request.user)
        said = f"{counted(moved, 'message')} moved to other numbers." if moved else ""
    elif chosen == "wait" and keep_waiting(campaign, request.user):
        said = "The messages wait for their numbers. This can be changed under Edit."
    if said:
        messages.success(request, said)
    else:
        messages.warning(request, "Nothing was changed; the page shows the campaign as it is now.")
    campaign.refresh_from_db()
    return answer(request, campaign)


def devices_of(values: list[str]) -> set[UUID]:
    """Those that are ids at all; the campaign asks about its own devices only."""
    found = set()
    for value in values:
        try:
            found.add(UUID(value))
        except ValueError:
            continue
    return found
