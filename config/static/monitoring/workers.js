// Worker Status: writes the compact frames of the socket into the cells of the grid or the rows of the table.
// The page is the truth: all of it is fetched again when the socket reopens, and now and then.
(function () {
  const FETCH_EVERY = 30000;
  const TITLE = /^(.*): (.*?)(?:, (\d+) sent)?$/s;
  let region = null;
  let cells = new Map(); // id → cell of the grid, or row of the table
  let busy = [];

  function read() {
    const found = document.getElementById("workers");
    if (found === region) return;
    region = found;
    cells = new Map([...(region?.querySelectorAll("[data-id]") ?? [])].map((cell) => [Number(cell.dataset.id), cell]));
    busy = [];
    const first = region?.querySelector(".worker-grid > a");
    if (first) first.tabIndex = 0;
  }

  const chip = (state) => region.querySelector(`[data-of="${state}"]`);

  function count(state, by) {
    const number = chip(state)?.querySelector("[data-count]");
    if (!number) return;
    const now = Number(number.textContent.replaceAll(",", "")) + by;
    number.textContent = now.toLocaleString("en");
    chip(state).hidden = now < 1;
  }

  function say(cell, state, sent) {
    const word = chip(state)?.dataset.word ?? state;
    const badge = cell.querySelector(".state");
    if (!badge) {
      const [, name, , before] = TITLE.exec(cell.title);
      const told = Number(sent ?? before ?? 0);
      cell.title = `${name}: ${word}${told ? `, ${told} sent` : ""}`;
    } else {
      badge.className = `state state-${chip(state)?.dataset.colour}`;
      if (badge.lastChild.data.trim() !== word) badge.lastChild.data = word;
    }
  }

  function write(frame) {
    const whole = "frame" in region.dataset; // every worker stands here: the counts follow from the cells
    if (!whole && frame.state) htmx.trigger(region, "stale");
    for (const [state, ids] of Object.entries(frame.state ?? {})) {
      for (const cell of ids.map((id) => cells.get(id)).filter((cell) => cell && cell.dataset.state !== state)) {
        if (whole) count(cell.dataset.state, -1);
        if (whole) count(state, 1);
        cell.dataset.state = state;
        say(cell, state);
      }
    }
    const heats = (region.querySelector(".worker-grid")?.dataset.heats ?? "").split(",").map(Number);
    for (const [sent, ids] of Object.entries(frame.sent ?? {})) {
      const heat = String(heats.filter((from) => from <= Number(sent)).length);
      for (const cell of ids.map((id) => cells.get(id)).filter((cell) => cell?.matches(".worker"))) {
        if (cell.dataset.heat !== heat) cell.dataset.heat = heat;
        say(cell, cell.dataset.state, sent);
      }
    }
    for (const cell of busy) delete cell.dataset.busy;
    busy = (frame.busy ?? []).map((id) => cells.get(id)).filter(Boolean);
    for (const cell of busy) cell.dataset.busy = "";
  }

  async function fetchAll() {
    if (!region?.dataset.frame) return;
    const answer = await fetch(region.dataset.frame, { redirect: "error" }).catch(() => null);
    const frame = answer?.ok ? await answer.json().catch(() => null) : null;
    if (!frame || !region?.dataset.frame) return;
    write(frame);
    if (frame.total !== cells.size) htmx.ajax("GET", location.href, { target: "#workers", swap: "outerHTML" });
  }

  document.addEventListener("htmx:wsBeforeMessage", (event) => {
    if (!event.detail.message.startsWith("{")) return;
    const paused = event.defaultPrevented;
    event.preventDefault();
    if (paused || !region) return;
    for (const frame of event.detail.message.split("\n").map((line) => JSON.parse(line))) {
      if (frame.again) fetchAll();
      else write(frame);
    }
  });
  document.addEventListener("htmx:wsOpen", fetchAll);
  document.addEventListener("htmx:afterSettle", read);
  setInterval(fetchAll, FETCH_EVERY);
  document.addEventListener("DOMContentLoaded", read);
})();
