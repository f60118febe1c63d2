"""Two people at one draft, and one person twice: nothing is made twice, and nothing is written over unseen."""

from __future__ import annotations

from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, User, Workspace
from campaigns.actions.campaigns import ChangedSince, launch_campaign
from campaigns.actions.drafts import Edit, create_draft, edit_draft, leave_out_absent
from campaigns.models import Campaign, CampaignState
from campaigns.steps import AUDIENCE, MESSAGE, WHEN
from tests.campaigns.campaign_cases import at, words
from tests.campaigns.form_cases import filled, step_url
from tests.campaigns.waiting_for_locks import while_held
from tests.factories import make_campaign, make_contact, make_device, make_member, make_user, make_workspace

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def ben(workspace: Workspace) -> User:
    return make_member(workspace, "manager", email="ben@example.com")


def at_once(client: Callable[[], Client], posts: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    """The answers to posts that are sent in the same instant, each by a browser of its own."""
    gate = Barrier(len(posts))
    answers: list[Any] = [None] * len(posts)
    browsers = [client() for _ in posts]

    def send(place: int) -> None:
        try:
            gate.wait(10)
            answers[place] = browsers[place].post(*posts[place])
        finally:
            connection.close()

    threads = [Thread(target=send, args=[place]) for place in range(len(posts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return answers


@pytest.mark.django_db(transaction=True)
def test_two_browsers_posting_the_same_new_campaign_make_one(sign_in: Callable[[User], Client]) -> None:
    owner = make_user("alice@example.com")
    make_workspace(owner)
    draft = filled(AUDIENCE, draft=str(uuid4()))
    answers = at_once(lambda: sign_in(owner), [(reverse("campaigns:create"), draft)] * 4)
    campaign = Campaign.objects.get()
    assert str(campaign.uuid) == draft["draft"]
    assert {answer.headers["Location"] for answer in answers} == {step_url(campaign, MESSAGE)}
    assert AuditEntry.objects.filter(action="campaign.created").count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_browsers_starting_one_campaign_start_it_once(sign_in: Callable[[User], Client], redis: Any) -> None:
    owner = make_user("alice@example.com")
    workspace = make_workspace(owner)
    make_contact(workspace)
    campaign = make_campaign(workspace, devices=(make_device(workspace),))
    answers = at_once(lambda: sign_in(owner), [(at("start", campaign), {"version": 0})] * 4)
    assert {answer.status_code for answer in answers} == {302}
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.RUNNING
    assert AuditEntry.objects.filter(action="campaign.started").count() == 1


def test_nobody_starts_what_somebody_else_changed_after_they_looked(
    workspace: Workspace, as_alice: Client, ben: User, sign_in: Callable[[User], Client]
) -> None:
    make_contact(workspace)
    campaign = make_campaign(workspace, devices=(make_device(workspace),))
    for change in (
        lambda: sign_in(ben).post(step_url(campaign, MESSAGE), filled(MESSAGE, text="<b>his</b>", version=0)),
        lambda: leave_out_absent(campaign, True, ben),
    ):
        seen = reviewed(as_alice.get(at("campaign", campaign)))
        change()
        refused = as_alice.post(at("start", campaign), {"version": seen})
        assert refused.status_code == 409
        assert "It was not started: ben@example.com changed it" in words(refused)
        assert "&lt;b&gt;his" in refused.content.decode()
        campaign.refresh_from_db()
        assert (campaign.state, reviewed(refused)) == (CampaignState.DRAFT, campaign.version)
    assert as_alice.post(at("start", campaign), {"version": reviewed(refused)}).status_code == 302
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.RUNNING
    assert as_alice.post(at("start", campaign), {"version": seen}).status_code == 302  # it runs, and that is all
    assert AuditEntry.objects.filter(action="campaign.started").count() == 1


def reviewed(page: Any) -> int:
    """The version that the button to start names."""
    return int(page.content.decode().partition('name="version" value="')[2].partition('"')[0])


@pytest.mark.django_db(transaction=True)
def test_an_edit_that_is_being_saved_is_seen_by_a_start(workspace: Workspace, ben: User) -> None:
    campaign = make_campaign(workspace, devices=(make_device(workspace),))
    refused: list[bool] = []

    def start() -> None:
        try:
            launch_campaign(campaign, workspace.owner, 0)
        except ChangedSince:
            refused.append(True)

    draft = Campaign.objects.get(pk=campaign.pk)
    while_held(lambda: edit_draft(draft, ben, {"name": "His"}), start)
    campaign.refresh_from_db()
    assert (refused, campaign.state) == ([True], CampaignState.DRAFT)


@pytest.mark.django_db(transaction=True)
def test_of_two_people_saving_at_once_one_is_told(sign_in: Callable[[User], Client]) -> None:
    owner = make_user("alice@example.com")
    workspace = make_workspace(owner)
    ben = make_member(workspace, "manager")
    campaign = make_campaign(workspace)
    users = iter([owner, ben])
    texts = ("hers", "his")
    posts = [(step_url(campaign, MESSAGE), filled(MESSAGE, text=text, version="0")) for text in texts]
    answers = at_once(lambda: sign_in(next(users)), posts)
    assert sorted(answer.status_code for answer in answers) == [302, 409]
    winner = texts[[answer.status_code for answer in answers].index(302)]
    campaign.refresh_from_db()
    assert campaign.content.text == winner


def test_a_page_sent_again_with_other_words_changes_the_draft_it_made(workspace: Workspace, as_alice: Client) -> None:
    draft = str(uuid4())
    for name in ("First", "Second"):
        as_alice.post(reverse("campaigns:create"), filled(AUDIENCE, draft=draft, name=name))
    assert Campaign.objects.get().name == "Second"


def test_an_id_of_another_workspace_makes_a_draft_of_its_own(workspace: Workspace, as_alice: Client) -> None:
    theirs = make_campaign(make_workspace(), name="Theirs")
    as_alice.post(reverse("campaigns:create"), filled(AUDIENCE, draft=str(theirs.uuid)))
    theirs.refresh_from_db()
    assert theirs.name == "Theirs"
    assert Campaign.objects.for_workspace(workspace).get().uuid != theirs.uuid


def test_whoever_looked_before_somebody_elses_edit_is_asked_and_keeps_what_was_typed(
    workspace: Workspace, as_alice: Client, ben: User, sign_in: Callable[[User], Client]
) -> None:
    campaign = make_campaign(workspace)
    seen = as_alice.get(step_url(campaign, MESSAGE)).context["campaign"].version
    sign_in(ben).post(step_url(campaign, MESSAGE), filled(MESSAGE, text="his", version=seen))
    alone = as_alice.post(step_url(campaign, MESSAGE), filled(MESSAGE, text="hers", version=seen), headers=HTMX)
    assert "ben@example.com changed this campaign" in words(alone)
    assert f'name="version" value="{seen}"' in alone.content.decode()
    answer = as_alice.post(step_url(campaign, MESSAGE), filled(MESSAGE, text="hers", version=seen))
    page = answer.content.decode()
    assert answer.status_code == 409
    assert "ben@example.com changed this campaign" in words(answer)
    assert ">hers</textarea>" in page
    assert 'id="saved"' not in page  # until she has decided nothing saves itself
    campaign.refresh_from_db()
    assert campaign.content.text == "his"
    assert f'name="version" value="{campaign.version}"' in page
    decided = filled(MESSAGE, text="hers", version=campaign.version)
    assert as_alice.post(step_url(campaign, MESSAGE), decided).status_code == 302
    campaign.refresh_from_db()
    assert campaign.content.text == "hers"


def test_ones_own_other_window_is_no_stranger_but_what_saves_itself_comes_late(workspace: Workspace, ben: User) -> None:
    alice = workspace.owner
    campaign, _ = create_draft(workspace, alice, uuid4(), {"name": "One"})
    assert edit_draft(campaign, alice, {"name": "Two"}, 0) == Edit.SAVED
    assert edit_draft(campaign, alice, {"name": "Late"}, 0, alone=True) == Edit.NEWER
    assert edit_draft(campaign, alice, {"name": "Three"}, 0) == Edit.SAVED
    assert edit_draft(campaign, ben, {"name": "Four"}, 2) == Edit.SAVED
    # She edits on what he did; a window from before that is still from before that.
    assert edit_draft(campaign, alice, {"name": "Five"}, 3) == Edit.SAVED
    assert edit_draft(campaign, alice, {"name": "Six"}, 2) == Edit.NEWER
    assert (campaign.name, Campaign.objects.get().name) == ("Five", "Five")


def test_a_step_saves_itself_and_says_what_it_could_not_take(workspace: Workspace, as_alice: Client) -> None:
    campaign = make_campaign(workspace)
    form = filled(WHEN, expire_after_h="12", stagger="x", version="0")
    answer = as_alice.post(step_url(campaign, WHEN), form, headers=HTMX)
    assert "Saved" in words(answer)
    assert "but for what needs another look: Minutes from device to device" in words(answer)
    assert 'name="version" value="1"' in answer.content.decode()
    campaign.refresh_from_db()
    assert (campaign.expire_after_h, campaign.steps_done) == (12, 0)
    for version in range(1, 4):
        as_alice.post(step_url(campaign, WHEN), {**form, "version": version}, headers=HTMX)
    assert AuditEntry.objects.filter(target=campaign.target, action="campaign.edited").count() == 1
    Campaign.objects.update(state=CampaignState.RUNNING)
    late = as_alice.post(step_url(campaign, WHEN), form, headers=HTMX)
    assert late.headers["HX-Redirect"] == at("campaign", campaign)
