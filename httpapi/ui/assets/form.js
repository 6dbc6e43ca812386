// A box with data-enables switches the button with that id. Without this module the
// browser itself refuses to send the form before the box is ticked.
export function enabling(root) {
  for (const box of root.querySelectorAll("[data-enables]")) {
    const button = document.getElementById(box.dataset.enables);
    const apply = () => { button.disabled = !box.checked; };
    box.addEventListener("change", apply);
    apply();
  }
  // A second click while the answer is on its way sends nothing twice.
  for (const form of root.querySelectorAll("form[method=post]")) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) {
        event.preventDefault();
      }
      form.dataset.sent = "1";
    });
  }
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) {
      delete form.dataset.sent;
    }
  });
}

// A choice in a form of filters applies at once.
export function choosing(root) {
  for (const select of root.querySelectorAll(".filters select")) {
    select.addEventListener("change", () => select.form.requestSubmit());
  }
}
