// What every page needs: times that stay true, dialogs, a line when a request fails, a guess of the time zone.
(function () {
  const units = [["second", 60], ["minute", 60], ["hour", 24], ["day", 30], ["month", 12]];

  function inWords(seconds) {
    let amount = Math.abs(seconds);
    if (amount < 10) return seconds >= 0 ? "just now" : "in a moment";
    let unit = "year";
    for (const [name, size] of units) {
      if (amount < size) {
        unit = name;
        break;
      }
      amount /= size;
    }
    const count = Math.floor(amount);
    const words = `${count} ${unit}${count === 1 ? "" : "s"}`;
    return seconds > 0 ? `${words} ago` : `in ${words}`;
  }

  function refreshTimes() {
    for (const element of document.querySelectorAll("time[data-relative]")) {
      const words = inWords((Date.now() - Date.parse(element.dateTime)) / 1000);
      if (element.textContent !== words) element.textContent = words;
    }
  }
  setInterval(refreshTimes, 15000);

  function say(text) {
    const box = document.getElementById("messages");
    if (!box) return;
    const line = document.createElement("div");
    line.className = "alert alert-danger";
    line.setAttribute("role", "alert");
    line.textContent = text;
    box.replaceChildren(line);
    box.scrollIntoView({ block: "nearest" });
  }

  // Nobody asked for what a region with `data-quiet` fetches by itself.
  const isQuiet = (event) => event.detail.elt.closest("[data-quiet]");
  document.addEventListener("htmx:sendError", (event) => {
    if (!isQuiet(event)) say("Flotilla can't be reached. Nothing was changed; try again.");
  });
  document.addEventListener("htmx:responseError", (event) => {
    const status = event.detail.xhr.status;
    if (isQuiet(event)) return;
    if (event.detail.requestConfig.verb === "get" && event.detail.elt.closest("[ws-connect]")) return;
    if (status === 403) say("Your role doesn't allow that, or this page is too old: reload it.");
    else if (status === 404) say("It is gone: somebody may have removed it. Reload the page.");
    else if (status === 429) say("Too many at once. Wait a moment and try again.");
    else say("That didn't work, and it is our fault. Try again in a moment.");
  });
  // A form that comes back with its mistakes marked has status 422, or 429 when it came too often: show it like any
  // other answer.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const status = event.detail.xhr.status;
    if (status === 422 || (status === 429 && event.detail.serverResponse)) {
      event.detail.shouldSwap = true;
      event.detail.isError = false;
    }
  });

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-dialog]");
    if (opener) document.getElementById(opener.dataset.dialog)?.showModal();
    if (event.target.closest("[data-dialog-close]") || event.target.matches("dialog[open]")) {
      event.target.closest("dialog").close();
    }
  });
  document.addEventListener("submit", (event) => event.target.closest("dialog")?.close());

  document.addEventListener("DOMContentLoaded", () => {
    refreshTimes();
    const field = document.querySelector("[data-guess-timezone]");
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (field && !field.dataset.chosen && [...field.options].some((option) => option.value === zone)) field.value = zone;
  });
})();
