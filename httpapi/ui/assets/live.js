// Elements with data-live are replaced by what the server sends when they have changed, as
// server-sent events of their page or, with data-from, of that page. An element without
// data-live has come to its end. A hidden page holds no connection.
import { copyButtons } from "./copy.js";

export function live(root) {
  for (const part of root.querySelectorAll("[data-live]")) {
    follow(part.id, part.dataset.from ?? location.href);
  }
}

function follow(id, from) {
  let source;
  let over = false;
  const close = () => { source?.close(); source = undefined; };
  const end = () => { over = true; close(); };
  function open() {
    if (over || source || document.hidden) {
      return;
    }
    source = new EventSource(from);
    source.addEventListener("message", (event) => show(event.data));
    source.addEventListener("end", end);
  }
  function show(text) {
    const old = document.getElementById(id);
    if (!old) {
      end();
      return;
    }
    const selection = getSelection();
    if (old.contains(document.activeElement) || !selection.isCollapsed && selection.containsNode(old, true)) {
      return; // nothing moves under somebody's hands; the next change shows this one, too
    }
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById(id);
    if (!fresh) {
      old.remove();
      end();
      return;
    }
    if (fresh.innerHTML !== old.innerHTML) {
      old.replaceWith(document.adoptNode(fresh));
      copyButtons(document.getElementById(id));
    }
    if (!("live" in fresh.dataset)) {
      end();
    }
  }
  document.addEventListener("visibilitychange", () => { document.hidden ? close() : open(); });
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
}
