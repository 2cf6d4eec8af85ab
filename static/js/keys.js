// Keys and the choice of colours. Focus is the cursor: j and k move it along the checks' names.
"use strict";

(() => {
  const find = (id) => document.getElementById(id);
  const visible = (element) => element.checkVisibility({ contentVisibilityAuto: false });

  function move(step) {
    const names = [...document.querySelectorAll(".row .name")].filter(visible);
    if (!names.length) return;
    const row = document.activeElement.closest?.(".row");
    const at = row ? names.indexOf(row.querySelector(".name")) : -1;
    const next = at < 0 && step < 0 ? names.length - 1 : Math.min(names.length - 1, Math.max(0, at + step));
    names[next].focus();
    names[next].scrollIntoView({ block: "nearest" });
  }

  function run() {
    const button = document.activeElement.closest?.(".row")?.querySelector("button[form=run]") ?? document.querySelector("main .head button[form=run]");
    button?.click();
  }

  const actions = {
    "/": () => find("q")?.focus(),
    j: () => move(1),
    k: () => move(-1),
    r: run,
    e: () => document.querySelector("a[data-export]")?.click(),
    "?": () => find("keys").showModal(),
  };

  document.addEventListener("keydown", (event) => {
    const field = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (field) {
      if (event.key === "Escape" && field.id === "q") field.blur();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });

  document.addEventListener("click", (event) => {
    if (event.target.tagName === "DIALOG") event.target.close(); // beside its content
  });

  find("keys-button").hidden = false;
  find("keys-button").addEventListener("click", actions["?"]);

  const theme = find("theme");
  function choose(choice) {
    if (choice === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice;
    for (const button of theme.children) button.setAttribute("aria-pressed", String(button.dataset.choice === choice));
  }
  theme.hidden = false;
  theme.addEventListener("click", (event) => {
    const choice = event.target.dataset.choice;
    if (!choice) return;
    choose(choice);
    try {
      localStorage.setItem("theme", choice);
    } catch {
      // storage is off: the choice lasts as long as the page
    }
  });
  choose(document.documentElement.dataset.theme ?? "auto");
})();
