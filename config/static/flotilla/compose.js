// Writing a message: buttons put variables in at the cursor and lead to mistakes, the preview goes from contact to contact
// and from variant to variant.
(function () {
  let written = null; // where variables go: the variant that was written last
  document.addEventListener("focusin", (event) => {
    if (event.target.matches("textarea[data-text]")) written = event.target;
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-insert]");
    const text = written || document.querySelector("textarea[data-text]");
    if (button && text) {
      text.setRangeText(button.dataset.insert, text.selectionStart, text.selectionEnd, "end");
      text.dispatchEvent(new Event("input", { bubbles: true }));
      text.focus();
    }
    const place = event.target.closest("[data-line]");
    if (place && text) {
      const lines = text.value.split("\n");
      const before = lines.slice(0, place.dataset.line - 1).reduce((sum, line) => sum + line.length + 1, 0);
      const letters = [...(lines[place.dataset.line - 1] || "")]; // an emoji is one letter and two units
      const start = before + letters.slice(0, place.dataset.column - 1).join("").length;
      text.focus();
      text.setSelectionRange(start, start + (letters[place.dataset.column - 1] || "").length);
    }
    const look = event.target.closest("[data-look]");
    if (look) {
      const form = document.getElementById("campaign-form");
      const name = look.dataset.look;
      let field = form.querySelector(`input[name=${name}]`);
      if (!field) {
        field = Object.assign(document.createElement("input"), { type: "hidden", name });
        form.append(field);
      }
      field.value = look.value;
      document.getElementById("preview").dispatchEvent(new Event("look"));
    }
  });
  // One tick for all devices; without a script it stays hidden.
  const every = document.querySelector("[data-every]");
  if (every) {
    const form = document.getElementById("campaign-form");
    const tick = every.querySelector("input");
    const boxes = [...form.querySelectorAll(`input[name="${every.dataset.every}"]`)];
    const look = () => {
      const count = boxes.filter((box) => box.checked).length;
      tick.checked = count === boxes.length;
      tick.indeterminate = count > 0 && count < boxes.length;
    };
    tick.addEventListener("change", () => {
      for (const box of boxes) box.checked = tick.checked;
    });
    form.addEventListener("change", look);
    every.hidden = false;
    look();
  }
  document.addEventListener("input", (event) => {
    const chosen = document.getElementById(event.target.dataset.chooses);
    if (chosen && event.target.value) chosen.checked = true;
  });
})();
