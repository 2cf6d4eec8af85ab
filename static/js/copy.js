// Buttons that copy: the address of the page, or the text of the element that they name. Without JavaScript they stay hidden.
"use strict";

(() => {
  const SAID_MS = 1600;

  function show(root) {
    for (const button of root.querySelectorAll("[data-copy-text], [data-copy-address]")) button.hidden = false;
  }

  // navigator.clipboard exists only over HTTPS and on localhost
  async function put(text) {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const focused = document.activeElement;
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    focused.focus({ preventScroll: true });
    if (!done) throw new Error("the browser did not copy");
  }

  async function copy(button) {
    const word = button.textContent;
    if (button.dataset.said) return;
    try {
      await put("copyText" in button.dataset ? document.getElementById(button.dataset.copyText).textContent : location.href);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not copied";
    }
    button.dataset.said = "1";
    setTimeout(() => {
      button.textContent = word;
      delete button.dataset.said;
    }, SAID_MS);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy-text], [data-copy-address]");
    if (button) copy(button);
  });
  // a part that was morphed in comes from the server with its buttons hidden
  document.addEventListener("htmx:after:swap", () => show(document));
  show(document);
})();
