// What the server's answers mean for the page around them: tab title and icon, "updated", stale, notices, groups in trouble.
"use strict";

(() => {
  const STALE_MS = 30_000;
  const find = (id) => document.getElementById(id);
  const stale = find("stale");
  const updated = find("updated");
  let heardMs = Date.now();
  const loud = new Set(loudGroups().map((group) => group.id));

  function loudGroups() {
    return [...document.querySelectorAll("details.grp:has(> summary[data-loud])")];
  }

  function hear() {
    heardMs = Date.now();
    if (!stale.hidden) show(false);
  }

  function show(isStale) {
    stale.hidden = !isStale;
    document.body.classList.toggle("stale", isStale);
    nameTab();
  }

  function nameTab() {
    const counts = find("counts");
    if (!counts) return;
    const title = counts.dataset.title;
    document.title = stale.hidden ? title : `STALE, ${title}`;
    if (find("icon").getAttribute("href") !== counts.dataset.icon) find("icon").href = counts.dataset.icon;
  }

  // a group that turns critical opens itself, once; whoever closes it is left alone
  function openTrouble() {
    const now = loudGroups();
    for (const group of now) if (!loud.has(group.id)) group.open = true;
    loud.clear();
    for (const group of now) loud.add(group.id);
  }

  function watch() {
    if (!find("live") || document.hidden) return;
    const silentMs = Date.now() - heardMs;
    updated.textContent = silentMs < 2000 ? "just now" : `${Ages.span(silentMs / 1000)} ago`;
    if (silentMs < STALE_MS) return;
    const part = Ages.inZone(Ages.now() - silentMs);
    stale.innerHTML = "<b>Stale</b> <span></span>";
    stale.lastChild.textContent = `no data for ${Ages.span(silentMs / 1000)}, showing ${part.hour}:${part.minute}:${part.second}`;
    if (stale.hidden) show(true);
  }

  function look() {
    const live = find("live");
    if (live && !document.hidden) htmx.trigger(live, "look");
  }

  let toastTimer = 0;
  function say(text) {
    const toast = find("toast");
    toast.textContent = text;
    toast.hidden = false;
    clearTimeout(toastTimer);
    toastTimer = setTimeout(() => (toast.hidden = true), 8000);
  }

  document.addEventListener("htmx:after:request", (event) => {
    const { ctx } = event.detail;
    if (ctx.sourceElement.id === "live" && (ctx.response.status < 300 || ctx.response.status === 304)) hear();
  });
  document.addEventListener("beat", hear);
  document.addEventListener("htmx:after:swap", (event) => {
    if (event.detail.ctx.sourceElement.id !== "live") return;
    nameTab();
    openTrouble();
  });

  // what a person asked for and was refused is said; what the page asks for by itself is not
  document.addEventListener("htmx:response:error", (event) => {
    const { ctx } = event.detail;
    if (["live", "stream"].includes(ctx.sourceElement.id)) return;
    const page = new DOMParser().parseFromString(ctx.text, "text/html");
    say(page.querySelector("main .empty span")?.textContent ?? `The server answered ${ctx.response.status}.`);
  });
  document.addEventListener("htmx:error", (event) => {
    const source = event.detail.ctx?.sourceElement;
    if (source && !["live", "stream"].includes(source.id)) say("The server does not answer.");
  });

  document.addEventListener("visibilitychange", look);
  window.addEventListener("pageshow", (event) => event.persisted && look());
  window.addEventListener("online", look);
  setInterval(watch, 1000);
  watch();
})();
