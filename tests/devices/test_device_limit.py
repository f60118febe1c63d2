"""The limit on devices holds between two connections that add the last one at the same moment."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from devices import actions
from devices.models import Device
from tests.factories import make_device, make_workspace


@pytest.mark.django_db(transaction=True)
def test_two_browsers_cannot_both_add_the_last_device() -> None:
    workspace = make_workspace(device_limit=3)
    make_device(workspace)
    make_device(workspace)
    together = threading.Barrier(5)
    ends: list[str] = []

    def add(number: int) -> None:
        try:
            together.wait(10)
            actions.add_device(workspace, workspace.owner, f"Last {number}", "simulator")
        except actions.Refused as refusal:
            ends.append(str(refusal))
        else:
            ends.append("added")
        finally:
            connection.close()

    browsers = [threading.Thread(target=add, args=(number,)) for number in range(5)]
    for browser in browsers:
        browser.start()
    for browser in browsers:
        browser.join(20)
    assert sorted(ends) == ["This workspace has its 3 devices."] * 4 + ["added"]
    assert Device.objects.filter(workspace=workspace).count() == 3


@pytest.mark.django_db(transaction=True)
def test_a_pairing_asked_twice_at_once_is_asked_once() -> None:
    workspace = make_workspace()
    device = make_device(workspace, linked=False)
    together = threading.Barrier(4)
    asked: list[bool] = []

    def pair() -> None:
        mine = Device.objects.select_related("workspace").get(pk=device.pk)
        together.wait(10)
        asked.append(actions.pair_device(mine, workspace.owner))
        connection.close()

    browsers = [threading.Thread(target=pair) for _ in range(4)]
    for browser in browsers:
        browser.start()
    for browser in browsers:
        browser.join(20)
    assert sorted(asked) == [False, False, False, True]
    assert device.events.count() == 1
