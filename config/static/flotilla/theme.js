// Light, dark or the system's choice: remembered here, applied before the first paint.
(function () {
  const system = window.matchMedia("(prefers-color-scheme: dark)");

  function choice() {
    try {
      return localStorage.getItem("flotilla-theme") || "auto";
    } catch {
      return "auto"; // storage is switched off in this browser
    }
  }

  function apply() {
    const dark = choice() === "dark" || (choice() === "auto" && system.matches);
    document.documentElement.setAttribute("data-bs-theme", dark ? "dark" : "light");
    for (const button of document.querySelectorAll("[data-theme-choice]")) {
      button.classList.toggle("active", button.dataset.themeChoice === choice());
    }
  }

  apply();
  system.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", apply);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-theme-choice]");
    if (!button) return;
    try {
      localStorage.setItem("flotilla-theme", button.dataset.themeChoice);
    } catch {
      return;
    }
    apply();
  });
})();
