// Live on save, and the cell that a value came from. No library, nothing from outside.
"use strict";
const bench = document.getElementById("bench");
const origin = document.getElementById("origin");
const live = document.getElementById("live");
const hint = origin.textContent;
let mark = document.body.dataset.mark;

function each(selector, act) { document.querySelectorAll(selector).forEach(act); }
function cellsOf(column) { return column.split("[")[0]; }

function light(column) {
  const name = cellsOf(column);
  each("[data-cell]", (cell) => cell.classList.toggle("lit", cell.dataset.cell === name));
  each("[data-from]", (value) => value.classList.toggle("lit", cellsOf(value.dataset.from) === name));
}
function darken() { each(".lit", (one) => one.classList.remove("lit")); origin.textContent = hint; }

function show(target) {
  const value = target.closest("[data-from]");
  const cell = target.closest("[data-cell]");
  if (value) {
    light(value.dataset.from);
    if (value.dataset.origin) origin.textContent = value.dataset.origin;
  } else if (cell) {
    light(cell.dataset.cell);
  } else {
    rest();
  }
}
function rest() {
  const pinned = bench.querySelector('[aria-pressed="true"]') || (bench.contains(document.activeElement) && document.activeElement.closest("[data-from]"));
  if (pinned) show(pinned); else darken();
}
bench.addEventListener("mouseover", (event) => show(event.target));
bench.addEventListener("mouseleave", rest);
bench.addEventListener("focusin", (event) => show(event.target));
bench.addEventListener("focusout", () => setTimeout(rest));

bench.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-live]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    history.pushState(null, "", link.href);
    refresh();
    return;
  }
  const value = event.target.closest("button.value");
  if (value) {
    const pin = value.getAttribute("aria-pressed") !== "true";
    each(".value", (one) => one.setAttribute("aria-pressed", "false"));
    value.setAttribute("aria-pressed", String(pin));
    show(value);
    const cell = [...document.querySelectorAll("[data-cell]")].find((one) => one.dataset.cell === cellsOf(value.dataset.from));
    if (pin && cell) cell.scrollIntoView({ block: "nearest" });
  }
});
// Without this the same form is sent as a page; with it the place and the focus stay.
bench.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-edit]");
  if (!form) return;
  event.preventDefault();
  const address = "/edit" + location.search;
  const answer = await fetch(address, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { Accept: "text/plain" }, redirect: "manual" });
  if (answer.type !== "opaqueredirect") {
    live.textContent = await answer.text();
    return;
  }
  await refresh(true);
});
window.addEventListener("popstate", () => refresh());

function formKey(select) { return location.search + " " + select.form.querySelector("button").dataset.key; }

async function refresh(saved = false) {
  const answer = await fetch("/view" + location.search, { headers: { Accept: "text/html" } });
  if (!answer.ok) return;
  const text = await answer.text();
  const before = new Map();
  each(".value", (one) => before.set(one.dataset.key, one.querySelector(".shown").textContent));
  const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.key : undefined;
  const chosen = new Map();
  each("form[data-edit] select", (select) => chosen.set(formKey(select), select.value));
  bench.innerHTML = text;
  // What somebody has chosen and not yet sent stays chosen: a click after a save must not write another thing.
  each("form[data-edit] select", (select) => {
    const value = chosen.get(formKey(select));
    if ([...select.options].some((option) => option.value === value)) select.value = value;
  });
  if (saved) {
    each(".value", (one) => one.classList.toggle("changed", before.get(one.dataset.key) !== one.querySelector(".shown").textContent));
    live.textContent = document.body.dataset.updated + " " + new Date().toLocaleTimeString(document.documentElement.lang);
  }
  if (focused) {
    const again = [...document.querySelectorAll("[data-key]")].find((one) => one.dataset.key === focused);
    if (again) again.focus({ preventScroll: true });
  }
}

const changes = new EventSource("/events");
changes.addEventListener("mark", (event) => {
  document.body.classList.remove("gone");
  if (event.data !== mark) { mark = event.data; refresh(true); }
});
changes.addEventListener("error", () => {
  document.body.classList.add("gone");
  live.textContent = document.body.dataset.lost;
});
