// Elements with data-until count down from the time that they show, which the server has
// reckoned: the browser's clock may be wrong. Then the page is loaded again, unless somebody
// has begun to change a form.
export function countdowns(root) {
  for (const part of root.querySelectorAll("[data-until]")) {
    const from = part.textContent.split(":").reduce((sum, n) => sum * 60 + Number(n), 0);
    const began = performance.now();
    const timer = setInterval(() => {
      const left = Math.max(0, from - Math.round((performance.now() - began) / 1000));
      const two = (n) => String(n).padStart(2, "0");
      const hours = Math.floor(left / 3600);
      const minutes = Math.floor(left / 60) % 60;
      part.textContent = hours > 0 ? `${hours}:${two(minutes)}:${two(left % 60)}` : `${minutes}:${two(left % 60)}`;
      if (left > 0) {
        return;
      }
      clearInterval(timer);
      const changed = [...root.querySelectorAll("textarea")].some((field) => field.value !== field.defaultValue);
      if (!changed) {
        setTimeout(() => location.reload(), 3000); // the leader looks every second
      }
    }, 1000);
  }
}
