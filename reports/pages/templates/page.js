"use strict";
(() => {
  const root = document.documentElement;
  const dark = () => root.dataset.theme
    ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const toggle = document.getElementById("theme");
  const label = () => { toggle.textContent = dark() ? "light" : "dark"; };
  toggle.hidden = false;
  toggle.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; label(); });
  label();

  // Every picture of a row shows the same crop: under the pointer, or the one that was clicked.
  for (const row of document.querySelectorAll(".pictures tbody tr")) {
    const windows = [...row.querySelectorAll(".window:not(.missing)")];
    let pinned = false;
    const zoom = (x, y, factor) => {
      for (const one of windows) {
        const image = one.firstElementChild;
        image.style.transform = factor === 1 ? "" :
          `translate(${-x * (factor - 1) * 100}%, ${-y * (factor - 1) * 100}%) scale(${factor})`;
      }
    };
    const at = (one, event) => {
      const box = one.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };
    for (const one of windows) {
      one.addEventListener("pointermove", (event) => {
        if (!pinned && event.pointerType === "mouse") zoom(...at(one, event), 3);
      });
      one.addEventListener("pointerleave", () => { if (!pinned) zoom(0, 0, 1); });
      one.addEventListener("click", (event) => {
        pinned = !pinned;
        if (pinned) zoom(...at(one, event), 3); else zoom(0, 0, 1);
      });
    }
  }

  // Columns of scores sort on a click or a key: best first, then as the suite has them.
  for (const table of document.querySelectorAll("table.scores")) {
    const body = table.tBodies[0];
    const order = [...body.rows];
    table.querySelectorAll("th.sortable").forEach((head) => {
      head.firstElementChild.addEventListener("click", () => {
        const column = head.cellIndex;
        const again = head.hasAttribute("aria-sort");
        table.querySelectorAll("th[aria-sort]").forEach((one) => one.removeAttribute("aria-sort"));
        let rows = order;
        if (!again) {
          const sign = head.dataset.better === "lower" ? 1 : -1;
          const value = (row) => parseFloat(row.cells[column].dataset.value);
          const arms = order.filter((row) => !row.classList.contains("truth"));
          const rest = order.filter((row) => row.classList.contains("truth"));
          const known = arms.filter((row) => !Number.isNaN(value(row)));
          const unknown = arms.filter((row) => Number.isNaN(value(row)));
          rows = [...known.sort((a, b) => sign * (value(a) - value(b))), ...unknown, ...rest];
          head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
        }
        rows.forEach((row) => body.append(row));
      });
    });
  }
})();
