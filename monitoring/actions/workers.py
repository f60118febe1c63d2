"""What people do to many device workers at once. Each answers with what it changed, as a sentence, or why nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from django.db import transaction

from accounts.audit import record
from accounts.models import User, Workspace
from accounts.throttle import take_check
from campaigns.actions.campaigns import pause_campaign, resume_campaign
from campaigns.actions.dead_letters import retry_failed
from campaigns.actions.locking import lock_with_streams
from campaigns.live import database_time
from campaigns.models import OPEN, Campaign, CampaignState, Stream
from campaigns.querysets.unsettled import Selection
from campaigns.shown import counted
from devices.actions import reconnect_devices
from devices.hosting.retiring import retire
from devices.jobs import hurry
from devices.models import Device, Host
from devices.shown import is_connected


@transaction.atomic
def resume_failed(workspace: Workspace, devices: Sequence[Device], by: User) -> str:
    """Have the definite failures of these devices' open campaigns tried again."""
    until = database_time()
    failed = Stream.objects.for_workspace(workspace).filter(device__in=devices, dead__gt=0, campaign__state__in=OPEN)
    found: dict[Campaign, set[int]] = {}
    for stream in failed.select_related("campaign").order_by("campaign"):
        assert stream.campaign is not None
        found.setdefault(stream.campaign, set()).add(stream.device_id)
    selections = [Selection(campaign, until, devices=at) for campaign, at in found.items()]
    lock_with_streams(found)
    brought = [retry_failed(selection, by) for selection in selections]
    people, touched = sum(brought), sum(map(bool, brought))
    record(workspace, by, "workers.resume_failed", devices=len(devices), campaigns=touched, messages=people)
    if people:
        verb = "is" if people == 1 else "are"
        return f"{counted(people, 'failed message')} of {counted(touched, 'campaign')} {verb} tried again."
    if found:
        return "Nothing is tried again: the time to send these has passed, or the people were erased."
    return "Nothing has failed in the open campaigns of these devices."


@transaction.atomic
def pause_all(workspace: Workspace, by: User) -> str:
    running = list(Campaign.objects.for_workspace(workspace).filter(state=CampaignState.RUNNING).order_by("pk"))
    lock_with_streams(running)
    paused = [campaign for campaign in running if pause_campaign(campaign, by)]
    record(workspace, by, "workers.pause_all", campaigns=len(paused))
    if not paused:
        return "No campaign is running."
    return f"{counted(len(paused), 'campaign')} paused. What was on its way is still settled."


@transaction.atomic
def resume_all(workspace: Workspace, by: User) -> str:
    """Those that paused themselves stay so: somebody has to look at each."""
    paused = list(Campaign.objects.for_workspace(workspace).filter(state=CampaignState.PAUSED).order_by("pk"))
    lock_with_streams(paused)
    by_itself = [campaign for campaign in paused if campaign.paused_why]
    resumed = [campaign for campaign in paused if not campaign.paused_why and resume_campaign(campaign, by)]
    record(workspace, by, "workers.resume_all", campaigns=len(resumed), left=len(by_itself))
    told = [f"{counted(len(resumed), 'campaign')} resumed." if resumed else "No campaign was paused by a person."]
    if by_itself:
        who = f"{len(by_itself)} that paused {'itself' if len(by_itself) == 1 else 'themselves'}"
        told.append(f"{who} {'stays' if len(by_itself) == 1 else 'stay'} so: look at each.")
    return " ".join(told)


@transaction.atomic
def reconnect_all(workspace: Workspace, devices: Sequence[Device], by: User) -> str:
    """``devices`` come from ``with_shown_state()``: those that are linked and not online are logged in afresh."""
    why_not = {device.pk: reason_not_to_reconnect(device) for device in devices}
    asked = reconnect_devices(workspace, [pk for pk, reason in why_not.items() if not reason], by)
    became = Counter("reconnecting" if pk in asked else reason or "banned" for pk, reason in why_not.items())
    record(workspace, by, "workers.reconnect", devices=dict(became))
    words = {
        "reconnecting": ("device reconnects", "devices reconnect"),
        "online": ("was online already", "were online already"),
        "unlinked": ("is not linked", "are not linked"),
        "banned": ("is banned", "are banned"),
        "busy": ("was asked something already", "were asked something already"),
    }
    told = [
        f"{became[name]} {one if became[name] == 1 else many}" for name, (one, many) in words.items() if became[name]
    ]
    if not told:
        return "There is no device to reconnect."
    if not became["reconnecting"]:
        told.insert(0, "no device reconnects")
    sentence = ", ".join(told)
    return f"{sentence[0].upper()}{sentence[1:]}."


def reason_not_to_reconnect(device: Device) -> str:
    if device.phone is None:
        return "unlinked"
    if is_connected(device):
        return "online"
    return "busy" if device.request else ""


@transaction.atomic
def check_health(workspace: Workspace | None, devices: Mapping[int, str | None], by: User) -> str:
    """Have the hosts of these devices say at once how they, their gateways and their devices are.

    Their heartbeat follows within a second or two; what it says stands on the page. ``devices``: the host of each, by
    device id. ``workspace`` None: by staff. One person may ask so often a minute.
    """
    if not take_check(by.pk):
        return "Hosts were asked a moment ago, and tell how they are every few seconds anyway. Ask again in a minute."
    of_host: dict[str, list[int]] = {}
    for device, owner in devices.items():
        if owner:
            of_host.setdefault(owner, []).append(device)
    alive = set(Host.objects.alive().filter(pk__in=list(of_host)).values_list("pk", flat=True))
    for host in alive:
        hurry(host, of_host[host])
    silent = sum(len(ids) for host, ids in of_host.items() if host not in alive)
    orphans = len(devices) - sum(len(ids) for ids in of_host.values())
    record(
        workspace,
        by,
        "workers.health_check" if workspace else "staff.health_check",
        hosts=len(alive),
        devices=len(devices),
    )
    told = []
    if alive:
        asked = sum(len(of_host[host]) for host in alive)
        told.append(
            f"{counted(len(alive), 'host')} with {counted(asked, 'device')} asked: the answer shows here in a moment."
        )
    if silent:
        told.append(f"{counted(silent, 'device')} can't be asked: {'its' if silent == 1 else 'their'} host is gone.")
    if orphans:
        told.append(f"{counted(orphans, 'device')} {'has' if orphans == 1 else 'have'} no host.")
    return " ".join(told) or "There is no device to ask about."


@transaction.atomic
def drain_host(host_id: str, by: User, *, undo: bool = False) -> str:
    """Have a running host hand all its devices to the others; as `manage.py drain`, without waiting for the end."""
    owned = Device.objects.filter(owner_id=host_id).count()
    if not retire(host_id, retiring=not undo):
        return "Nothing was changed: no running engine has this host id."
    record(None, by, "staff.host_kept" if undo else "staff.host_drained", f"host:{host_id}"[:80], devices=owned)
    if undo:
        return f"Host {host_id} takes devices again."
    others = Host.objects.alive().filter(retiring=False).exclude(pk=host_id).count()
    if not others and owned:
        stuck = counted(owned, "device")
        return f"Host {host_id} takes no devices any more. No other host runs: its {stuck} wait for one."
    return f"Host {host_id} hands its {counted(owned, 'device')} to {counted(others, 'other host')}."
