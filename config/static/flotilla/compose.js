// Writing a message: buttons put variables in at the cursor, the preview goes from contact to contact.
(function () {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-insert]");
    const text = document.querySelector("textarea[data-text]");
    if (button && text) {
      text.setRangeText(button.dataset.insert, text.selectionStart, text.selectionEnd, "end");
      text.dispatchEvent(new Event("input", { bubbles: true }));
      text.focus();
    }
    const look = event.target.closest("[data-look]");
    if (look) {
      const form = document.getElementById("campaign-form");
      let number = form.querySelector("input[name=number]");
      if (!number) {
        number = Object.assign(document.createElement("input"), { type: "hidden", name: "number" });
        form.append(number);
      }
      number.value = look.value;
      document.getElementById("preview").dispatchEvent(new Event("look"));
    }
  });
  document.addEventListener("input", (event) => {
    const chosen = document.getElementById(event.target.dataset.chooses);
    if (chosen && event.target.value) chosen.checked = true;
  });
})();
