"""Worker Status in a real browser beside a fleet at work: how busy its main thread is, and whether its memory grows.

`nice python -m tests.benchmarks.bench_worker_status [--minutes 5] [--devices 3000] [--rate 1000]`: staff's grid of
every device. Prints the longest task of the main thread while frames arrive, what a frame costs it on average, the heap
at the start and at the end, and how long after the network banned a device its cell says so.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any

from tests.benchmarks.busy_fleet import BusyFleet, busy_fleet, say, session_of, staff
from tests.e2e.conftest import ARGUMENTS, CHROMIUM

TASK_BUDGET_MS, BAN_BUDGET_S = 100, 2.0
BANS = 5
WATCH = """() => {
    window.longest = 0; window.frames = 0;
    new PerformanceObserver((list) => {
        for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
    }).observe({ type: "longtask" });
    document.addEventListener("htmx:wsBeforeMessage", () => { window.frames += 1; });
}"""


def metrics(tab: Any) -> dict[str, float]:
    """With all garbage collected."""
    tab.send("HeapProfiler.collectGarbage")
    return {one["name"]: one["value"] for one in tab.send("Performance.getMetrics")["metrics"]}


def watched(fleet: BusyFleet, browser: Any, minutes: float) -> dict[str, Any]:
    from devices.gateway.control import SimulatorControl
    from devices.models import Device

    context = browser.new_context(base_url=fleet.url, viewport={"width": 1280, "height": 900})
    context.add_cookies([{"name": "sessionid", "value": session_of(staff()), "url": fleet.url}])
    page = context.new_page()
    page.goto("/operations/workers")
    page.locator("[data-live=live]").wait_for()
    page.wait_for_timeout(5_000)
    tab = context.new_cdp_session(page)
    tab.send("Performance.enable")
    page.evaluate(WATCH)
    first, began = metrics(tab), time.perf_counter()
    network = SimulatorControl(os.environ["SIMULATOR_CONTROL"])
    heaps, delays = [first["JSHeapUsedSize"]], []
    for number, device in enumerate(Device.objects.order_by("pk")[:: max(1, Device.objects.count() // BANS)][:BANS]):
        until = began + 60 * minutes * (number + 1) / BANS
        told = time.perf_counter()
        network.ban(str(device.phone), 3_600)
        page.locator(f'[data-id="{device.pk}"][data-state=banned]').wait_for(timeout=30_000)
        delays.append(time.perf_counter() - told)
        while time.perf_counter() < until:
            page.wait_for_timeout(1_000)
            fleet.keep_up(0)
        heaps.append(metrics(tab)["JSHeapUsedSize"])
        say(f"minute {(time.perf_counter() - began) / 60:.1f}: heap {heaps[-1] / 2**20:.1f} MB")
    last, seen = metrics(tab), page.evaluate("[window.longest, window.frames]")
    busy = page.locator(".worker-grid [data-busy]").count()
    return {"first": first, "last": last, "heaps": heaps, "delays": delays, "seen": seen, "busy": busy}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--devices", type=int, default=3_000)
    parser.add_argument("--rate", type=float, default=1_000)
    asked = parser.parse_args()
    with busy_fleet(asked.devices, asked.rate, 60 * asked.minutes + 60) as fleet:
        from playwright.sync_api import sync_playwright

        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            found = watched(fleet, browser, asked.minutes)
            browser.close()
    first, last, (longest, frames) = found["first"], found["last"], found["seen"]
    spent = 1000 * (last["TaskDuration"] - first["TaskDuration"])
    say(f"{frames} frames in {asked.minutes:g} minutes; {found['busy']} cells busy at the end")
    say(f"longest task {longest:.0f} ms (0: none took 50 ms), budget {TASK_BUDGET_MS} ms")
    say(f"main thread {spent / max(1, frames):.1f} ms a frame, everything it did counted")
    say(f"heap {found['heaps'][0] / 2**20:.1f} MB at the start, {found['heaps'][-1] / 2**20:.1f} MB at the end")
    say(f"nodes {first['Nodes']:.0f} at the start, {last['Nodes']:.0f} at the end")
    delays = found["delays"]
    say(f"ban shown after {statistics.median(delays):.2f} s, {max(delays):.2f} s at most, budget {BAN_BUDGET_S:g} s")


if __name__ == "__main__":
    main()
