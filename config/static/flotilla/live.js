// The live dot: live, reconnecting or paused. The sockets are htmx's; this watches them, notices a dead line and pauses.
(function () {
  const sockets = new Map(); // element with ws-connect → { open, socket, wrapper, heard }
  const LOOK_EVERY = 5000;
  const ASK_AFTER = 10000;
  const DEAD_AFTER = 25000;
  let paused = false;
  let ended = false;
  let crowded = false; // so many pages of this person are open that the server refuses another line

  function show() {
    const dot = document.querySelector("[data-live]");
    if (!dot) return;
    for (const element of sockets.keys()) if (!element.isConnected) sockets.delete(element);
    const states = [...sockets.values()];
    const word = paused ? "paused" : ended ? "signed out" : crowded ? "too many open pages" : states.every((s) => s.open) ? "live" : "reconnecting";
    dot.hidden = states.length === 0;
    dot.dataset.live = word;
    const label = dot.querySelector("[data-live-word]");
    if (label.textContent !== word) label.textContent = word;
  }

  // A refused socket doesn't say why; a page that now leads elsewhere does.
  async function lookWhetherSignedOut() {
    const answer = await fetch(location.href, { method: "HEAD", redirect: "manual" }).catch(() => null);
    if (answer?.type === "opaqueredirect") ended = true;
    show();
  }

  document.addEventListener("htmx:wsConnecting", (event) => {
    if (!sockets.has(event.target)) sockets.set(event.target, { open: false, heard: Date.now() });
    setTimeout(show, 1500); // the first connection takes a moment: nothing is wrong yet
  });
  document.addEventListener("htmx:wsOpen", (event) => {
    const { event: opened, socketWrapper } = event.detail;
    if (!socketWrapper) return; // our own call to fetch again, after a pause
    sockets.set(event.target, { open: true, socket: opened.target, wrapper: socketWrapper, heard: Date.now() });
    show();
  });
  document.addEventListener("htmx:wsClose", (event) => {
    const state = sockets.get(event.target);
    const closed = event.detail.event;
    if (!state || (state.socket && state.socket !== closed.target && state.open)) return; // an old line, given up before
    state.open = false;
    state.refused = (state.refused || 0) + 1;
    if (closed.code === 4401 || closed.code === 4403) ended = true;
    if (closed.code === 4430) crowded = true;
    if (closed.code === 4503) setTimeout(() => event.target.isConnected && state.wrapper.reconnect(), 3000 * Math.random());
    if (state.refused > 2) lookWhetherSignedOut();
    show();
  });
  document.addEventListener("htmx:wsBeforeMessage", (event) => {
    const state = sockets.get(event.target);
    if (state) state.heard = Date.now();
    if (paused || event.detail.message === "pong") event.preventDefault();
  });

  let lastLook = Date.now();
  setInterval(() => {
    const slept = Date.now() - lastLook > 3 * LOOK_EVERY; // a page in the background is woken rarely
    lastLook = Date.now();
    for (const [element, state] of sockets) {
      if (slept) state.heard = Date.now();
      if (!element.isConnected || !state.open) continue;
      const silence = Date.now() - state.heard;
      if (silence > DEAD_AFTER) {
        state.open = false;
        state.heard = Date.now();
        state.wrapper.reconnect();
      } else if (silence > ASK_AFTER) state.wrapper.sendImmediately("ping");
    }
    show();
  }, LOOK_EVERY);

  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-live]")) return;
    if (ended || crowded) return location.reload();
    paused = !paused;
    if (!paused) document.body.dispatchEvent(new CustomEvent("htmx:wsOpen", { detail: {} })); // regions fetch themselves
    show();
  });
})();
