"""Nobody waits crosswise: whoever takes several locks takes them in one order, and PostgreSQL ends nobody's work."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from campaigns.actions.campaigns import launch_campaign
from campaigns.actions.contact_changes import start_merge, work_on_change
from campaigns.actions.contact_moves import move_contacts
from campaigns.actions.failover import send_from_others
from campaigns.actions.planning import plan_chunk
from campaigns.actions.segments import InUse
from campaigns.models import Contact, ContactChange, ContactTag, Message, Stream, Tag
from devices.models import Device
from monitoring.invariants import audit, is_clean
from tests.campaigns.campaign_cases import planned_campaign
from tests.campaigns.waiting_for_locks import crosswise, while_held
from tests.factories import make_campaign, make_contact, make_device, make_host, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)


def saved_by_an_import(person: Contact) -> Callable[[], object]:
    """An import saves people in the order of their numbers."""
    return lambda: Contact.objects.filter(pk=person.pk).update(name="As the file says")


def test_a_campaign_is_planned_while_an_import_saves_the_same_people() -> None:
    make_workspace()
    workspace = make_workspace()
    later, earlier = make_contact(workspace, phone="+60129999999"), make_contact(workspace, phone="+60121111111")
    campaign = make_campaign(workspace, devices=(make_device(workspace),))
    launch_campaign(campaign, None)
    crosswise([saved_by_an_import(earlier), saved_by_an_import(later)], lambda: plan_chunk(campaign.pk))
    assert Message.objects.filter(campaign=campaign).count() == 2
    assert is_clean(audit()), audit()


def test_people_move_to_another_device_while_an_import_saves_them() -> None:
    make_workspace()
    workspace = make_workspace()
    source, target = make_device(workspace), make_device(workspace)
    later = make_contact(workspace, phone="+60129999999", device=source)
    earlier = make_contact(workspace, phone="+60121111111", device=source)
    crosswise(
        [saved_by_an_import(earlier), saved_by_an_import(later)],
        lambda: move_contacts(source, target, None),
    )
    assert set(Contact.objects.filter(workspace=workspace).values_list("device_id", flat=True)) == {target.pk}


def tagged_by_an_import(person: Contact, tag: Tag) -> Callable[[], object]:
    """An import gives tags in the order of people's ids, and does not lock whom it changes nothing else of."""
    return lambda: ContactTag.objects.create(workspace=tag.workspace, contact=person, tag=tag)


@pytest.mark.parametrize("given", ["source", "target"])
def test_a_tag_is_merged_while_an_import_gives_one_of_the_two_to_the_same_people(given: str) -> None:
    make_workspace()
    workspace = make_workspace()
    has = ("old",) if given == "target" else ()
    first, second = (make_contact(workspace, phone=phone, tags=has) for phone in ("+60129999999", "+60121111111"))
    make_contact(workspace, phone="+60125555555", tags=("old", "new"))
    old, new = (Tag.objects.select_related("workspace").get(workspace=workspace, name=name) for name in ("old", "new"))
    gives = [tagged_by_an_import(person, new if given == "target" else old) for person in (first, second)]
    crosswise(gives, lambda: start_merge(old, new, workspace.owner))
    tagged = Contact.objects.filter(tag_links__tag=new)
    assert tagged.count() == 3
    assert not Tag.objects.filter(pk=old.pk).exists()


def test_of_two_who_merge_two_tags_into_each_other_at_once_the_second_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("campaigns.actions.in_steps.STEP", 0)
    workspace = make_workspace()
    make_contact(workspace, tags=("old", "new"))
    old, new = (Tag.objects.select_related("workspace").get(name=name) for name in ("old", "new"))
    told: list[str] = []

    def the_other_way() -> None:
        with pytest.raises(InUse) as why:
            start_merge(new, old, workspace.owner)
        told.append(str(why.value))

    while_held(lambda: start_merge(old, new, workspace.owner), the_other_way)
    assert told == ["“old” is being merged into “new” already"]
    work_on_change(ContactChange.objects.get().pk)
    assert list(Tag.objects.values_list("name", flat=True)) == ["new"]


def test_several_devices_messages_are_handed_over_while_receipts_arrive_for_them() -> None:
    make_workspace()
    workspace = make_workspace()
    host = make_host(started_at=timezone.now() - timedelta(days=1))
    campaign = planned_campaign(workspace, people=6, devices=3, failover="ask")
    first, second, other = Device.objects.filter(campaign_links__campaign=campaign).order_by("pk")
    Device.objects.filter(pk=other.pk).update(owner=host, state="online")
    Device.objects.filter(pk__in=[first.pk, second.pk]).update(state="banned")
    streams = {stream.device_id: stream.pk for stream in Stream.objects.filter(campaign=campaign)}

    def receipt_for(device: Device) -> Callable[[], object]:
        return lambda: list(Stream.objects.filter(pk=streams[device.pk]).select_for_update(no_key=True))

    crosswise(
        [receipt_for(second), receipt_for(other)],
        lambda: send_from_others(campaign, {first.uuid, second.uuid}, workspace.owner),
    )
    assert Message.objects.filter(stream__device=other, state="pending").count() == 6
    assert is_clean(audit()), audit()
