"""The public page behind an opt-out link: what a person may choose for themselves, without an account."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.masking import mask_phones
from accounts.tenancy import tenant_scope
from accounts.throttle import WINDOW_S, source_of, take_choice
from campaigns.actions.opt_out import keep_silent, start_again, stop_all
from campaigns.actions.suppression import suppressed_everywhere, suppression_of
from campaigns.models import Contact, SuppressionSource
from campaigns.opt_out import contact_of

CHOICES = {"stop": stop_all, "silence": keep_silent, "start": start_again}


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@login_not_required
def opt_out(request: HttpRequest, token: str) -> HttpResponse:
    """WhatsApp itself and whoever looks for harmful links open it, too: only a POST changes anything."""
    answer = _answer(request, token)
    answer.headers["X-Robots-Tag"] = "noindex, nofollow"
    return answer


def _answer(request: HttpRequest, token: str) -> HttpResponse:
    uuid = contact_of(token)
    if uuid is None:
        return render(request, "campaigns/opt_out/unknown.html", status=404)
    # Before any scope: the signature, and nothing that the visitor says, leads to the workspace.
    contact = Contact.objects.select_related("workspace").filter(uuid=uuid).first()
    if contact is None:
        return render(request, "campaigns/opt_out/gone.html")
    if request.method == "POST" and not take_choice(source_of(request)):
        answer = render(request, "campaigns/opt_out/busy.html", status=429)
        answer.headers["Retry-After"] = str(WINDOW_S)
        return answer
    workspace = contact.workspace
    if request.method == "POST":
        with tenant_scope(workspace):
            if choose := CHOICES.get(request.POST.get("choice", "")):
                choose(contact)
        return redirect("campaigns:opt_out", token)
    with tenant_scope(workspace):
        context = choices_of(contact)
    with timezone.override(workspace.zone):  # outside the scope, which knows no sessions
        return render(request, "campaigns/opt_out/page.html", context)


def choices_of(contact: Contact) -> dict[str, object]:
    suppression = suppression_of(contact.workspace, contact.phone)
    stopped = bool(suppression or contact.opted_out_at or suppressed_everywhere(contact.phone))
    silent = contact.paused_until is not None and contact.paused_until > timezone.now()
    return {
        "sender": contact.workspace.name,
        "number": mask_phones(contact.phone),
        "stopped": stopped,
        "stopped_here": bool(suppression and suppression.source == SuppressionSource.LINK),
        "silent_until": contact.paused_until if silent and not stopped else None,
    }
