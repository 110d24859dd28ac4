"use strict";
/** What every page does: light and dark, a table that sorts and filters. */
const page = (() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const onTheme = []; // what to do when light becomes dark or the other way round
  const changed = () => onTheme.forEach(react => react());
  const darkSystem = matchMedia("(prefers-color-scheme: dark)");
  darkSystem.addEventListener("change", changed);
  $("#theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : darkSystem.matches;
    root.dataset.theme = dark ? "light" : "dark";
    changed();
  });

  const table = $("#scores");
  all("thead th", table).forEach((head, column) => head.addEventListener("click", () => {
    const descending = head.getAttribute("aria-sort") === "ascending";
    all("thead th", table).forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const key = row => row.cells[column].dataset.key;
    const rows = all("tbody tr", table);
    const [known, unknown] = [rows.filter(row => key(row) !== ""), rows.filter(row => key(row) === "")];
    const order = known.some(row => Number.isNaN(Number(key(row))))
      ? (a, b) => key(a).localeCompare(key(b), undefined, { numeric: true })
      : (a, b) => key(a) - key(b);
    known.sort((a, b) => (descending ? order(b, a) : order(a, b)));
    $("tbody", table).append(...known, ...unknown);
  }));
  const onFilter = []; // what else follows the filter; told the rows that are left
  const filter = () => {
    const text = $("#filter").value.trim().toLowerCase(), only = $("#only").value;
    const rows = all("tbody tr", table);
    for (const row of rows)
      row.hidden = Boolean(only && row.dataset.verdict !== only)
        || !all(".named", row).map(cell => cell.dataset.key).join(" ").toLowerCase().includes(text);
    const left = rows.filter(row => !row.hidden);
    $("#shown").textContent = `${left.length} of ${rows.length}`;
    onFilter.forEach(react => react(left));
  };
  $("#filter").addEventListener("input", filter);
  $("#only").addEventListener("change", filter);
  filter();
  return { $, all, colour, onTheme, onFilter };
})();
