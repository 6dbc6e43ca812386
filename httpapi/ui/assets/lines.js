// Links with data-line select that line of the field that they lead to.
export function lines(root) {
  for (const link of root.querySelectorAll("[data-line]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const field = document.getElementById(link.hash.slice(1));
      const all = field.value.split("\n");
      const start = all.slice(0, link.dataset.line - 1).reduce((sum, line) => sum + line.length + 1, 0);
      field.focus();
      field.setSelectionRange(start, start + all[link.dataset.line - 1].length);
    });
  }
}
