// Worker Status: arrow keys move through the grid, and a worker opens in the drawer beside it.
(function () {
  let last = null; // the link whose worker the drawer shows

  document.addEventListener("keydown", (event) => {
    const cell = event.target.closest?.(".worker-grid > a");
    if (!cell) return;
    const all = [...cell.parentElement.children];
    const row = getComputedStyle(cell.parentElement).gridTemplateColumns.split(" ").length;
    const here = all.indexOf(cell);
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row, Home: -here, End: all.length - 1 - here };
    const next = all[here + steps[event.key]];
    if (!next || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });

  document.addEventListener("click", (event) => {
    const link = event.target.closest(".worker-grid > a, a.worker-link");
    const drawer = document.getElementById("worker-drawer");
    if (!link || !drawer || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    last = link;
    htmx.ajax("GET", link.href, { target: drawer, swap: "innerHTML" }).then(() => {
      tabler.Offcanvas.getOrCreateInstance(drawer).show();
    });
  });
  document.addEventListener("hidden.bs.offcanvas", (event) => {
    if (event.target.id !== "worker-drawer") return;
    event.target.replaceChildren(); // nothing is asked for that nobody sees
    document.querySelector(`a[href="${last?.getAttribute("href")}"]`)?.focus();
  });
})();
