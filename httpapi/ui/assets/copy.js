// Buttons with data-copy copy the text of the element with that id, and say whether it
// worked. Without https there is no navigator.clipboard; the older command works there.

async function copy(text, source) {
  if (navigator.clipboard && window.isSecureContext) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // The permission may be missing; the older command may still work.
    }
  }
  select(source);
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  }
}

function select(source) {
  if (source instanceof HTMLInputElement) {
    source.focus();
    source.select();
    return;
  }
  const range = document.createRange();
  range.selectNodeContents(source);
  const selection = getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
}

export function copyButtons(root) {
  for (const button of root.querySelectorAll("[data-copy]")) {
    const label = button.textContent;
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy);
      const done = await copy(source.value ?? source.textContent, source);
      if (!done) {
        select(source);
      }
      button.textContent = done ? "Copied" : "Press Ctrl+C";
      const says = (button.closest("dialog") ?? document).querySelector("[data-copy-says]");
      if (says) {
        says.textContent = done ? "Copied to the clipboard." : "The browser did not allow copying. The text is selected: press Ctrl+C, or ⌘C.";
      }
      setTimeout(() => { button.textContent = label; }, 4000);
    });
  }
}
