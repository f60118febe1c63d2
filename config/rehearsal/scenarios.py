"""The scenarios of `manage.py chaos`: what happens in each, how often, and what it must not cost."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from math import inf

from django.conf import settings
from django.db.models import Count, Sum

from accounts.models import AuditEntry, Workspace
from campaigns.actions.campaigns import cancel_campaign, launch_campaign, pause_campaign, resume_campaign
from campaigns.actions.suppression import suppress
from campaigns.models import Campaign, Contact, Failover, Message, SuppressionSource
from config.rehearsal import faults, looking
from config.rehearsal.checker import Silence
from config.rehearsal.faults import Facts
from config.rehearsal.ledger import read_ledger
from config.rehearsal.play import DIED_AT_FAULT_POINT, FENCED, LITTLE, SHORT_LEASES, Play, Scenario, slowest
from config.rehearsal.world import Size
from devices.fault_points import POINTS
from devices.gateway.control import SimulatorControl
from devices.gateway.network import Dice
from devices.models import Device

STOPS_WITHIN_S = 2.0
LOST_SHARE = 0.05
BANNED_SHARE = 0.1
DEATHS_WITHIN_S = 900.0
IDLE_FAULT_S = 3.0
RESUMES_WITHIN_S = 60.0
WORTH_STOPPING = 10


def kill_engines(play: Play, times: int) -> Facts:
    """kill -9 of any engine every 0.5 to 1.5 s. P2, P4, P5, P6."""
    play.launch()
    shares = looking.devices_of_hosts()
    for _ in range(times):
        play.installation.let_pass(play.rng.uniform(0.5, 1.5))
        play.installation.until("a running engine", lambda: any(one.running for one in play.installation.engines))
        play.installation.kill(play.rng.choice([one for one in play.installation.engines if one.running]))
    back = play.installation.until("the devices", play.installation.everybody_online)
    return {"kills": times, "devices_of_hosts": shares, "back_s": back}


def kill_gateways(play: Play, times: int) -> Facts:
    """kill -9 of the process that holds the sessions. P5."""
    play.launch()
    seen = []
    for _ in range(times):
        play.installation.let_pass(play.rng.uniform(0.5, 1.5))
        seen.append(faults.kill_gateway(play.installation, play.rng))
    in_flight = sum(one["in_flight"] for one in seen)
    return {
        "kills": times,
        "in_flight": in_flight,
        "told_s": slowest(seen, "told_s"),
        "back_s": slowest(seen, "back_s"),
    }


def kill_everything(play: Play, times: int) -> Facts:
    """Power failure: every process of ours, PostgreSQL and Redis at once. P2, P4, P5, P7."""
    play.launch()
    seen = []
    for _ in range(times):
        play.installation.let_pass(play.rng.uniform(2, 4))
        seen.append(faults.everything_killed(play.installation, play.rng))
        play.expect("not_back_within_60_s", seen[-1]["resumed_s"] <= RESUMES_WITHIN_S, seen[-1])
    in_flight = sum(one["in_flight"] for one in seen)
    return {"times": times, "in_flight": in_flight, "resumed_s": slowest(seen, "resumed_s")}


def stop_engines_in_turn(play: Play, times: int) -> Facts:
    """SIGTERM to one engine after the other, as at a deployment. P8."""
    play.launch()
    seen = []
    for number in range(times):
        seen.append(faults.stop_engine(play.installation, play.rng, number % len(play.installation.engines)))
        play.expect("stop_took_longer_than_10_s", seen[-1]["seconds"] <= 10, seen[-1])
        play.expect("stop_was_not_orderly", seen[-1]["code"] == 0, seen[-1])
        play.expect("stop_left_something_open", seen[-1]["in_flight"] == 0 and seen[-1]["uncertain"] <= 0, seen[-1])
        play.installation.until("the devices", play.installation.everybody_online)
        play.installation.let_pass(0.5)
    return {"stops": times, "slowest_s": slowest(seen, "seconds")}


def die_at_fault_points(play: Play, times: int) -> Facts:
    """Engines that die by themselves in the middle of what they do, each at its own point. P2, P4, P5, P11."""
    installation = play.installation
    point_of = {engine: engine.environment["FAULT"].partition(":")[0] for engine in installation.engines}
    installation.until("the first devices", lambda: looking.online() > 0)
    play.launch()

    def deaths() -> Counter[str]:
        return Counter(point_of[engine] for engine, code in installation.ends if code == DIED_AT_FAULT_POINT[1])

    def enough() -> bool:
        counted = deaths()
        for engine, point in point_of.items():
            if counted[point] >= times and engine.environment.pop("FAULT", ""):
                installation.kill(engine)  # from now on it lives, and leaves devices to the others
            elif point == "in_takeover" and counted[point] < times and looking.is_up(engine.pid, IDLE_FAULT_S):
                installation.kill(engine)  # nothing to take over any more: it has its own devices when it starts
        return not any("FAULT" in engine.environment for engine in point_of)

    installation.until(f"{times} deaths at each point", enough, DEATHS_WITHIN_S)
    installation.until("the devices", installation.everybody_online)
    return {"deaths": dict(deaths())}


def freeze_host(play: Play) -> Facts:
    """SIGSTOP for three leases; the other host takes over, and the sleeper ends itself when it wakes. P6, P7."""
    play.launch()
    play.installation.let_pass(1)
    seen = faults.freeze_engine(play.installation, play.rng)
    play.expect("not_taken_over_within_90_s", seen["taken_over_s"] <= 90, seen)
    play.expect("sleeper_did_not_fence_itself", seen["code"] == FENCED[1], seen)
    return seen


def lose_redis(play: Play, kills: int, flushes: int, away_s: float) -> Facts:
    """Redis killed, emptied in mid-run, and away for long. P13."""
    play.launch()
    seen = []
    for _ in range(kills):
        play.installation.let_pass(1)
        seen.append(faults.redis_killed(play.installation, play.rng))
    for _ in range(flushes):
        play.installation.let_pass(1)
        seen.append(faults.redis_flushed(play.installation, play.rng))
    away = faults.redis_away(play.installation, play.rng, away_s)
    slow = max(slowest(seen, "resumed_s"), away["polled_s"], away["rung_s"])
    play.expect("not_back_within_60_s", slow <= RESUMES_WITHIN_S, away)
    return {"kills": kills, "flushes": flushes, "resumed_s": slowest(seen, "resumed_s"), **away}


def restart_postgres(play: Play, times: int) -> Facts:
    """Immediate restarts, as in a crash. What was in flight is settled afterwards: nothing becomes uncertain. P3."""
    play.launch()
    seen = []
    for _ in range(times):
        play.installation.let_pass(play.rng.uniform(1, 2))
        seen.append(faults.postgres_restart(play.installation, play.rng))
    return {"restarts": times, "resumed_s": slowest(seen, "resumed_s")}


def lose_postgres(play: Play, away_s: float) -> Facts:
    """PostgreSQL away until every engine has fenced itself. P5, P6."""
    play.launch()
    play.installation.let_pass(1)
    seen = faults.postgres_away(play.installation, play.rng, away_s)
    play.expect("an_engine_did_not_fence_itself", seen["fenced"] >= play.scenario.engines, seen)
    play.expect("not_back_within_60_s", seen["resumed_s"] <= RESUMES_WITHIN_S, seen)
    return seen


def start_together(play: Play, campaigns: int) -> Facts:
    """Many campaigns due in the same second, and three clocks that look. P14."""
    workspaces = list(Workspace.objects.order_by("pk"))
    drafts = list(Campaign.objects.filter(state="draft"))
    drafts += [play.new_campaign(workspaces[n % len(workspaces)]) for n in range(campaigns - len(drafts))]
    ahead = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=4 + campaigns / 20)
    for campaign in drafts:
        Campaign.objects.filter(pk=campaign.pk).update(start_at=ahead)
        campaign.refresh_from_db()
        launch_campaign(campaign, None)
    late = datetime.now(UTC) > ahead
    play.finish()
    started = {
        entry["target"]: entry["n"]
        for entry in AuditEntry.objects.filter(action="campaign.started").values("target").annotate(n=Count("pk"))
    }
    for campaign in Campaign.objects.all():
        times = started.get(campaign.target, 0)
        play.expect("not_started_exactly_once", times == 1, f"{campaign.pk}: {times} times")
        early = campaign.launched_at is None or campaign.launched_at < ahead
        play.expect("started_early", not early, f"{campaign.pk}: {campaign.launched_at}")
    last = max(campaign.launched_at for campaign in Campaign.objects.all() if campaign.launched_at)
    delay = (last - ahead).total_seconds()
    return {"campaigns": len(drafts), "clocks": play.scenario.clocks, "seeded_late": late, "last_started_s": delay}


def lose_acks(play: Play) -> Facts:
    """One acknowledgement in twenty never comes: nobody knows, so nothing is sent again. P4, P11."""
    play.launch()
    play.finish()
    dice = Dice(play.seed)
    entries = read_ledger(play.installation.ledger)
    lost = {entry.tag for entry in entries if dice.throw(bytes.fromhex(entry.tag))[3] < LOST_SHARE}
    play.installation.at_risk |= lost
    play.expect("no_acknowledgement_was_lost", bool(lost))
    return {"lost": len(lost), "still_uncertain": looking.uncertain()}


def ban_devices(play: Play, ban_s: float, for_good: bool) -> Facts:
    """A tenth of the devices banned in mid-run; the others go on. With ``for_good`` half of them stay banned."""
    Campaign.objects.update(failover=Failover.OTHER if for_good else Failover.WAIT)
    play.launch()
    victims = list(Device.objects.order_by("?")[: round(play.scenario.size.devices * BANNED_SHARE)])
    phones = SimulatorControl(settings.SIMULATOR_CONTROL)
    with looking.attempts_standing_still():
        play.installation.at_risk |= looking.open_tags(pk__in=[victim.pk for victim in victims])
        for place, victim in enumerate(victims):
            phones.ban(victim.phone or "", 86_400 if for_good and place % 2 else ban_s)

    def noticed() -> bool:
        return Device.objects.filter(pk__in=[victim.pk for victim in victims], state="banned").count() == len(victims)

    told = play.installation.until("the bans' notice", noticed)
    return {"banned": len(victims), "told_s": told, "others_s": play.installation.next_message()}


def change_minds(play: Play, times: int) -> Facts:
    """Pause, resume, cancel and opt-out, each so often: nothing of it leaves from 2 s after the answer. P9."""
    play.launch()
    everything = faults.pause(play.installation, play.rng)
    play.expect("left_after_a_pause_of_everything", everything["left_late"] == 0, everything)
    resting: list[tuple[float, Campaign]] = []
    done: Counter[str] = Counter()

    def resume_due(now: float) -> None:
        for due, campaign in [entry for entry in resting if entry[0] <= now]:
            resting.remove((due, campaign))
            endless = [one for one in play.silences if (one.of, one.id, one.until) == ("campaign", campaign.pk, inf)]
            play.silences[play.silences.index(endless[-1])] = replace(endless[-1], until=time.time())
            done["resumed"] += resume_campaign(campaign, None)

    while done["paused"] < times or done["cancelled"] < times or done["opted out"] < times:
        for act in (pause_one, cancel_one, opt_out_one):
            if rested := act(play, done, times):
                resting.append((time.time() + play.rng.uniform(2.5, 4), rested))
            play.installation.let_pass(play.rng.uniform(0.05, 0.2))
        resume_due(time.time())
    play.installation.until("the last rests", lambda: all(due <= time.time() for due, _ in resting))
    resume_due(time.time())
    play.expect("not_everything_was_resumed", done["resumed"] == done["paused"], dict(done))
    return {"everything": everything, **done}


def running_campaign(play: Play) -> Campaign | None:
    """Any campaign that is planned and has something left to send."""
    planned = Campaign.objects.filter(state="running", planned_at__isnull=False).order_by("pk")
    found = list(planned.annotate(left=Sum("streams__pending")).filter(left__gte=WORTH_STOPPING))
    return play.rng.choice(found) if found else None


def pause_one(play: Play, done: Counter[str], times: int) -> Campaign | None:
    if done["paused"] >= times or (campaign := running_campaign(play)) is None or not pause_campaign(campaign, None):
        return None
    play.silences.append(Silence("campaign", campaign.pk, time.time() + STOPS_WITHIN_S))
    done["paused"] += 1
    return campaign


def cancel_one(play: Play, done: Counter[str], times: int) -> None:
    if done["cancelled"] >= times or (campaign := running_campaign(play)) is None:
        return
    if cancel_campaign(campaign, None):
        play.silences.append(Silence("campaign", campaign.pk, time.time() + STOPS_WITHIN_S))
        done["cancelled"] += 1


def opt_out_one(play: Play, done: Counter[str], times: int) -> None:
    """Somebody for whom a message is waiting to leave."""
    if done["opted out"] >= times or (campaign := running_campaign(play)) is None:
        return
    waiting = Message.objects.filter(campaign=campaign, state="pending", contact__opted_out_at=None)
    contact = Contact.objects.filter(pk__in=waiting.values("contact")[:20]).order_by("?").first()
    if contact is None:
        return
    if suppress(campaign.workspace, contact.phone, SuppressionSource.PERSON, "changed their mind", None):
        play.silences.append(Silence("contact", contact.pk, time.time() + STOPS_WITHIN_S))
        done["opted out"] += 1


def scenarios(short: bool) -> dict[str, Scenario]:
    """All of them by name, in the order in which they run; the short form does less of everything."""
    few = replace(LITTLE, messages=600)
    long_leases: dict[str, str] = {}
    patient = {**SHORT_LEASES, "SIMULATOR_SEND_TIMEOUT": "3"}
    crowd = Size(workspaces=20, devices=60, messages=20 * 5, min_delay=0.2, max_delay=0.3)
    deaths = {point: f"{point}:{0.5 if point == 'in_takeover' else 0.2}" for point in POINTS}
    # A plan that is lost with PostgreSQL waits for the reconciler, up to 30 s: the short form has none under way.
    planned = replace(LITTLE, messages=500) if short else LITTLE
    made = [
        Scenario("kill-engines", partial(kill_engines, times=5 if short else 100), engines=3),
        Scenario("kill-gateways", partial(kill_gateways, times=2 if short else 20)),
        Scenario("kill-everything", partial(kill_everything, times=1 if short else 5)),
        Scenario("stop-engines-in-turn", partial(stop_engines_in_turn, times=4 if short else 50)),
        Scenario(
            "fault-points",
            partial(die_at_fault_points, times=1 if short else 50),
            engines=len(POINTS),
            fault_points=tuple(deaths.values()),
            may_end=(DIED_AT_FAULT_POINT,),
        ),
        Scenario("freeze-host", freeze_host),
        Scenario(
            "redis",
            partial(lose_redis, kills=1 if short else 10, flushes=1 if short else 10, away_s=20 if short else 300),
        ),
        Scenario(
            "postgres-restarts",
            partial(restart_postgres, times=1 if short else 10),
            size=planned,
            busy=0 if short else 120,
            environment=long_leases,
        ),
        Scenario(
            "postgres-away",
            partial(lose_postgres, away_s=7 if short else 120),
            size=planned,
            busy=0 if short else 120,
            environment=SHORT_LEASES if short else long_leases,
            may_end=(FENCED,),
        ),
        Scenario("start-together", partial(start_together, campaigns=50 if short else 200), size=crowd, clocks=3),
        Scenario(
            "lost-acks",
            lose_acks,
            busy=0,
            size=replace(few, messages=400 if short else 3_000),
            environment=patient,
            network=("--ack-ms", "50", "--lost-ack-share", str(LOST_SHARE)),
        ),
        Scenario("bans", partial(ban_devices, ban_s=6 if short else 30, for_good=not short), size=few, busy=0),
        Scenario("changed-minds", partial(change_minds, times=5 if short else 50), busy=600),
    ]
    return {scenario.name: scenario for scenario in made}
