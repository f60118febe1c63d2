"""Templates: messages kept for later campaigns, their page and their editor."""

from __future__ import annotations

import pytest

from accounts.models import AuditEntry, User, Workspace
from campaigns.actions.templates import (
    NameTaken,
    archive_template,
    delete_template,
    duplicate_template,
    edit_template,
    save_template,
)
from campaigns.models import Content, Template
from tests.factories import make_media, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace(alice: User) -> Workspace:
    return make_workspace(alice)


def test_a_template_is_kept_under_a_name_of_its_own(workspace: Workspace, alice: User) -> None:
    media = make_media(workspace)
    template = save_template(workspace, alice, "  Spring \n offer ", "Hi {{ name }}", media)
    assert (template.name, template.content.text, template.content.media) == ("Spring offer", "Hi {{ name }}", media)
    with pytest.raises(NameTaken, match="“Spring offer” already"):
        save_template(workspace, alice, "Spring offer", "Other", None)
    save_template(make_workspace(), None, "Spring offer", "Theirs", None)
    assert Content.objects.filter(workspace=workspace).count() == 1
    assert AuditEntry.objects.filter(action="template.saved", target=f"template:{template.uuid}").count() == 1


def test_an_edit_makes_another_version_and_lets_the_old_file_go(workspace: Workspace, alice: User) -> None:
    media = make_media(workspace)
    template = save_template(workspace, alice, "Spring", "Hi", media)
    first = template.content
    save_template(workspace, alice, "Autumn", "Hi", None)
    assert not edit_template(template, alice, "Spring", "Hi", media)
    with pytest.raises(NameTaken):
        edit_template(template, alice, "Autumn", "Changed", None)
    assert Template.objects.get(pk=template.pk).content == first
    assert edit_template(template, alice, "Spring 2", "Hello", None)
    assert (template.name, template.content.text) == ("Spring 2", "Hello")
    assert not media.contents.exists()


def test_copies_get_names_of_their_own(workspace: Workspace, alice: User) -> None:
    template = save_template(workspace, alice, "x" * 80, "Hi", None)
    names = [duplicate_template(template, alice).name for _ in range(3)]
    assert names == ["x" * 73 + " (copy)", "x" * 71 + " (copy 2)", "x" * 71 + " (copy 3)"]


def test_a_template_is_put_away_taken_out_and_deleted(workspace: Workspace, alice: User) -> None:
    media = make_media(workspace)
    template = save_template(workspace, alice, "Spring", "Hi", media)
    assert archive_template(template, alice, True)
    assert not archive_template(template, alice, True)
    assert template.archived_at is not None
    assert archive_template(template, alice, False)
    assert template.archived_at is None
    assert delete_template(template, alice)
    assert not delete_template(template, alice)
    assert not media.contents.exists()
