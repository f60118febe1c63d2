"""Erasing a contact: what it does is said before, and the number's last digits are asked for."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.erasing import erase_contact
from campaigns.forms.suppression import EraseForm
from campaigns.views.contacts import the_contact

LEAVING = (
    "A message to this person is leaving at this moment. What waited for them was cancelled; "
    "erase them again in a minute."
)


@require_http_methods(["GET", "POST"])
@workspace_role("manager")
def contact_erase(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    contact = the_contact(request, uuid)
    form = EraseForm(request.POST or None, phone=contact.phone)
    if request.method == "POST" and form.is_valid():
        if erase_contact(contact, request.user):
            messages.success(request, "This person was erased.")
            return redirect("campaigns:contacts")
        form.add_error(None, LEAVING)
    context = {"contact": contact, "form": form, "messages_kept": contact.messages.count()}
    return render(request, "campaigns/contacts/erase.html", context, status=422 if form.is_bound else 200)
