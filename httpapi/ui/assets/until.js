// Elements with data-until count down to that time. Then the page is loaded again, unless
// somebody has begun to change a form.
export function countdowns(root) {
  for (const part of root.querySelectorAll("[data-until]")) {
    const end = Date.parse(part.dataset.until);
    const timer = setInterval(() => {
      const left = Math.max(0, Math.round((end - Date.now()) / 1000));
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
