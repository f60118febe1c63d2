// The name of a custom field is asked only where a column is one.
(function () {
  function show(row) {
    row.querySelector("[data-field]").hidden = row.querySelector("[data-role]").value !== "field";
  }
  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-column]").forEach(show));
  document.addEventListener("change", (event) => {
    const row = event.target.closest("[data-column]");
    if (row) show(row);
  });
})();
