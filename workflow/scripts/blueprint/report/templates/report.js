"use strict";
(() => {
  const { $, all, colour, onTheme, onFilter } = page;
  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes))
      name in made && name !== "list" ? (made[name] = value) : made.setAttribute(name, value);
    made.append(...children);
    return made;
  };
  const shared = JSON.parse($("#shared").textContent);
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]; // Okabe and Ito: safe for colour-blind readers
  const DASHES = ["solid", "dash", "dot"];
  const style = index => ({ color: COLOURS[index % COLOURS.length], dash: DASHES[Math.floor(index / COLOURS.length) % 3] });
  const shown = (value, name) => (value === null ? "–" : value.toFixed(name === "psnr" ? 1 : 3));

  const plots = new Map(); // element -> how to draw it
  onTheme.push(() => plots.forEach(draw => draw()));

  // --- Plotly, evaluated when a plot first comes into view ------------------------------------------------------------
  const plotly = () => {
    if (!window.Plotly) document.head.append(element("script", { textContent: $("#plotly").textContent }));
    return window.Plotly;
  };
  function layout(name, extra = {}) {
    const limits = shared.thresholds[name] || {};
    const lines = ["warn", "fail"].filter(verdict => verdict in limits).map(verdict => ({
      type: "line", xref: "paper", x0: 0, x1: 1, y0: limits[verdict], y1: limits[verdict],
      line: { color: colour(verdict), width: 1.2, dash: "dot" },
    }));
    const axis = { gridcolor: colour("line"), zeroline: false, linecolor: colour("line"), tickfont: { size: 11 } };
    return {
      margin: { l: 44, r: 8, t: 6, b: 34 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: colour("muted") }, hovermode: "closest",
      shapes: lines, xaxis: { ...axis, ...extra.xaxis }, yaxis: { ...axis, ...extra.yaxis },
      showlegend: Boolean(extra.legend), legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, autosize: true,
    };
  }
  const OPTIONS = { displayModeBar: false, responsive: true };

  function drawDistribution(place) {
    const name = place.dataset.metric;
    const traces = Object.entries(shared.means[name]).map(([variant, all], index) => {
      const points = all.filter(point => !left || left.has(key(point[1], variant)));
      return {
        type: "box", name: variant, y: points.map(point => point[0]), text: points.map(point => point[1]),
        boxpoints: "all", jitter: 0.5, pointpos: 0, marker: { color: style(index).color, size: 5, opacity: 0.75 },
        // Quartiles of a handful of points say less than the points.
        line: { width: points.length < 5 ? 0 : 1, color: style(index).color }, fillcolor: "rgba(0,0,0,0)",
        hovertemplate: "%{text}: %{y}<extra></extra>",
      };
    });
    plotly().react(place, traces, layout(name, { xaxis: { automargin: true } }), OPTIONS);
  }
  function beginDistribution(place) {
    if (plots.has(place)) return;
    watcher.unobserve(place);
    plots.set(place, () => drawDistribution(place));
    drawDistribution(place);
  }
  const watcher = new IntersectionObserver(
    entries => entries.filter(entry => entry.isIntersecting).forEach(entry => beginDistribution(entry.target)),
    { rootMargin: "300px" });

  // --- the filter, on everything ----------------------------------------------------------------------------------------
  const key = (place, variant) => `${place}\n${variant}`;
  let left; // the clips and variants that are left; undefined before the filter was used
  onFilter.push(rows => {
    left = new Set(rows.map(row => key(row.dataset.place, row.dataset.variant)));
    const places = new Set(rows.map(row => row.dataset.place));
    all(".first li").forEach(item => (item.hidden = !left.has(key(item.dataset.place, item.dataset.variant))));
    all("details.clip").forEach(clip => (clip.hidden = !places.has(clip.dataset.place)));
    all(".plot").filter(place => plots.has(place)).forEach(drawDistribution);
  });

  // --- one clip -----------------------------------------------------------------------------------------------------------
  function bytes(base64) {
    const text = atob(base64.trim());
    const array = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) array[i] = text.charCodeAt(i);
    return array;
  }

  class Clip {
    constructor(details) {
      this.details = details;
      const number = details.dataset.clip;
      this.data = JSON.parse($(`#data-${number}`).textContent);
      this.labels = ["render", "depth", ...Object.keys(this.data.scores)];
      this.frame = -1;
      this.painters = [];
      this.video = element("video", { muted: true, loop: true, playsInline: true, preload: "auto" });
      this.variant = this.data.start.variant;
      this.video.src = URL.createObjectURL(new Blob([bytes($(`#video-${number}`).textContent)], { type: "video/mp4" }));
      const live = $(".live", details);
      live.append(this.controls(), this.views(), element("div", { className: "two" }, this.comparison(), this.plot()));
      live.hidden = false;
      this.showWorst($(".worst", details));
      this.video.addEventListener("loadeddata", () => this.paint(this.wanted));
      // On a busy computer the callback below can miss the frame of the last of two seeks.
      this.video.addEventListener("seeked", () => this.paint(Math.floor(this.video.currentTime * this.data.fps)));
      this.video.addEventListener("play", () => (this.button.textContent = "❚❚ Pause"));
      this.video.addEventListener("pause", () => { this.button.textContent = "▶ Play"; this.addressed(); });
      const follow = (_, info) => { this.paint(Math.round(info.mediaTime * this.data.fps)); this.video.requestVideoFrameCallback(follow); };
      this.video.requestVideoFrameCallback(follow);
      this.seek(this.data.start.frame);
    }

    /** Compare with a variant, at a frame: where a link leads. */
    show(variant, frame) {
      if (variant in this.data.scores) this.choose(variant);
      this.seek(Math.min(Math.max(Number(frame) || 0, 0), this.data.frames - 1));
    }

    /** The address names clip, variant and frame, so that it can be passed on. */
    addressed() {
      if (this.video.paused) history.replaceState(null, "", `#${[this.details.id, this.variant, this.wanted].map(encodeURIComponent).join("/")}`);
    }

    /** Give back what a closed clip held: its video, its canvases, its plot. */
    release() {
      this.video.pause();
      URL.revokeObjectURL(this.video.src);
      this.video.removeAttribute("src");
      this.video.load();
      clearTimeout(this.waiting);
      const place = $(".score-plot", this.details);
      plots.delete(place);
      if (window.Plotly) plotly().purge(place);
      $(".live", this.details).replaceChildren();
      $(".worst", this.details).replaceChildren();
    }

    controls() {
      this.button = element("button", { className: "primary", textContent: "▶ Play" });
      this.button.addEventListener("click", () => (this.video.paused ? this.video.play() : this.video.pause()));
      this.slider = element("input", { type: "range", min: 0, max: this.data.frames - 1, value: 0, ariaLabel: "Frame" });
      this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
      this.counter = element("output", { className: "small muted" });
      const speed = element("select", { ariaLabel: "Speed" }, ...[1, 0.5, 0.25].map(rate => new Option(`${rate}×`, rate)));
      speed.addEventListener("change", () => (this.video.playbackRate = Number(speed.value)));
      return element("div", { className: "tools" }, this.button, this.slider, this.counter, speed);
    }

    /** Cut a view out of the video; `share` paints only that share of its width. */
    draw(context, place, share = 1) {
      const [width, height] = this.data.tile, column = place % this.data.columns, row = Math.floor(place / this.data.columns);
      const cut = Math.max(1, Math.round(width * share));
      context.drawImage(this.video, column * width, row * height, cut, height, 0, 0, cut, height);
    }

    canvas() {
      const [width, height] = this.data.tile;
      return element("canvas", { width, height, role: "img" });
    }

    views() {
      return element("div", { className: "views" }, ...this.labels.map((label, place) => {
        const canvas = this.canvas(), context = canvas.getContext("2d", { willReadFrequently: true });
        canvas.ariaLabel = `${label}, same frame as the other views`;
        this.painters.push(frame => { this.draw(context, place); canvas.dataset.frame = frame; });
        return element("figure", {}, canvas, element("figcaption", {}, element("b", { textContent: label })));
      }));
    }

    comparison() {
      const choose = (name, chosen) => element("select", { ariaLabel: name }, ...this.labels.map((label, place) => new Option(label, place, place === chosen, place === chosen)));
      const [left, right] = [choose("Left view", 0), choose("Right view", this.labels.indexOf(this.variant))];
      const canvas = this.canvas(), context = canvas.getContext("2d", { willReadFrequently: true });
      canvas.ariaLabel = "Two views of the same frame, divided at the slider";
      const divide = element("input", { type: "range", min: 0, max: 100, value: 50, ariaLabel: "Where the left view ends" });
      const names = [element("span", { className: "left" }), element("span", { className: "right" })];
      const paint = () => {
        const share = divide.value / 100, x = Math.round(canvas.width * share);
        this.draw(context, Number(right.value));
        if (x > 0) this.draw(context, Number(left.value), share);
        context.fillStyle = "#fff";
        context.fillRect(x - 1, 0, 2, canvas.height);
        [left, right].forEach((select, side) => (names[side].textContent = this.labels[select.value]));
      };
      this.painters.push(paint);
      for (const input of [left, right, divide]) input.addEventListener("input", paint);
      this.choose = variant => { this.variant = variant; right.value = this.labels.indexOf(variant); paint(); };
      right.addEventListener("input", () => {
        if (this.labels[right.value] in this.data.scores) { this.variant = this.labels[right.value]; this.addressed(); }
      });
      return element("div", {}, element("h3", { textContent: "Before and after" }),
        element("div", { className: "tools" }, left, element("span", { className: "muted", textContent: "against" }), right),
        element("div", { className: "split" }, canvas, ...names, divide),
        element("p", { className: "small muted", textContent: "Drag across the picture, or use the arrow keys." }));
    }

    plot() {
      const names = Object.keys(Object.values(this.data.scores)[0]);
      const start = names.find(name => shared.metrics[name].family === "geometry") || names[0];
      const select = element("select", { ariaLabel: "Score" }, ...names.map(name => new Option(shared.metrics[name].title, name, name === start, name === start)));
      const place = element("div", { className: "score-plot", role: "img" });
      this.drawPlot = () => {
        const name = select.value, metric = shared.metrics[name];
        place.ariaLabel = `${metric.title} of each frame`;
        const traces = Object.entries(this.data.scores).flatMap(([variant, scores], index) => {
          const values = scores[name], defined = values.filter(value => value !== null);
          const worst = metric.better === "higher" ? Math.min(...defined) : Math.max(...defined), at = values.indexOf(worst);
          const line = { name: variant, x: values.map((_, frame) => frame), y: values, mode: values.length > 1 ? "lines" : "markers", line: { ...style(index), width: 2 }, marker: { color: style(index).color } };
          const mark = { name: `worst of ${variant}`, x: [at], y: [worst], mode: "markers", marker: { symbol: "circle-open", size: 11, color: style(index).color, line: { width: 2 } }, showlegend: false };
          return defined.length ? [line, mark] : [];
        });
        const extra = { legend: true, xaxis: { title: { text: "frame" }, rangemode: "tozero" }, yaxis: { title: { text: metric.unit }, automargin: true } };
        const shape = { type: "line", yref: "paper", y0: 0, y1: 1, x0: this.frame, x1: this.frame, line: { color: colour("ink"), width: 1 } };
        const made = layout(name, extra);
        made.shapes.push(shape);
        plotly().react(place, traces, { ...made, margin: { l: 50, r: 8, t: 8, b: 40 } }, OPTIONS);
        this.cursor = made.shapes.length - 1;
      };
      this.moveCursor = () => {
        if (this.cursor === undefined || this.waiting) return;
        this.waiting = setTimeout(() => {
          this.waiting = undefined;
          plotly().relayout(place, { [`shapes[${this.cursor}].x0`]: this.frame, [`shapes[${this.cursor}].x1`]: this.frame });
        }, this.video.paused ? 0 : 120);
      };
      select.addEventListener("change", this.drawPlot);
      requestAnimationFrame(() => {
        if (!place.isConnected) return; // closed again meanwhile
        this.drawPlot();
        plots.set(place, this.drawPlot);
        place.on("plotly_click", event => this.seek(event.points[0].x));
      });
      return element("div", {}, element("h3", { textContent: "Score over time" }),
        element("div", { className: "tools" }, select, element("span", { className: "small muted", textContent: "Rings mark the worst frames; click to go there." })), place);
    }

    showWorst(place) {
      place.append(...this.data.worst.map(entry => {
        const go = element("button", { className: "triple", title: "Go to this frame" },
          ...["render", "picture", "edges"].map(view => element("img", { src: `data:image/webp;base64,${entry[view]}`, alt: { render: "render", picture: entry.variant, edges: "edges in both, lost and invented" }[view] })));
        go.addEventListener("click", () => { this.video.pause(); this.show(entry.variant, entry.frame); this.button.scrollIntoView({ block: "center" }); });
        const scores = Object.entries(entry.scores).map(([name, value]) => element("span", { className: `chip ${entry.verdicts[name] || "none"}`, textContent: `${shared.metrics[name].title} ${shown(value, name)}` }));
        return element("figure", {}, go, element("figcaption", {}, element("b", { textContent: entry.variant }), element("span", { textContent: `frame ${entry.frame}` }), ...scores));
      }));
    }

    seek(frame) {
      this.wanted = frame;
      this.video.currentTime = (frame + 0.5) / this.data.fps;
      this.label(frame);
      this.addressed();
    }

    label(frame) {
      this.slider.value = frame;
      this.counter.textContent = `${frame} / ${this.data.frames - 1}`;
    }

    paint(frame) {
      this.frame = this.wanted = Math.min(frame, this.data.frames - 1);
      this.label(this.frame);
      this.painters.forEach(paint => paint(this.frame));
      this.moveCursor();
    }
  }

  const clips = new Map();
  /** Fill an opened clip with life; `then` is told the clip when it is there. */
  function hydrate(details, then = () => {}) {
    const next = Number(details.dataset.clip) + 1;
    if (!clips.has(details) && document.readyState === "loading" && !$(`#data-${next}`)) { // a large page is still coming in
      document.addEventListener("DOMContentLoaded", () => hydrate(details, then), { once: true });
      return;
    }
    if (!clips.has(details)) clips.set(details, new Clip(details));
    then(clips.get(details));
  }
  function release(details) {
    clips.get(details)?.release();
    clips.delete(details);
  }
  /** What an address names: `#clip-<facility>-<clip>/<variant>/<frame>`, the last two if they are wanted. */
  const named = hash => {
    const [id, variant, frame] = hash.slice(1).split("/").map(decodeURIComponent);
    const target = id && document.getElementById(id);
    return target && target.matches("details.clip") ? { target, variant, frame } : null;
  };
  function go({ target, variant, frame }) {
    target.open = true;
    hydrate(target, clip => variant && clip.show(variant, frame));
    target.scrollIntoView();
  }
  const details = all("details.clip");
  details.forEach(each => each.addEventListener("toggle", () => (each.open ? hydrate(each) : release(each))));
  document.addEventListener("click", event => {
    const link = event.target.closest('a[href^="#"]'), place = link && named(link.hash);
    if (!place) return;
    event.preventDefault();
    go({ ...place, ...link.dataset });
  });
  addEventListener("hashchange", () => { const place = named(location.hash); if (place) go(place); });
  addEventListener("beforeprint", () => {
    all(".plot").forEach(beginDistribution);
    details.filter(each => ["fail", "warn"].includes(each.dataset.verdict)).forEach(each => { hydrate(each); each.open = true; });
  });

  all(".plot").forEach(place => watcher.observe(place));
  const asked = location.hash && named(location.hash);
  if (asked) go(asked);
  else {
    const first = ["fail", "warn", "pass", ""].map(verdict => details.find(each => each.dataset.verdict === verdict)).find(Boolean);
    first.open = true;
  }
  document.documentElement.dataset.ready = "yes";
  performance.mark("ready");
})();
