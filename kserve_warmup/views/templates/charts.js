// Draws what data-chart of an element describes with Observable Plot. Figures, ticks and their texts come from the
// report as they are; colours are CSS variables, so that light and dark need no second drawing.
(() => {
  "use strict";
  const SYMBOLS = {cold: "square", warm: "circle", calls: "circle", s0: "square", s1: "circle", s2: "triangle",
    s3: "diamond", s4: "star", s5: "wye"};
  const ROW = 46;
  const HINT = "Arrow keys step through the values.";
  const colour = kind => `var(--${kind})`;

  const frame = (width, options) => Plot.plot({
    width, marginTop: 8, marginRight: 16, marginBottom: 26, marginLeft: 58,
    style: {fontSize: "12px", fontFamily: "inherit", background: "none", color: "var(--quiet)", overflow: "visible"},
    ...options, marks: options.marks.filter(Boolean),
  });
  const axis = (spec, scale) => {
    const texts = new Map(spec[scale].ticks), values = [...texts.keys()];
    const [grid, ticks] = scale === "x" ? [Plot.gridX, Plot.axisX] : [Plot.gridY, Plot.axisY];
    return [
      grid(values, {stroke: "var(--grid)", strokeOpacity: 1, className: "grid"}),
      ticks(values, {text: v => texts.get(v), tickSize: 0, label: null}),
    ];
  };
  const tip = (values, x, y) => Plot.tip(values, Plot.pointer({
    x, y, title: "text", fill: "var(--raised)", stroke: "var(--rule)", maxRadius: 60, className: "tip",
  }));
  const labels = (rows, width) => Plot.text(rows, {
    y: (_, i) => i, text: "label", frameAnchor: "left", textAnchor: "start", dx: 4, dy: -17, fill: "var(--ink)",
    fontSize: 13, textOverflow: "ellipsis-middle", lineWidth: (width - 28) / 13, stroke: "var(--paper)", strokeWidth: 6,
  });
  const rowsOf = count => ({height: count * ROW + 40, marginLeft: 8, y: {domain: [-0.75, count - 0.5], axis: null, reverse: true}});

  const kinds = {
    latency(spec, width) {
      const values = spec.series.flatMap(s => s.values.map((ms, i) => (
        {x: i + 1, y: ms, kind: s.kind, text: `${s.name}, call ${i + 1}: ${+ms.toPrecision(3)} ms`})));
      const firsts = values.filter(v => v.x === 1);
      const marks = [
        ...axis(spec, "y"), ...axis(spec, "x"),
        spec.band && Plot.rect([spec.band], {x1: "from", x2: "to", y1: "low", y2: "high", fill: "var(--good)",
          fillOpacity: 0.16, className: "band"}),
        Plot.ruleX(spec.changes, {stroke: "var(--quiet)", strokeDasharray: "3 3", className: "change"}),
        ...spec.series.map((s, i) => {
          const own = values.filter(v => v.kind === s.kind);
          const style = {x: "x", y: "y", className: s.kind};
          return s.dots
            ? Plot.dot(own, {...style, r: 1.6, fill: colour(s.kind), symbol: SYMBOLS[s.kind]})
            : Plot.line(s.values.map((ms, n) => [n + 1, ms]), {stroke: colour(s.kind), strokeWidth: 1.75,
              className: s.kind});
        }),
        Plot.dot(firsts, {x: "x", y: "y", r: 4.5, fill: d => colour(d.kind), symbol: d => SYMBOLS[d.kind], className: "first"}),
        spec.declared && Plot.ruleX([spec.declared], {x: "call", stroke: "var(--good)", strokeWidth: 1.5}),
        spec.declared && Plot.dot([spec.declared], {x: "call", y: "ms", r: 5, fill: "var(--good)",
          className: "steady"}),
        tip(values, "x", "y"),
      ];
      return {values, plot: frame(width, {
        height: 220, marks, x: {domain: spec.x.domain}, y: {type: "log", domain: spec.y.domain},
        color: {type: "identity"}, symbol: {type: "identity"},
      })};
    },
    ratios(spec, width) {
      const values = spec.rows.flatMap((row, i) => row.values.map(v => ({...v, x: v.value, y: i})));
      const ends = spec.rows.map((row, i) => ({y: i, x1: Math.min(...row.values.map(v => v.value)),
        x2: Math.max(...row.values.map(v => v.value))}));
      const marks = [
        ...axis(spec, "x"),
        spec.one && Plot.ruleX([1], {stroke: "var(--quiet)", strokeDasharray: "3 3", className: "one"}),
        labels(spec.rows, width),
        Plot.link(ends, {x1: "x1", x2: "x2", y1: "y", y2: "y", stroke: "var(--quiet)", strokeOpacity: 0.5,
          strokeWidth: 2, className: "join"}),
        Plot.dot(values, {x: "x", y: "y", r: 5.5, fill: d => colour(d.kind), symbol: d => SYMBOLS[d.kind], className: "ends"}),
        tip(values, "x", "y"),
      ];
      return {values, plot: frame(width, {
        ...rowsOf(spec.rows.length), marks, x: {type: "log", domain: spec.x.domain},
        color: {type: "identity"}, symbol: {type: "identity"},
      })};
    },
    timeline(spec, width) {
      const values = spec.rows.flatMap((row, i) => row.bars.map(b => (
        {...b, x: b.end, y: i, kind: row.kind, text: `${row.label}, from ${b.start} s to ${b.end} s`})));
      const marks = [
        ...axis(spec, "x"),
        labels(spec.rows, width),
        Plot.rect(values, {x1: "start", x2: "end", y1: d => d.y - 0.14, y2: d => d.y + 0.14, fill: d => colour(d.kind),
          insetRight: -1, className: "step"}),
        spec.ready !== null && Plot.ruleX([spec.ready], {stroke: "var(--good)", strokeWidth: 2, className: "ready"}),
        tip(values, "x", "y"),
      ];
      return {values, plot: frame(width, {
        ...rowsOf(spec.rows.length), marks, x: {domain: spec.x.domain}, color: {type: "identity"},
      })};
    },
    coverage(spec, width) {
      let from = 0;
      const values = spec.parts.map(p => ({...p, from, to: from += p.share})).map(p => (
        {...p, x: (p.from + p.to) / 2, y: 0}));
      const marks = [
        Plot.rect(values, {x1: "from", x2: "to", y1: -1, y2: 1, fill: d => colour(d.kind), insetRight: 1,
          className: "share"}),
        tip(values, "x", "y"),
      ];
      return {values, plot: frame(width, {
        height: 28, marginTop: 2, marginBottom: 2, marginLeft: 0, marginRight: 0, marks, color: {type: "identity"},
        x: {domain: [0, 1], axis: null}, y: {domain: [-1, 1], axis: null},
      })};
    },
  };

  // Values are read out and shown by keyboard as by pointer: the pointer is led to where the value is drawn.
  const steps = (svg, values, spoken) => {
    let at = -1;
    const last = values.length - 1;
    svg.addEventListener("keydown", event => {
      const to = {ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: last}[event.key];
      if (to === undefined) return;
      event.preventDefault();
      at = Math.max(0, Math.min(last, to));
      const box = svg.getBoundingClientRect(), value = values[at];
      const [x, y] = ["x", "y"].map(name => svg.scale(name).apply(value[name]));
      svg.dispatchEvent(new PointerEvent("pointermove", {
        bubbles: true, pointerType: "mouse", clientX: box.left + x, clientY: box.top + y}));
      spoken.textContent = value.text;
    });
    svg.addEventListener("blur", () => svg.dispatchEvent(new PointerEvent("pointerleave", {pointerType: "mouse"})));
  };

  const draw = element => {
    const width = Math.floor(element.clientWidth);
    if (!width || width === element.drawn) return;
    element.drawn = width;
    const spec = JSON.parse(element.dataset.chart);
    const {plot, values} = kinds[spec.kind](spec, width);
    // A picture has one name: those that Plot gives to its parts ("dot", "rule") would not be read.
    plot.querySelectorAll("[aria-label]").forEach(part => part.removeAttribute("aria-label"));
    plot.setAttribute("role", "img");
    plot.setAttribute("tabindex", "0");
    plot.setAttribute("aria-label", `${spec.title}. ${spec.description} ${HINT}`);
    const spoken = document.createElement("output");
    spoken.className = "spoken";
    element.replaceChildren(plot, spoken);
    steps(plot, values, spoken);
  };
  // Also draws what was hidden in a closed <details>, and again when a phone is turned.
  const sizes = new ResizeObserver(entries => entries.forEach(entry => draw(entry.target)));
  document.querySelectorAll("[data-chart]").forEach(element => sizes.observe(element));
})();
