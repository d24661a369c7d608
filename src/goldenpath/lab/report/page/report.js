"use strict";
// Shows one page at a time and draws the charts of the page that is shown. Everything that it shows as text was escaped
// when the page was written; here are numbers only.
(() => {
  const series = JSON.parse(document.getElementById("data").textContent);
  const pages = [...document.querySelectorAll(".page")];
  const links = [...document.querySelectorAll("nav a")];
  const drawn = new Map();
  const RIGHT = 60; // of every chart, with or without an axis there, so that all have the same time axis

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const round = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3))));
  const seconds = (value) => {
    if (value == null) return "–";
    if (value === 0) return "0";
    return Math.abs(value) < 1 ? `${round(value * 1000)} ms` : `${round(value)} s`;
  };
  const count = (unit) => (value) => (value == null ? "–" : `${round(value)}${unit}`);
  const clock = (value, step) => {
    if (value == null) return "–";
    if (value < 120) return `${Number(value.toFixed(step < 1 ? 2 : step < 10 ? 1 : 0))} s`;
    const whole = Math.round(value);
    return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
  };

  const line = (label, stroke, value, more = {}) => ({
    label, stroke: colour(stroke), width: 1.6, spanGaps: true, value: (_, v) => value(v), points: { size: 5 }, ...more,
  });
  const dots = (label, stroke, value, size) => ({
    label, stroke: colour(stroke), value: (_, v) => value(v), paths: () => null,
    points: { show: true, size, stroke: null, fill: colour(stroke) + "99" },
  });

  const bands = (data) => (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    data.faults.forEach(([, began, ended], place) => {
      const from = plot.valToPos(began, "x", true);
      const to = plot.valToPos(ended ?? began, "x", true);
      ctx.fillStyle = colour("--fault");
      ctx.fillRect(from, bbox.top, Math.max(to - from, 2 * devicePixelRatio), bbox.height);
      ctx.fillStyle = colour("--e"); // its name is in the list above the charts; one below the other where they are near
      ctx.fillText(String(place + 1), from + 3 * devicePixelRatio, bbox.top + (12 + 12 * (place % 6)) * devicePixelRatio);
    });
    ctx.fillStyle = colour("--e");
    for (const at of data.violations) {
      ctx.fillRect(plot.valToPos(at, "x", true) - 1, bbox.top, 2, 6 * devicePixelRatio);
    }
    ctx.restore();
  };

  const axis = (format, more = {}) => ({
    stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false },
    font: "12px system-ui, sans-serif", size: 64, values: (_, ticks) => ticks.map((tick) => (tick == null ? null : format(tick))), ...more,
  });
  // Of two axes of one chart: what it is of, in the colour of its line.
  const named = (label, stroke, format, more) => axis(format, {
    label, stroke: colour(stroke), labelFont: "12px system-ui, sans-serif", labelSize: 16, labelGap: 0, size: 48, ...more,
  });
  const timeAxis = () => axis(clock, {
    size: 30, space: 64,
    values: (_, ticks, __, ___, step) => ticks.map((tick) => clock(tick, step)),
  });
  const powers = (_, __, low, high) => {
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      ticks.push(10 ** power);
      if (high / low < 200) ticks.push(3 * 10 ** power);
    }
    return ticks.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
  };
  const logarithmic = (low, high) => ({ distr: 3, range: [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(high))] });
  const fromZero = (_, __, high) => [0, high > 0 ? high * 1.08 : 1];

  const bounds = (data) => {
    const times = Object.values(data.samples).map((each) => each.time.at(-1) ?? 0);
    const last = Math.max(data.time.length * data.bin_seconds, data.seconds, ...times);
    const end = last > 0 ? last : 1;
    return [-0.012 * end, end]; // what happens at once at the beginning is not half hidden
  };
  const overTime = (data, shared) => ({
    scales: { x: { time: false, range: () => bounds(data) } },
    cursor: { sync: { key: shared }, y: false, drag: { x: false, y: false } },
    hooks: { drawClear: [bands(data)] },
  });

  // Joins columns with times of their own into rows of one time axis, as uPlot wants them.
  const joined = (tables) => uPlot.join(tables, tables.map((table) => table.slice(1).map(() => 2)));

  const charts = {
    first_token(data, shared) {
      const { p50, p95, p99, max } = data.first_token;
      if (!p50.some((value) => value != null)) return null;
      return {
        ...overTime(data, shared),
        axes: [timeAxis(), axis(seconds)],
        scales: { x: { time: false, range: () => bounds(data) }, y: { range: fromZero } },
        series: [
          { label: "at", value: (_, v) => clock(v, 0.1) },
          line("p50", "--a", seconds), line("p95", "--b", seconds), line("p99", "--c", seconds),
          line("max", "--f", seconds, { width: 1, dash: [3, 3] }),
        ],
        data: [data.time, p50, p95, p99, max],
      };
    },
    load(data, shared) {
      if (!data.time.length) return null;
      const { offered, started, completed, failed } = data.per_second;
      const perSecond = count(" /s");
      const steps = { paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } };
      return {
        ...overTime(data, shared),
        axes: [timeAxis(), axis(count("/s"))],
        scales: { x: { time: false, range: () => bounds(data) }, y: { range: fromZero } },
        series: [
          { label: "at", value: (_, v) => clock(v, 0.1) },
          line("offered", "--f", perSecond, { ...steps, fill: colour("--f") + "26" }),
          line("started", "--a", perSecond, { ...steps, dash: [4, 3] }),
          line("completed", "--d", perSecond, steps),
          line("failed", "--e", perSecond, steps),
        ],
        data: [data.time, offered, started, completed, failed],
      };
    },
    runs(data, shared) {
      const runs = data.runs.filter((run) => run[1] > 0);
      if (!runs.length) return null;
      const times = runs.map((run) => run[1]);
      const low = times.reduce((a, b) => Math.min(a, b)), high = times.reduce((a, b) => Math.max(a, b));
      const size = runs.length > 400 ? 3.5 : 6;
      return {
        ...overTime(data, shared),
        axes: [timeAxis(), axis(seconds, { splits: powers })],
        scales: { x: { time: false, range: () => bounds(data) }, y: logarithmic(low, high === low ? high * 1.1 : high) },
        series: [
          { label: "asked at", value: (_, v) => clock(v, 0.1) },
          dots("run", "--a", seconds, size), dots("failed", "--e", seconds, size + 1),
        ],
        data: [runs.map((run) => run[0]), runs.map((run) => (run[3] ? run[1] : null)), runs.map((run) => (run[3] ? null : run[1]))],
        note: data.runs_total > data.runs.length ? `${data.runs.length.toLocaleString("en")} of ${data.runs_total.toLocaleString("en")} runs, chosen by chance, and the slowest` : "",
      };
    },
    users(data) {
      const { user, runs, p50, p95, max } = data.users;
      if (!user.length) return null;
      const few = user.length <= 40;
      const times = [...p50, ...max].filter((value) => value > 0);
      if (!times.length) return null;
      const low = times.reduce((a, b) => Math.min(a, b)), high = times.reduce((a, b) => Math.max(a, b));
      const area = line("median run", "--a", seconds, { fill: colour("--a") + "33", points: { show: false } });
      return {
        axes: [axis((place) => (Number.isInteger(place) ? round(place) : ""), { size: 30, space: 48, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] }), axis(seconds, { splits: powers })],
        scales: { x: { time: false, range: [0.4, user.length + 0.6] }, y: logarithmic(low, high === low ? high * 1.1 : high) },
        cursor: { y: false, drag: { x: false, y: false } },
        series: [
          { label: "user", value: (_, v, __, place) => (place == null ? "–" : String(user[place])) },
          few ? dots("median run", "--a", seconds, 9) : area,
          dots("p95", "--b", seconds, few ? 7 : 2.5),
          dots("slowest", "--c", seconds, few ? 7 : 2.5),
          { label: "runs", scale: "count", show: true, paths: () => null, points: { show: false }, value: (_, v) => (v == null ? "–" : String(v)) },
        ],
        data: [user.map((_, place) => place + 1), p50, p95, max, runs],
      };
    },
    resources(data, shared) {
      const target = data.samples.target;
      if (!target || !target.time.length) return null;
      return {
        ...overTime(data, shared),
        axes: [timeAxis(), named("memory, MB", "--a", count(""), { scale: "mb" }), named("CPU, of all cores", "--b", count(" %"), { scale: "cpu", side: 1, size: RIGHT - 16, grid: { show: false } })],
        scales: { x: { time: false, range: () => bounds(data) }, mb: { range: fromZero }, cpu: { range: (_, __, high) => [0, Math.min(100, Math.max(10, high * 1.1))] } },
        series: [
          { label: "at", value: (_, v) => clock(v, 0.1) },
          line("memory", "--a", count(" MB"), { scale: "mb", fill: colour("--a") + "22" }),
          line("CPU", "--b", count(" %"), { scale: "cpu" }),
        ],
        data: [target.time, target.memory_mb ?? target.time.map(() => null), (target.cpu_percent ?? target.time.map(() => null)).map((value) => (value == null ? null : value / data.cores))],
      };
    },
    lag(data, shared) {
      const tables = [[data.time, data.connections]], shown = [];
      for (const [source, columns] of Object.entries(data.samples)) {
        if (!columns.loop_lag) continue;
        tables.push([columns.time, columns.loop_lag.map((value) => (value == null ? null : Math.max(0, value)))]);
        shown.push(source);
      }
      if (!shown.length && !data.connections.some((value) => value != null)) return null;
      const colours = ["--b", "--c", "--d", "--e"];
      return {
        ...overTime(data, shared),
        axes: [timeAxis(), named("event loop late by", "--b", seconds, { scale: "lag" }), named("open connections", "--a", count(""), { scale: "open", side: 1, size: RIGHT - 16, grid: { show: false } })],
        scales: { x: { time: false, range: () => bounds(data) }, lag: { range: (_, __, high) => [0, Math.max(0.01, high * 1.08)] }, open: { range: fromZero } },
        series: [
          { label: "at", value: (_, v) => clock(v, 0.1) },
          line("connections", "--a", count(""), { scale: "open", fill: colour("--a") + "22", paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } }),
          ...shown.map((source, place) => line(`loop of ${source.slice(0, 24)}`, colours[place % colours.length], seconds, { scale: "lag" })),
        ],
        data: tables.length > 1 ? joined(tables) : tables[0],
      };
    },
  };

  const draw = (box) => {
    const scenario = Number(box.dataset.scenario);
    const data = series[scenario];
    const made = drawn.get(box) ?? [];
    made.forEach((plot) => plot.destroy());
    drawn.set(box, []);
    for (const figure of box.querySelectorAll("figure")) {
      const place = figure.querySelector(".plot");
      const options = charts[figure.dataset.chart](data, `scenario-${scenario}`);
      place.classList.toggle("none", !options);
      if (!options) continue;
      const { data: columns, note, ...rest } = options;
      if (note && !figure.querySelector(".note")) {
        const said = document.createElement("span");
        said.className = "note";
        said.textContent = note;
        figure.querySelector("figcaption").append(said);
      }
      const plot = new uPlot({ width: place.clientWidth, height: 220, padding: [8, rest.axes.length > 2 ? 0 : RIGHT, 0, 0], ...rest }, columns, place);
      drawn.get(box).push(plot);
    }
  };
  const visible = () => [...document.querySelectorAll(".page:not([hidden]) .charts")];

  const show = (focus) => {
    const wanted = pages.find((page) => `#${page.id}` === location.hash) ?? pages[0];
    for (const page of pages) page.hidden = page !== wanted;
    for (const link of links) {
      if (link.hash === `#${wanted.id}`) {
        link.setAttribute("aria-current", "page");
        link.scrollIntoView({ block: "nearest", inline: "nearest" });
      } else link.removeAttribute("aria-current");
    }
    visible().filter((box) => !drawn.has(box)).forEach(draw);
    if (focus) {
      wanted.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
  };
  const again = () => {
    const shown = new Set(visible());
    for (const box of [...drawn.keys()]) {
      if (shown.has(box)) draw(box);
      else {
        drawn.get(box).forEach((plot) => plot.destroy());
        drawn.delete(box);
      }
    }
  };
  let width = innerWidth, waiting = 0;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(again, 100);
  });
  addEventListener("hashchange", () => show(true));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  show(false);
})();
