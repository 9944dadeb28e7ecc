// The little that the console's pages need: the menu on narrow screens, printing, where htmx puts the focus, and files.
"use strict";

document.documentElement.classList.add("scripted");

const button = document.querySelector(".menu-button");
const menu = document.getElementById("menu");
if (button && menu) {
  const set = (open) => {
    button.setAttribute("aria-expanded", String(open));
    menu.classList.toggle("open", open);
  };
  button.addEventListener("click", () => set(button.getAttribute("aria-expanded") !== "true"));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && menu.classList.contains("open")) {
      set(false);
      button.focus();
    }
  });
}

for (const print of document.querySelectorAll("[data-print]")) {
  print.addEventListener("click", () => window.print());
}

// A field that was wrong is where the reader wants to be.
const wrong = document.querySelector("[aria-invalid='true'], .error[role='alert'] ~ fieldset input");
if (wrong) wrong.focus();

// A range shows its value in words while it is dragged; the server answers when it rests.
document.addEventListener("input", (event) => {
  const shown = event.target.dataset && event.target.dataset.shows && document.getElementById(event.target.dataset.shows);
  if (!shown) return;
  const first = new Date(event.target.dataset.first + "T12:00:00Z");
  const day = new Date(first.getTime() + Number(event.target.value) * 86400000);
  const text = new Intl.DateTimeFormat(document.documentElement.lang === "en" ? "en-GB" : document.documentElement.lang, { dateStyle: "long", timeZone: "UTC" }).format(day);
  shown.textContent = text;
  event.target.setAttribute("aria-valuetext", text);
});

// A file that is chosen fills the field that is sent. Without scripts there is only the field.
for (const file of document.querySelectorAll("input[type='file'][data-fills]")) {
  file.closest("[hidden]").hidden = false;
  file.addEventListener("change", async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    file.setCustomValidity(chosen.size > Number(file.dataset.most) ? file.dataset.tooLarge : "");
    if (file.reportValidity()) document.getElementById(file.dataset.fills).value = await chosen.text();
  });
}
