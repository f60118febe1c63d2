"""Templates: messages kept for later campaigns, their page and their editor."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, User, Workspace
from campaigns.actions.templates import (
    NameTaken,
    archive_template,
    delete_template,
    duplicate_template,
    edit_template,
    save_template,
)
from campaigns.models import Campaign, Content, Template
from tests.campaigns.campaign_cases import words
from tests.factories import make_contact, make_media, make_template, make_workspace

pytestmark = pytest.mark.django_db


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


# --- pages ----------------------------------------------------------------------------------------------------------

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'


def page_at(name: str, template: Template) -> str:
    return reverse(f"campaigns:{name}", args=[template.uuid])


def test_the_menu_leads_to_content_which_says_how_to_begin(
    workspace: Workspace, as_alice: Client, as_bob: Client
) -> None:
    page = as_alice.get("/content/")
    assert 'href="/content/"' in page.content.decode()
    assert "Write a template" in words(page)
    assert "Write a template" not in words(as_bob.get("/content/"))


def test_a_template_is_written_found_changed_and_used(workspace: Workspace, as_alice: Client) -> None:
    new = reverse("campaigns:template_new")
    photo = SimpleUploadedFile("terrace.pdf", b"%PDF-1.7\n")
    answer = as_alice.post(new, {"name": "Spring", "text": " {Hi|Hello}\r\n{{ name }} ", "file": photo})
    assert answer.headers["Location"] == "/content/"
    template = Template.objects.get()
    assert template.content.text == "{Hi|Hello}\n{{ name }}"
    assert template.content.media is not None
    listed = as_alice.get("/content/", {"q": "hello"})
    assert "terrace.pdf" in words(listed)
    assert f"/campaigns/new/?template={template.uuid}" in listed.content.decode()
    assert "Nothing like that" in words(as_alice.get("/content/", {"q": "autumn"}))
    as_alice.post(page_at("template", template), {"name": "Autumn", "text": "Bye"})
    template.refresh_from_db()
    assert (template.name, template.content.text, template.content.media) == ("Autumn", "Bye", None)


def test_what_is_wrong_stands_beside_its_field_with_its_place(workspace: Workspace, as_alice: Client) -> None:
    taken = make_template(workspace)
    new = reverse("campaigns:template_new")
    answer = as_alice.post(new, {"name": "", "text": "\nHi {{ name | nonsense }} there"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Give the template a name." in page
    assert "Line 2, column 14: There is no filter called “nonsense”." in page
    assert "Hi {{ name | <mark>n</mark>onsense }} there" in page
    assert 'data-line="2"' in page
    assert "There is a template called" in words(as_alice.post(new, {"name": taken.name, "text": "Hi"}))
    assert "Write what the message says" in words(as_alice.post(new, {"name": "Other", "text": " "}))
    assert Template.objects.count() == 1


def test_the_archive_keeps_templates_out_of_the_way(workspace: Workspace, as_alice: Client) -> None:
    template = make_template(workspace)
    address = page_at("template", template)

    def listed(**query: str) -> bool:
        return address in as_alice.get("/content/", query).content.decode()

    as_alice.post(page_at("template_archive", template))
    assert not listed()
    assert listed(archived="1")
    as_alice.post(page_at("template_restore", template))
    assert listed()
    assert not listed(archived="1")
    copy = as_alice.post(page_at("template_duplicate", template)).headers["Location"]
    assert f"{template.name} (copy)" in words(as_alice.get(copy))
    as_alice.post(page_at("template_delete", template))
    assert list(Template.objects.values_list("name", flat=True)) == [f"{template.name} (copy)"]
    assert not Campaign.objects.exists()


def test_whoever_only_looks_sees_the_message_and_nothing_to_press(workspace: Workspace, as_bob: Client) -> None:
    template = make_template(workspace, "Hi *there*")
    page = as_bob.get(page_at("template", template)).content.decode()
    assert "<strong>there</strong>" in page
    assert "Save the template" not in page
    assert as_bob.post(page_at("template", template), {"name": "x", "text": "y"}).status_code == 200
    assert "Use in a campaign" not in words(as_bob.get("/content/"))
    template.refresh_from_db()
    assert template.content.text == "Hi *there*"


def test_hostile_names_and_texts_are_only_words(workspace: Workspace, as_alice: Client, as_bob: Client) -> None:
    template = save_template(workspace, None, HOSTILE, HOSTILE + " *" + HOSTILE + "* > " + HOSTILE, None)
    for client in (as_alice, as_bob):
        for address in ("/content/", page_at("template", template)):
            page = client.get(address).content.decode()
            assert "<script>alert" not in page
            assert "<img src=x" not in page
            assert "&lt;script&gt;" in page


def test_many_templates_come_in_pages_with_few_queries(
    workspace: Workspace, as_alice: Client, django_assert_max_num_queries: object
) -> None:
    contents = Content.objects.bulk_create(Content(workspace=workspace, text=f"Hi {number}") for number in range(120))
    Template.objects.bulk_create(
        Template(workspace=workspace, name=f"T {number:03}", content=content) for number, content in enumerate(contents)
    )
    with django_assert_max_num_queries(14):  # type: ignore[operator]
        page = words(as_alice.get("/content/"))
    assert "50 of 120" in page
    assert "T 049" in page
    assert "T 119" in words(as_alice.get("/content/", {"page": "3"}))


# --- the preview ----------------------------------------------------------------------------------------------------


def test_the_preview_steps_through_wordings_and_people(workspace: Workspace, as_alice: Client) -> None:
    make_contact(workspace, name="Ana")
    make_contact(workspace, name="<b>Ben</b>")

    def preview(**fields: object) -> str:
        asked = {"text": "{Hi|Hello} {{ name }}", "audience": "everyone", "field": "text", **fields}
        return as_alice.post(reverse("campaigns:preview"), asked).content.decode()

    assert "Hi Ana" in preview()
    assert "Wording 1 of 2" in preview()
    assert "Hello &lt;b&gt;Ben&lt;/b&gt;" in preview(wording="2", number="2")
    assert "Wording 2 of 2" in preview(wording="99")
    assert "Wording" not in preview(text="Hi")
    assert "Wording 1 of 1,000,000 and more" in preview(text="{a|b}" * 30)


def test_the_preview_marks_a_mistake_beside_the_field(workspace: Workspace, as_alice: Client) -> None:
    asked = {"text": "Hi {Ana|Ben", "audience": "everyone", "field": "text"}
    page = as_alice.post(reverse("campaigns:preview"), asked).content.decode()
    assert 'id="text-problem" aria-live="polite" hx-swap-oob="true"' in page
    assert "Hi <mark>{</mark>Ana|Ben" in page
    assert "text-problem" not in as_alice.post(reverse("campaigns:preview"), {**asked, "field": ""}).content.decode()
