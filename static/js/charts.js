// Draws the figures that the server sends. They have no colours: the look is here, from the stylesheet's own properties.
"use strict";

(() => {
  const charts = document.getElementById("charts");
  const canvases = [...document.querySelectorAll("#charts [data-chart]")];
  const isLive = "live" in charts.dataset;
  const refreshMs = Number(charts.dataset.live) * 1000; // the longer the range, the less a moment changes it

  function onNews(act) {
    if (!isLive) return;
    document.addEventListener("htmx:after:swap", (event) => {
      if (event.detail.ctx.sourceElement.id === "live") act();
    });
  }

  if (!canvases.length) {
    // when the first result comes there are charts to lay out; a range without any may still have a log
    const hasRuns = () => document.querySelector("#log tbody tr") !== null;
    if (!hasRuns()) onNews(() => hasRuns() && location.reload());
    return;
  }

  const CONFIG = { displayModeBar: false, responsive: true, doubleClick: "reset", locale: "en" };
  const SHADES = ["--chart-1", "--chart-2", "--chart-3", "--chart-4", "--chart-5"];
  const DASHES = ["solid", "dot", "dash"]; // lines differ without colour, too: six a chart
  const STATUS = { ok: "--ok-bar", warning: "--warning-bar", critical: "--critical-bar", maintenance: "--maintenance-bar" };
  const LIMIT = { warning: "--warning-glyph", critical: "--critical-bar" };

  let figures = {};
  let fetchedMs = 0;
  let timer = 0;

  // light-dark() and var() are only resolved where a colour is used, so one is used
  const probe = document.createElement("span");
  probe.hidden = true;
  charts.append(probe);
  function colour(name) {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  }

  function axis(more) {
    return {
      gridcolor: colour("--line"), linecolor: colour("--line-strong"), tickcolor: colour("--line-strong"),
      zerolinecolor: colour("--line-strong"), tickfont: { color: colour("--text-3") }, ...more,
    };
  }

  function hatched(strength) {
    const pattern = {
      shape: "/", size: 5, solidity: 0.3, fgcolor: colour("--hatch"), bgcolor: "rgba(0,0,0,0)", fgopacity: strength, fillmode: "overlay",
    };
    return { color: "rgba(0,0,0,0)", line: { width: 0 }, pattern };
  }

  const filled = (name) => ({ color: colour(name), line: { width: 0 } });

  // by role: what a trace looks like
  const LOOKS = {
    line: ({ step }) => ({ line: { color: colour(step % 2 ? "--text-2" : "--accent"), dash: DASHES[step >> 1], width: 1.5 } }),
    part: ({ step }) => ({ marker: filled(SHADES[step % SHADES.length]) }),
    p50: () => ({ line: { color: colour("--accent"), width: 1.75 } }),
    p95: () => ({ line: { color: colour("--chart-4"), width: 1 } }),
    p99: () => ({ line: { color: colour("--chart-3"), dash: "dot", width: 1 } }),
    band: () => ({ line: { width: 0 }, fillcolor: colour("--chart-band") }),
    extreme: () => ({ line: { color: colour("--chart-extreme"), width: 1 } }),
    gap: () => ({ marker: hatched(1) }),
    "gap-behind": () => ({ marker: hatched(0.6) }),
    "maintenance-behind": () => ({ marker: filled("--chart-maintenance") }),
    "failed-behind": () => ({ marker: filled("--critical-bar") }),
  };

  function dressed(trace) {
    const look = LOOKS[trace.meta.role] ?? (() => ({ marker: filled(STATUS[trace.meta.role]) }));
    return { ...trace, ...look(trace.meta) };
  }

  function laidOut(layout, canvas, names) {
    const root = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const narrow = canvas.clientWidth < 600;
    const isBand = canvas.classList.contains("is-band");
    // on a phone the legend stands below the title, in rows of three
    const legendRows = narrow && layout.showlegend ? Math.ceil(names / 3) : 0;
    return {
      ...layout,
      font: { family: getComputedStyle(document.body).fontFamily, size: 0.75 * root, color: colour("--text-2") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: narrow ? 56 : 64, r: 2, t: 24 + 19 * legendRows, b: isBand ? 2 : 36 },
      xaxis: axis({ ...layout.xaxis, showgrid: false, visible: !isBand, nticks: narrow ? 5 : 12, fixedrange: narrow }),
      yaxis: axis({ ...layout.yaxis, fixedrange: true }),
      hoverlabel: { bgcolor: colour("--surface"), bordercolor: colour("--line-strong"), font: { color: colour("--text") } },
      legend: { orientation: "h", x: narrow ? 0 : 1, xanchor: narrow ? "left" : "right", y: 1, yanchor: "bottom", traceorder: "normal", font: { color: colour("--text-2") } },
      shapes: (layout.shapes ?? []).map((shape) => ({
        ...shape, layer: "below", line: { color: colour(LIMIT[shape.name]), width: 1, dash: "dot" },
      })),
      dragmode: narrow ? false : "zoom",
    };
  }

  function draw() {
    for (const canvas of canvases) {
      const figure = figures[canvas.dataset.chart];
      if (!figure) continue;
      const names = figure.data.filter((trace) => trace.showlegend !== false).length;
      Plotly.react(canvas, figure.data.map(dressed), laidOut(figure.layout, canvas, names), CONFIG);
    }
    charts.dataset.drawn = String(Number(charts.dataset.drawn ?? 0) + 1);
  }

  async function load() {
    fetchedMs = Date.now();
    const fault = document.getElementById("charts-fault");
    try {
      // "no-cache" asks with the ETag: unchanged figures cost the server nothing
      const response = await fetch(charts.dataset.source, { cache: "no-cache", headers: { Accept: "application/json" } });
      const body = await response.json();
      if (!response.ok) throw new Error(body.error);
      figures = body;
      fault.hidden = true;
      draw();
    } catch (error) {
      fault.textContent = `The charts could not be loaded: ${error.message || "the server does not answer"}`;
      fault.hidden = false;
    }
  }

  // something about this check changed: look again, but not too often
  function refresh() {
    if (timer || document.hidden) return;
    timer = setTimeout(() => { timer = 0; load(); }, Math.max(0, fetchedMs + refreshMs - Date.now()));
  }

  onNews(refresh);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  load();
})();
