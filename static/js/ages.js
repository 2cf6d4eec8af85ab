// Ages and the clock grow here, second by second, so the server sends rows only when something changed.
"use strict";

const Ages = (() => {
  const NBSP = "\u00a0";
  const clock = document.getElementById("clock");
  const zone = document.documentElement.dataset.zone;
  // how far this machine's clock is from the server's; the page itself took a moment to come, so small differences are none
  const skewMs = (() => {
    const difference = Date.parse(clock.dateTime) - Date.now();
    return Math.abs(difference) > 3000 ? difference : 0;
  })();

  const now = () => Date.now() + skewMs;
  const two = (number) => String(number).padStart(2, "0");

  // the same words as dashboard/web/words.py span(): change both
  function span(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    if (whole < 60) return whole + NBSP + "s";
    if (whole < 3600) return Math.floor(whole / 60) + NBSP + "m";
    if (whole < 86400) return Math.floor(whole / 3600) + NBSP + "h" + NBSP + two(Math.floor((whole % 3600) / 60)) + NBSP + "m";
    const days = Math.floor(whole / 86400);
    return days < 7 ? days + NBSP + "d" + NBSP + Math.floor((whole % 86400) / 3600) + NBSP + "h" : days + NBSP + "d";
  }

  const parts = new Intl.DateTimeFormat("en-GB", {
    timeZone: zone, weekday: "short", day: "numeric", month: "short", year: "numeric",
    hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  });

  function inZone(instant) {
    return Object.fromEntries(parts.formatToParts(instant).map((part) => [part.type, part.value]));
  }

  // each element remembers until when its text holds: thousands of them cost a comparison a second
  function grow(root) {
    const at = now();
    for (const time of root.querySelectorAll("time[data-age]")) {
      if (time.knownAs !== time.dateTime) {
        time.knownAs = time.dateTime;
        time.beganMs = Date.parse(time.dateTime);
        time.holdsUntilMs = 0;
      }
      if (at < time.holdsUntilMs) continue;
      const whole = Math.max(0, Math.floor((at - time.beganMs) / 1000));
      const step = whole < 60 ? 1 : whole < 86400 ? 60 : 3600;
      time.holdsUntilMs = time.beganMs + (Math.floor(whole / step) + 1) * step * 1000;
      const text = span(whole);
      if (time.firstChild.nodeValue !== text) time.firstChild.nodeValue = text;
    }
  }

  function tick() {
    if (document.hidden) return;
    const part = inZone(now());
    clock.textContent = `${part.weekday} ${part.day} ${part.month} ${part.hour}:${part.minute}:${part.second}`;
    grow(document);
  }

  // the exact instant where the pointer rests
  document.addEventListener("pointerover", (event) => {
    const time = event.target.closest?.("time[data-age]");
    if (!time) return;
    const part = inZone(Date.parse(time.dateTime));
    time.title = `${part.weekday} ${part.day} ${part.month} ${part.year} ${part.hour}:${part.minute}:${part.second}, ${zone}`;
  });

  document.addEventListener("htmx:after:settle", (event) => grow(event.target));
  document.addEventListener("visibilitychange", tick);
  setInterval(tick, 1000);
  tick();

  return { grow, inZone, now, span };
})();
