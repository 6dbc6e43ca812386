// Buttons with data-preview send their form to see what it would do. This module does the same
// while the form is filled in, and replaces only the part with that id.
export function previews(root) {
  for (const button of root.querySelectorAll("[data-preview]")) {
    const { form } = button;
    let timer;
    let newest = 0;
    form.addEventListener("input", (event) => {
      if (event.target.name !== "name") { // a name changes nothing
        clearTimeout(timer);
        timer = setTimeout(ask, 400); // a person who types makes one call at each pause
      }
    });
    async function ask() {
      const number = ++newest;
      try {
        const answer = await fetch(form.getAttribute("action"), { method: "POST", body: new URLSearchParams(new FormData(form, button)) });
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(button.dataset.preview);
        if (fresh && number === newest) {
          document.getElementById(button.dataset.preview).replaceChildren(...document.adoptNode(fresh).childNodes);
        }
      } catch {
        // The node may be gone; the button says so.
      }
    }
  }
}
