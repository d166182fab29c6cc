// Waveforms that can be zoomed and moved, and crossbars whose cells say what they are.
{
  const SVG = "http://www.w3.org/2000/svg";
  const PREFIXES = { "-15": "f", "-12": "p", "-9": "n", "-6": "µ", "-3": "m", 0: "", 3: "k", 6: "M" };
  const FIRST = 3; // traces that are shown at first
  const START = 200; // points that are shown at first

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "on") for (const [event, call] of Object.entries(value)) element.addEventListener(event, call);
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  };

  const draw = (parent, tag, attributes, text = "") => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    parent.append(element);
    return element;
  };

  const button = (text, label, click) =>
    make("button", { type: "button", "aria-label": label, title: label, on: { click } }, text);

  const choice = (label, options, change) => {
    const select = make("select", { on: { change: () => change(select.value) } });
    options.forEach((text, value) => select.append(make("option", { value }, text)));
    return make("label", {}, label, select);
  };

  const check = (checked, change, ...label) => {
    const box = make("input", { type: "checkbox", on: { change: () => change(box.checked) } });
    box.checked = checked;
    return make("label", {}, box, ...label);
  };

  /** Four digits with an SI prefix, such as "12.34 µS". */
  const quantity = (value, unit) => {
    const power = value === 0 ? 0 : Math.min(6, Math.max(-15, 3 * Math.floor(Math.log10(Math.abs(value)) / 3)));
    return `${Number((value / 10 ** power).toPrecision(4))} ${PREFIXES[power]}${unit}`;
  };

  /** Round numbers from low to high, at most some count of them. */
  const ticks = (low, high, most) => {
    const rough = (high - low) / most;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((times) => times * power >= rough);
    const first = Math.ceil(low / step);
    const all = Array.from({ length: Math.ceil(most) + 1 }, (_, k) => Number(((first + k) * step).toPrecision(12)));
    return all.filter((value) => value <= high);
  };

  const waveforms = (section, data) => {
    const { time, traces, levels, hold } = data;
    const [first, last] = [time[0], time[time.length - 1]];
    const gaps = time.slice(1).map((t, k) => t - time[k]);
    const gap = 2.5 * [...gaps].sort((a, b) => a - b)[Math.floor(gaps.length / 2)]; // a longer one is not drawn over
    const shown = traces.map((_, k) => k < FIRST);
    const twins = traces.some((trace) => trace.twin.length);
    const state = { from: first, to: time[Math.min(START, time.length) - 1], si: false, twin: false };
    const margin = { left: 56, right: 8, top: 18, bottom: 40 };
    let size = { width: 800, height: 320 };

    const plot = document.createElementNS(SVG, "svg");
    const view = (from, to) => {
      const span = Math.min(last - first, Math.max(to - from, 4 * (time[1] - first)));
      state.from = Math.min(Math.max(from, first), last - span);
      state.to = state.from + span;
      redraw();
    };
    const zoom = (factor, around = (state.from + state.to) / 2) =>
      view(around - (around - state.from) * factor, around + (state.to - around) * factor);
    const move = (share) => {
      const by = share * (state.to - state.from);
      view(state.from + by, state.to + by);
    };
    const inner = () => size.width - margin.left - margin.right;
    const timeAt = (event) => {
      const x = event.clientX - plot.getBoundingClientRect().left - margin.left;
      return state.from + (Math.min(Math.max(x / inner(), 0), 1)) * (state.to - state.from);
    };

    const redraw = () => {
      const kept = traces.map((_, k) => k).filter((k) => shown[k]);
      const all = [...levels, 0, ...kept.flatMap((k) => [...traces[k].values, ...(state.twin ? traces[k].twin : [])])];
      const reach = all.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]);
      const pad = 0.04 * (reach[1] - reach[0]) || 1;
      const [low, high] = [reach[0] - pad, reach[1] + pad];
      const [unitX, unitY] = state.si ? [data.seconds, data.volts] : [1, 1];
      const bottom = size.height - margin.bottom;
      const x = (t) => margin.left + (inner() * (t - state.from)) / (state.to - state.from);
      const y = (v) => bottom - ((bottom - margin.top) * (v - low)) / (high - low);

      plot.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
      plot.replaceChildren();
      const clip = draw(draw(plot, "clipPath", { id: "within" }), "rect", {});
      const box = { x: margin.left, y: margin.top, width: inner(), height: bottom - margin.top };
      for (const [name, value] of Object.entries(box)) clip.setAttribute(name, value);
      const line = (parent, kind, d) => draw(parent, "path", { class: kind, d });
      for (const v of ticks(low * unitY, high * unitY, 6)) {
        line(plot, "grid", `M${margin.left} ${y(v / unitY)}h${inner()}`);
        const text = state.si ? quantity(v, "V") : v;
        draw(plot, "text", { x: margin.left - 6, y: y(v / unitY) + 4, "text-anchor": "end" }, text);
      }
      for (const v of ticks(state.from * unitX, state.to * unitX, Math.max(2, inner() / 90))) {
        line(plot, "axis", `M${x(v / unitX)} ${bottom}v5`);
        const text = state.si ? quantity(v, "s") : v;
        draw(plot, "text", { x: x(v / unitX), y: bottom + 18, "text-anchor": "middle" }, text);
      }
      line(plot, "axis", `M${margin.left} ${margin.top}V${bottom}h${inner()}`);
      draw(plot, "text", { x: margin.left + 6, y: 12 }, state.si ? data.letter : `${data.letter} (model units)`);
      const middle = { x: margin.left + inner() / 2, y: size.height - 4, "text-anchor": "middle" };
      draw(plot, "text", middle, state.si ? "time" : "time (τ)");
      const within = draw(plot, "g", { "clip-path": "url(#within)" });
      const changes = hold > 0 && (state.to - state.from) / hold < 200 ? Math.floor(state.to / hold) : 0;
      for (let k = Math.ceil(state.from / hold); k <= changes; k++) line(within, "grid", `M${x(k * hold)} ${margin.top}V${bottom}`);
      for (const level of levels) line(within, "level", `M${margin.left} ${y(level)}h${inner()}`);
      const start = Math.max(0, time.findIndex((t) => t >= state.from) - 1);
      const stop = time.findLastIndex((t) => t <= state.to) + 2;
      const path = (values) =>
        values.slice(start, stop).map((v, k) => {
          const joined = k && gaps[start + k - 1] < gap;
          return `${joined ? "L" : "M"}${x(time[start + k]).toFixed(1)} ${y(v).toFixed(1)}`;
        });
      for (const k of kept) line(within, `c${k}`, path(traces[k].values).join(""));
      if (state.twin) for (const k of kept) line(within, "twin", path(traces[k].twin).join(""));
    };

    const keys = {
      ArrowLeft: () => move(-0.2),
      ArrowRight: () => move(0.2),
      "+": () => zoom(0.5),
      "=": () => zoom(0.5),
      "-": () => zoom(2),
      0: () => view(first, last),
    };
    const set = { class: "plot", tabindex: 0, role: "application", "aria-label": "Waveforms: arrow keys move, plus and minus zoom, 0 shows all" };
    for (const [name, value] of Object.entries(set)) plot.setAttribute(name, value);
    plot.addEventListener("keydown", (event) => {
      if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key]();
    });
    plot.addEventListener("wheel", (event) => {
      if (document.activeElement !== plot && !event.ctrlKey) return; // the page scrolls
      event.preventDefault();
      zoom(2 ** (event.deltaY / 300), timeAt(event));
    });
    plot.addEventListener("dblclick", () => view(first, last));
    const held = new Map(); // where each finger, or the mouse, was
    plot.addEventListener("pointerdown", (event) => {
      plot.setPointerCapture(event.pointerId);
      held.set(event.pointerId, event.clientX);
    });
    for (const end of ["pointerup", "pointercancel"]) plot.addEventListener(end, (event) => held.delete(event.pointerId));
    plot.addEventListener("pointermove", (event) => {
      if (!held.has(event.pointerId)) return;
      const before = held.get(event.pointerId);
      const others = [...held].filter(([id]) => id !== event.pointerId);
      held.set(event.pointerId, event.clientX);
      if (!others.length) return move((before - event.clientX) / inner());
      const other = others[0][1];
      const apart = Math.max(20, Math.abs(event.clientX - other));
      zoom(Math.max(20, Math.abs(before - other)) / apart, timeAt({ clientX: other }));
    });

    const boxes = traces.map((trace, k) =>
      check(shown[k], (on) => ((shown[k] = on), redraw()), make("span", { class: `swatch c${k}` }), trace.name),
    );
    if (twins) boxes.push(check(false, (on) => ((state.twin = on), redraw()), "NumPy, same noise (dashed)"));
    const moves = make(
      "span",
      { class: "buttons" },
      button("−", "Zoom out", () => zoom(2)),
      button("+", "Zoom in", () => zoom(0.5)),
      button("←", "Earlier", () => move(-0.5)),
      button("→", "Later", () => move(0.5)),
      button("All", "Show all", () => view(first, last)),
    );
    const units = choice("Units ", ["model units, τ", "volts, seconds"], (value) => ((state.si = value === "1"), redraw()));
    const said =
      `${data.letter} of the liveliest latents of the first chain, ${time.length} points` +
      (levels.length ? "; dotted: the threshold" : "") +
      (hold > 0 ? "; vertical lines: another input" : "") +
      ". Drag to move, pinch or use the wheel (after a click) to zoom.";
    section.append(
      make("h3", {}, "Waveforms"),
      make("div", { class: "tools" }, moves, units),
      make("div", { class: "tools", role: "group", "aria-label": "Traces" }, ...boxes),
      plot,
      make("p", { class: "note" }, said),
    );
    new ResizeObserver(() => {
      const { width, height } = plot.getBoundingClientRect();
      if (width) size = { width, height };
      redraw();
    }).observe(plot);
  };

  // from -1 through 0 to 1
  const COLORS = [[150, 60, 0], [229, 137, 66], [246, 247, 249], [86, 160, 214], [0, 62, 110]];
  const colorOf = (share) => {
    const at = Math.min(3.999, Math.max(0, 2 * (share + 1)));
    const [k, rest] = [Math.floor(at), at % 1];
    return COLORS[k].map((value, i) => Math.round(value + rest * (COLORS[k + 1][i] - value)));
  };

  const paint = (canvas, width, height, share) => {
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let k = 0; k < width * height; k++) image.data.set([...colorOf(share(Math.floor(k / width), k % width)), 255], 4 * k);
    context.putImageData(image, 0, 0);
  };

  const crossbars = (section, found) => {
    const canvas = make("canvas");
    const mark = make("div", { class: "cell" });
    const map = make("div", { class: "map", tabindex: 0, role: "application" }, canvas, mark);
    const legend = make("div", { class: "scale" });
    const output = make("output", { "aria-live": "polite" });
    let [shown, row, column] = [found[0], 0, 0];

    const select = (j, i) => {
      [row, column] = [Math.min(Math.max(j, 0), shown.rows.length - 1), Math.min(Math.max(i, 0), shown.columns.length - 1)];
      const [width, height] = [100 / shown.columns.length, 100 / shown.rows.length];
      const place = { left: column * width, top: row * height, width, height };
      for (const [name, value] of Object.entries(place)) mark.style[name] = `${value}%`;
      const value = quantity(shown.values[row][column] * shown.siemens, "S");
      output.textContent = `row ${shown.rows[row]}, column ${shown.columns[column]}: ${value}`;
    };
    const show = (k) => {
      shown = found[k];
      const [rows, columns] = [shown.rows.length, shown.columns.length];
      const all = shown.values.flat();
      const reach = Math.max(...all.map(Math.abs)) || 1;
      const low = all.some((value) => value < 0) ? -1 : 0;
      paint(canvas, columns, rows, (j, i) => shown.values[j][i] / reach);
      canvas.style.width = `${columns * Math.max(3, Math.min(22, Math.floor(880 / columns)))}px`;
      const bar = make("canvas");
      paint(bar, 128, 1, (_, i) => low + ((1 - low) * i) / 127);
      legend.replaceChildren(quantity(low * reach * shown.siemens, "S"), bar, quantity(reach * shown.siemens, "S"));
      map.setAttribute("aria-label", `Crossbar ${shown.name}, ${rows} rows, ${columns} columns: arrow keys choose a cell`);
      select(0, 0);
    };
    const pick = (event) => {
      const box = canvas.getBoundingClientRect();
      const share = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
      select(Math.floor(share[0] * shown.rows.length), Math.floor(share[1] * shown.columns.length));
    };
    map.addEventListener("pointermove", pick);
    map.addEventListener("pointerdown", pick);
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    map.addEventListener("keydown", (event) => {
      if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      select(row + steps[event.key][0], column + steps[event.key][1]);
    });
    const names = found.map((each) => `${each.name} (${each.rows.length} × ${each.columns.length})`);
    const tools = found.length > 1 ? choice("Crossbar ", names, show) : names[0];
    section.append(
      make("h3", {}, "Crossbars"),
      make("div", { class: "tools" }, tools),
      map,
      output,
      legend,
      make("p", { class: "note" }, "Conductances: the current of a cell flows from the node of its column into that of its row."),
    );
    show(0);
  };

  const given = document.getElementById("views");
  if (given) {
    const data = JSON.parse(given.textContent);
    if (data.waveforms.time.length > 1 && data.waveforms.traces.length) waveforms(given.parentElement, data.waveforms);
    if (data.crossbars.length) crossbars(given.parentElement, data.crossbars);
  }
}
