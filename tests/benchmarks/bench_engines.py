"""Our engine, one RQ job a message and Celery on the same work: messages a second, CPU, and what a killed worker costs.

`python -m tests.benchmarks.bench_engines [--json] [--only NAME …] [--devices 600] [--ack-ms 20] [--kills 3] …`:
one after the other, each on a PostgreSQL (durable commits) and a Valkey of its own, through the same simulated network
with the same acknowledgement delay, the same number of devices, the same text, and into the same tables.

- *ours* is `manage.py rehearse`: every promise on, with pace, caps, journal, counters and receipts, timed from the
  press of the button to the last row, CPU of every process of the installation.
- the others run `engines/task.py`: a job a message selects the row with its person and text, checks that it is
  pending, renders, sends through a session service, waits for the acknowledgement and updates the row. Nothing else:
  no pace, no cap, no claim, no attempt journalled, no counters, no receipts. Their queue is filled before the clock
  starts and their first tenth is not counted. `engines/plain.py` tells how they run.

*ours* gets more messages than the others because it would be through too soon. Then everything that sends is killed at
once, as when its machine goes, and started again: with ours the engine and its gateway; the others' session service
lives on. Counted is what becomes of the messages, by the simulated network's ledger:

- never sent: the ledger has no line, and nothing sends them any more (minutes later RQ calls such a job failed);
- sent, not recorded: the ledger has them and their rows say otherwise: who goes by the rows sends them again;
- of these flagged: the row says itself that nobody knows (*uncertain*). Rows that are not flagged look like messages
  that wait for their turn. There are more with ours because more are under way at any moment;
- sent twice: the ledger has two lines.

RQ and Celery give a job away before it runs, as installed. `celery-late` acknowledges it afterwards, and so repeats it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from typing import Any

Figures = dict[str, Any]

OURS = (24_000, 4_500)  # messages for the rate, messages for the kills
OTHERS = {
    "rq-simple": (2_000, 900),
    "rq-forking": (300, 200),
    "celery-prefork": (2_000, 900),
    "celery-threads": (2_500, 900),
    "celery-late": (2_000, 900),
}
HEAD = (
    "engine", "messages/s", "CPU s per 1,000", "ours is faster by", "its CPU is ours by",
    "never sent", "sent, not recorded", "of these flagged", "sent twice",
)  # fmt: skip

LOSSES = ("never_sent", "sent_unrecorded", "flagged", "sent_twice")


def answer(command: list[str]) -> Figures:
    """The JSON that a command ends with; what it said when it fails ends us."""
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, stderr=said, text=True, check=False)
        lines = done.stdout.splitlines()
        if not lines or not lines[-1].startswith("{"):
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {said.read()[-3_000:]}")
    return json.loads(lines[-1])


def rehearse(messages: int, *options: str) -> Figures:
    return answer(["manage.py", "rehearse", "--json", "--messages", str(messages), *options])


def ours(messages: int, kill_messages: int, kills: int, *world: str) -> Figures:
    run = rehearse(messages, *world)
    result = {"engine": "ours", **{key: run[key] for key in ("messages", "rate_per_s", "cpu_s_per_1000", "ledger")}}
    if kills:
        killed = rehearse(kill_messages, *world, "--kill-engine", str(kills))
        result["killed"] = {"messages": kill_messages, "kills": kills, **losses(killed)}
    return result


def losses(rehearsed: Figures) -> dict[str, int]:
    """What a rehearsal says of its messages, in the words of the others."""
    ledger = rehearsed["ledger"]
    different = ledger["entries"] - ledger["duplicates"]
    return {
        "never_sent": rehearsed["messages"] - different,
        "sent_unrecorded": different - rehearsed["sent"],
        "flagged": rehearsed["audit"]["counts"]["uncertain"],
        "sent_twice": ledger["duplicates"],
    }


def other(name: str, messages: int, kill_messages: int, kills: int, *world: str) -> Figures:
    size = ["--messages", str(messages), "--kill-messages", str(kill_messages), "--kills", str(kills)]
    return answer(["-m", "tests.benchmarks.engines.plain", name, *size, *world])


def table(results: list[Figures]) -> str:
    """In Markdown; the ratios need ours."""
    first = next((result for result in results if result["engine"] == "ours"), None)
    rows = [HEAD, ("---",) * len(HEAD), *(row(result, first) for result in results)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def row(result: Figures, first: Figures | None) -> tuple[str, ...]:
    killed = result.get("killed")
    lost = [f"{killed[key]:,}" for key in LOSSES] if killed else []
    ratios = ["", ""]
    if first:
        faster, dearer = (
            (first["rate_per_s"], result["rate_per_s"]),
            (result["cpu_s_per_1000"], first["cpu_s_per_1000"]),
        )
        ratios = [f"{more / less:.1f}" for more, less in (faster, dearer)]
    rate, cpu = f"{result['rate_per_s']:,.0f}", f"{result['cpu_s_per_1000']:.2f}"
    return (result["engine"], rate, cpu, *ratios, *(lost or [""] * 4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="say nothing but the figures, one JSON object")
    parser.add_argument("--only", nargs="+", choices=["ours", *OTHERS], default=["ours", *OTHERS])
    parser.add_argument("--devices", type=int, default=600)
    parser.add_argument("--ack-ms", type=float, default=20)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1, help="of the numbers of messages")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    world = ["--devices", str(asked.devices), "--ack-ms", str(asked.ack_ms)]
    results = []
    for name in asked.only:
        sizes = (round(size * asked.scale) for size in (OURS if name == "ours" else OTHERS[name]))
        run = ours if name == "ours" else partial(other, name)
        results.append(run(*sizes, asked.kills, *world))
        if not asked.json:
            print(json.dumps(results[-1]), file=sys.stderr)  # noqa: T201
    if asked.json:
        print(json.dumps({"load": load, "ack_ms": asked.ack_ms, "results": results}))  # noqa: T201
    else:
        print(table(results))  # noqa: T201
        print(f"\nLoad of the machine at the start: {load:.1f} on {os.cpu_count()} cores.")  # noqa: T201


if __name__ == "__main__":
    main()
