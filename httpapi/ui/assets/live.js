// Elements with data-live are replaced by those with the same id of the page as it is now,
// every so many seconds while the page is visible; with data-from, of that page.
import { copyButtons } from "./copy.js";

export function live(root) {
  for (const part of root.querySelectorAll("[data-live]")) {
    follow(part.id, part.dataset.from ?? location.href, Number(part.dataset.live) * 1000);
  }
}

function follow(id, from, every) {
  let failures = 0;
  const again = () => setTimeout(refresh, every * 2 ** Math.min(failures, 4));
  async function refresh() {
    const old = document.getElementById(id);
    if (!old) {
      return;
    }
    if (document.hidden || old.contains(document.activeElement) || !getSelection().isCollapsed) {
      again(); // nothing moves under somebody's hands
      return;
    }
    try {
      const response = await fetch(from, { headers: { Accept: "text/html" }, redirect: "error" });
      if (!response.ok) {
        throw new Error(response.statusText);
      }
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const fresh = page.getElementById(id);
      failures = 0;
      if (!fresh) {
        old.remove();
        return;
      }
      if (fresh.innerHTML !== old.innerHTML) {
        old.replaceWith(document.adoptNode(fresh));
        copyButtons(document.getElementById(id));
      }
      if (!fresh.dataset.live) {
        return; // it has come to its end
      }
    } catch {
      failures++;
    }
    again();
  }
  again();
}
