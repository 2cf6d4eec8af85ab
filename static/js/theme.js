// The colours that were chosen, before anything is painted: no flash. Loaded blocking, so it stays this small.
"use strict";

try {
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // storage is off: the system's setting stands
}
