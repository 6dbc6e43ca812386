// Each button that sends a form, and each link to a download, gets a button beside it that
// shows the command of perfgate that does the same. The server writes the command from what
// is in the form now; nothing is changed. Forms with data-plain have no command. A field may
// be called "action", so that the attribute is asked for.
import { copyButtons } from "./copy.js";

export function commands(root) {
  for (const form of root.querySelectorAll("form[method=post]:not([data-plain])")) {
    for (const button of form.elements) {
      if (button.type === "submit" && !("preview" in button.dataset)) {
        add(button, () => ask(form.getAttribute("action"), "POST", new URLSearchParams(new FormData(form, button))));
      }
    }
  }
  for (const link of root.querySelectorAll("a[data-file]")) {
    add(link, () => ask(link.href, "GET", new URLSearchParams()));
  }
}

function add(beside, command) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet command";
  button.textContent = ">_";
  button.title = "Copy as a command line";
  button.setAttribute("aria-label", `Copy as a command line: ${beside.textContent.trim()}`);
  button.addEventListener("click", async () => show(await command()));
  beside.after(button);
}

async function ask(action, method, fields) {
  const url = new URL(action, location.href);
  fields.set("command_for", url.pathname);
  fields.set("command_method", method);
  try {
    const answer = await fetch(`/command${url.search}`, { method: "POST", body: fields });
    if (answer.headers.get("Content-Type")?.startsWith("text/plain")) {
      return { text: (await answer.text()).trimEnd(), ok: answer.ok };
    }
  } catch {
    // The node may be gone; what follows says what to do.
  }
  return { text: "The server gave no command. Load the page again and repeat.", ok: false };
}

function show({ text, ok }) {
  const dialog = document.createElement("dialog");
  dialog.className = "card command";
  dialog.setAttribute("aria-label", "As a command line");
  dialog.innerHTML = `<pre id="command-line" tabindex="0"></pre><p class="small muted" data-copy-says role="status"></p>
    <form method="dialog" class="actions"><button type="button" class="primary" data-copy="command-line">Copy</button><button>Close</button></form>`;
  dialog.querySelector("pre").textContent = text;
  const copy = dialog.querySelector("[data-copy]");
  if (ok) {
    dialog.querySelector("[data-copy-says]").textContent = "For a POSIX shell. The server and the token are those of PERFGATE_SERVER and PERFGATE_TOKEN.";
  } else {
    copy.remove();
  }
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  copyButtons(dialog);
  dialog.showModal();
}
