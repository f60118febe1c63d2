"""Who may open which address: written down once, for every address of the site. What is not in here fails the tests.

A new page takes one line in `MATRIX`: the name of its URL, and who may open it:

    public    anybody, signed in or not
    person    whoever is signed in
    viewer    members of the workspace with at least this role: lower roles get 403, strangers 404
    manager
    owner
    staff     staff of the installation

A new noun (an id in a URL) takes one line in `NOUNS`: the word before the id in the address, and what makes one.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from accounts.models import Workspace
from campaigns.models import ContactChange
from tests.campaigns.campaign_cases import planned_campaign
from tests.factories import (
    make_campaign,
    make_contact,
    make_device,
    make_import,
    make_media,
    make_segment,
    make_suppression,
    make_template,
    make_wall_link,
)


def make_recipient(workspace: Workspace) -> SimpleNamespace:
    """A message goes by its number in its campaign's pages."""
    return SimpleNamespace(uuid=planned_campaign(workspace, people=1, devices=1).messages.all()[0].pk)


MATRIX = {
    # config
    "root": "person",
    "favicon": "public",
    # accounts
    "accounts:setup": "public",  # 404 once somebody administers the installation
    "accounts:settings": "viewer",
    "accounts:save_workspace": "owner",
    "accounts:members": "viewer",
    "accounts:profile": "person",
    "accounts:workspaces": "person",
    "accounts:choose_workspace": "viewer",
    # django-allauth
    "account_login": "public",
    "account_logout": "public",
    "account_signup": "public",
    "account_inactive": "public",
    "account_email_verification_sent": "public",
    "account_confirm_email": "public",
    "account_confirm_login_code": "public",
    "account_reset_password": "public",
    "account_reset_password_done": "public",
    "account_reset_password_from_key": "public",
    "account_reset_password_from_key_done": "public",
    "account_reauthenticate": "person",
    "account_email": "person",
    "account_change_password": "person",
    "account_set_password": "person",
    # devices
    "devices:index": "viewer",
    "devices:add": "manager",
    "devices:device": "viewer",
    "devices:rename": "manager",
    "devices:pace": "manager",
    "devices:reconnect": "manager",
    "devices:send_again": "manager",
    "devices:unlink": "manager",
    "devices:remove": "manager",
    "devices:pair": "manager",
    "devices:cancel_pairing": "manager",
    "devices:play_phone": "manager",
    # campaigns
    "campaigns:device_test": "viewer",
    "campaigns:send_device_test": "manager",
    "campaigns:move_messages": "manager",
    "campaigns:move_people": "manager",
    "campaigns:list": "viewer",
    "campaigns:calendar": "viewer",
    "campaigns:create": "manager",
    "campaigns:preview": "viewer",
    "campaigns:preview_missing": "viewer",
    "campaigns:audience": "viewer",
    "campaigns:file_upload": "manager",
    "campaigns:file": "viewer",
    "campaigns:campaign": "viewer",
    "campaigns:edit": "manager",
    "campaigns:step": "manager",
    "campaigns:test_send": "manager",
    "campaigns:delete": "manager",
    "campaigns:clone": "manager",
    "campaigns:archive": "manager",
    "campaigns:unarchive": "manager",
    "campaigns:text": "manager",
    "campaigns:missing": "viewer",
    "campaigns:recipients": "viewer",
    "campaigns:recipients_export": "manager",
    "campaigns:recipient": "viewer",
    "campaigns:report": "viewer",
    "campaigns:report_details": "viewer",
    "campaigns:report_export": "viewer",
    "campaigns:leave_out": "manager",
    "campaigns:start": "manager",
    "campaigns:go_on": "manager",
    "campaigns:pause": "manager",
    "campaigns:resume": "manager",
    "campaigns:cancel": "manager",
    "campaigns:unschedule": "manager",
    "campaigns:failover": "manager",
    "campaigns:retry_confirm": "manager",
    "campaigns:retry_failed": "manager",
    "campaigns:send_again": "manager",
    "campaigns:assume_sent": "manager",
    "campaigns:contacts": "viewer",
    "campaigns:contact_add": "manager",
    "campaigns:check_numbers": "viewer",
    "campaigns:check_start": "manager",
    "campaigns:check_stop": "manager",
    "campaigns:contact": "viewer",
    "campaigns:contact_opt_out": "manager",
    "campaigns:contact_opt_in": "manager",
    "campaigns:contact_erase": "manager",
    "campaigns:consent": "viewer",
    "campaigns:consent_export": "manager",
    "campaigns:suppression": "viewer",
    "campaigns:suppression_add": "manager",
    "campaigns:suppression_export": "manager",
    "campaigns:suppression_remove": "manager",
    "campaigns:opt_out": "public",
    "campaigns:imports": "viewer",
    "campaigns:import_upload": "manager",
    "campaigns:import": "viewer",
    "campaigns:import_start": "manager",
    "campaigns:import_stop": "manager",
    "campaigns:import_discard": "manager",
    "campaigns:import_rejects": "viewer",
    "campaigns:contact_edit": "manager",
    "campaigns:contact_export": "manager",
    "campaigns:contact_change": "manager",
    "campaigns:contact_change_start": "manager",
    "campaigns:contact_change_page": "viewer",
    "campaigns:tags": "viewer",
    "campaigns:tag_rename": "manager",
    "campaigns:tag_delete": "manager",
    "campaigns:fields": "viewer",
    "campaigns:field_save": "manager",
    "campaigns:field_delete": "manager",
    "campaigns:segments": "viewer",
    "campaigns:segment_new": "manager",
    "campaigns:segment_rows": "manager",
    "campaigns:segment_preview": "manager",
    "campaigns:segment": "manager",
    "campaigns:segment_count": "viewer",
    "campaigns:segment_delete": "manager",
    "campaigns:import_kept_out": "viewer",
    "campaigns:import_sheet": "manager",
    "campaigns:import_real": "manager",
    "campaigns:import_undo": "manager",
    "campaigns:templates": "viewer",
    "campaigns:template_new": "manager",
    "campaigns:template": "viewer",
    "campaigns:template_duplicate": "manager",
    "campaigns:template_archive": "manager",
    "campaigns:template_restore": "manager",
    "campaigns:template_delete": "manager",
    "campaigns:media": "viewer",
    "campaigns:media_upload": "manager",
    "campaigns:media_picker": "manager",
    "campaigns:media_room": "viewer",
    "campaigns:media_make_room": "manager",
    "campaigns:media_thumbnail": "viewer",
    "campaigns:media_keep": "manager",
    "campaigns:media_rename": "manager",
    "campaigns:media_delete": "manager",
    # monitoring
    "monitoring:home": "viewer",
    "monitoring:healthz": "public",
    "monitoring:readyz": "public",
    "monitoring:redis_check": "staff",
    "monitoring:operations": "staff",
    "monitoring:drain": "staff",
    "monitoring:keep": "staff",
    "monitoring:fleet": "staff",
    "monitoring:fleet_worker": "staff",
    "monitoring:fleet_health_check": "staff",
    "monitoring:worker_status": "viewer",
    "monitoring:worker": "viewer",
    "monitoring:resume_failed": "manager",
    "monitoring:pause_all": "manager",
    "monitoring:resume_all": "manager",
    "monitoring:reconnect": "manager",
    "monitoring:health_check": "manager",
    "monitoring:wall_links": "manager",
    "monitoring:wall_revoke": "manager",
    "monitoring:wall": "public",
}
# Whole trees with one rule, by the beginning of the name or, for nameless patterns, of the address.
TREES = {"admin:": "staff", "django_rq:": "staff", "admin/": "staff"}

NOUNS: dict[str, Callable[[Workspace], Any]] = {
    "workspaces": lambda workspace: workspace,
    "devices": make_device,
    "campaigns": make_campaign,
    "contacts": make_contact,
    "suppressed": make_suppression,
    "files": make_media,
    "segments": make_segment,
    "changes": lambda workspace: ContactChange.objects.create(
        workspace=workspace, deed="tag", name="unmistakable tag", selection={"uuids": []}, up_to=0, expected=0
    ),
    "media": make_media,
    "templates": make_template,
    "imports": lambda workspace: make_import(workspace, b"name,phone\nAna,+60123456789\n"),
    "recipients": make_recipient,
    "workers": make_device,
    "walls": make_wall_link,
}
# What stands for parameters that are no ids of a workspace's nouns.
SAMPLES = {"token": "not-a-token", "key": "not-a-key", "uidb36": "1", "step": "audience", "table": "funnel"}
