// Pushed partials are written into what stands there already: only what changed is touched, so that nothing moves under
// the pointer, a click that began is not lost, and focus, selection and open details stay. A region with `data-whole`
// is swapped as a whole: something in it counts from the moment it appears.
(function () {
  const KEPT = new Set(["open"]); // a dialog or details somebody opened

  function same(old, fresh) {
    return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && (old.id || "") === (fresh.id || "");
  }

  function steady(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    if (old.isEqualNode(fresh)) return;
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !KEPT.has(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    const before = [...old.childNodes];
    const after = [...fresh.childNodes];
    if (before.length === after.length && before.every((node, place) => same(node, after[place]))) {
      before.forEach((node, place) => steady(node, after[place]));
    } else {
      old.replaceChildren(...after);
      htmx.process(old);
    }
  }

  // A list hears of every row of its topic, also of those that another page or filter shows.
  document.addEventListener("htmx:wsBeforeMessage", (event) => {
    const id = /\bid="([^"]+)"/.exec(event.detail.message)?.[1];
    if (id && !document.getElementById(id)) event.preventDefault();
  });

  // A push may take the button away whose answer is still on its way; htmx then looks for the answer's other regions
  // beside the button, outside the page, and what there is to say would be lost.
  document.addEventListener("htmx:oobErrorNoTarget", (event) => {
    const fresh = event.detail.content;
    document.getElementById(fresh.id)?.replaceWith(fresh);
  });

  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { target, fragment, shouldSwap } = event.detail;
    const fresh = fragment.firstElementChild;
    if (!shouldSwap || !fresh || !same(target, fresh) || "whole" in target.dataset) return;
    event.detail.shouldSwap = false;
    steady(target, fresh);
  });
})();
