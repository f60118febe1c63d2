// Counts a pairing code down. When no new code came in time, the region asks for one by fetching itself.
(function () {
  const PATIENCE = 3; // seconds after the end in which the next code should have come
  const deadlines = new WeakMap(); // element with data-expires → milliseconds of performance.now()

  function tick() {
    for (const element of document.querySelectorAll("[data-expires]")) {
      if (!deadlines.has(element)) deadlines.set(element, performance.now() + Number(element.dataset.expires) * 1000);
      const left = Math.ceil((deadlines.get(element) - performance.now()) / 1000);
      const over = left <= 0;
      element.closest(".pairing-code").classList.toggle("code-expired", over);
      element.textContent = over ? "Waiting for the next code…" : `This code is good for ${left} s; a new one follows.`;
      if (left <= -PATIENCE) {
        element.removeAttribute("data-expires");
        window.htmx.trigger(element, "code-expired"); // bubbles to the region
      }
    }
  }

  setInterval(tick, 250);
  document.addEventListener("htmx:wsAfterMessage", tick);
})();
