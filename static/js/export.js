// The export dialog: a link marked data-export opens it over its page; without this script the link leads to the same form.
"use strict";

(() => {
  const ID = "export-dialog";

  async function open(link) {
    document.getElementById(ID)?.remove();
    await htmx.ajax("GET", link.getAttribute("href"), { target: document.body, swap: "beforeend" });
    const dialog = document.getElementById(ID);
    if (!dialog) {
      location.href = link.href; // the server said no: its page says why
      return;
    }
    dialog.addEventListener("close", () => {
      dialog.remove();
      link.focus();
    });
    dialog.showModal();
  }

  function setRange(button) {
    const form = button.form;
    form.elements.from.value = button.value === "all" ? "" : button.value;
    form.elements.to.value = "";
    form.dispatchEvent(new Event("change", { bubbles: true }));
  }

  function markRange(form) {
    const range = form.elements.to.value ? "" : form.elements.from.value || "all";
    for (const button of form.querySelectorAll("button[name=range]")) {
      button.setAttribute("aria-pressed", String(button.value === range));
    }
  }

  async function copy(button) {
    const source = document.querySelector(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source); // plain HTTP has no clipboard: the person presses Ctrl+C
    }
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-export]");
    const plain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
    if (link && plain) {
      event.preventDefault();
      open(link);
      return;
    }
    const button = event.target.closest("button");
    if (button?.name === "range" && button.form?.id === "export") {
      event.preventDefault();
      setRange(button);
    } else if (button?.dataset.copy && button.closest("#export-preview")) {
      copy(button);
    }
  });

  for (const kind of ["change", "input"]) {
    document.addEventListener(kind, (event) => {
      const form = event.target.form ?? event.target;
      if (form.id === "export") markRange(form);
    });
  }
})();
