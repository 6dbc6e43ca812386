// Elements with data-until count down to that time. Then the page is loaded again, unless
// somebody has begun to change a form.
export function countdowns(root) {
  for (const part of root.querySelectorAll("[data-until]")) {
    const end = Date.parse(part.dataset.until);
    const timer = setInterval(() => {
      const left = Math.max(0, Math.round((end - Date.now()) / 1000));
      part.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
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
