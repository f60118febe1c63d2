// Tables with rows to tick: one box ticks the page, and a line says how many are ticked.
(function () {
  const boxes = (name) => [...document.querySelectorAll(`input[type="checkbox"][name="${name}"]`)];

  function refresh(name) {
    const all = boxes(name);
    const ticked = all.filter((box) => box.checked).length;
    const head = document.querySelector(`[data-tick-all="${name}"]`);
    if (head) {
      head.checked = ticked > 0 && ticked === all.length;
      head.indeterminate = ticked > 0 && ticked < all.length;
    }
    const line = document.querySelector(`[data-ticked="${name}"]`);
    if (line) {
      line.hidden = ticked === 0;
      line.textContent = `${ticked} ticked`;
    }
  }

  document.addEventListener("change", (event) => {
    const name = event.target.dataset?.tickAll;
    if (name) for (const box of boxes(name)) box.checked = event.target.checked;
    if (name || event.target.type === "checkbox") refresh(name || event.target.name);
  });
  for (const moment of ["DOMContentLoaded", "htmx:afterSettle"]) {
    document.addEventListener(moment, () => {
      for (const head of document.querySelectorAll("[data-tick-all]")) refresh(head.dataset.tickAll);
    });
  }
})();
