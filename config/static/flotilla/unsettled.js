// Nothing is taken away under somebody's hands: what is being typed in, or asked about, waits for the next update.
(function () {
  let withheld = false;

  function withhold(event) {
    const target = event.detail.target;
    const active = document.activeElement;
    const typing = target.contains(active) && active.matches("input:not([type=hidden]), textarea, select");
    if (!typing && !target.querySelector("dialog[open], .dropdown-menu.show")) return;
    event.detail.shouldSwap = false;
    withheld = true;
  }

  document.addEventListener("htmx:oobBeforeSwap", withhold);
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.requestConfig.triggeringEvent?.type === "htmx:wsOpen") withhold(event);
  });

  // Whoever closes a dialog sees what came meanwhile; the answer to what it asked for brings that along.
  document.addEventListener("close", (event) => {
    if (!withheld || event.target.querySelector(".htmx-request")) return;
    withheld = false;
    document.body.dispatchEvent(new CustomEvent("htmx:wsOpen", { detail: {} })); // regions fetch themselves
  }, true);
})();
