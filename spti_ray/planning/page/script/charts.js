// Two charts as SVG, in the page's own colours and at the width there is, so that their text stays readable on a phone.
"use strict";
const Charts = (() => {
  const HEIGHT = 210, LEFT = 46, RIGHT = 12, TOP = 14, BOTTOM = 38;
  const escape = text => String(text).replace(/[&<>"]/g, sign => `&#${sign.charCodeAt(0)};`);
  const text = (x, y, words, more = "") => `<text x="${x}" y="${y}" ${more}>${escape(words)}</text>`;
  const line = (x1, y1, x2, y2, name) => `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" class="${name}"/>`;

  // Round steps of 1, 2 or 5 up to `most`.
  function ticks(most) {
    const power = 10 ** Math.floor(Math.log10(most / 3)), step = [1, 2, 5, 10].find(step => step * power >= most / 4) * power;
    const found = [];
    for (let tick = 0; tick <= most * 1.0001; tick += step) found.push(Number(tick.toPrecision(6)));
    return found;
  }

  // Axes, and functions from values to places on them. `labels` name the places along x.
  function frame(width, most, labels, across, up) {
    const x = i => LEFT + (width - LEFT - RIGHT) * (i + 0.5) / labels.length;
    const y = value => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / most;
    const every = Math.ceil(labels.length / Math.max(2, Math.floor((width - LEFT) / 34)));
    const parts = ticks(most).map(tick =>
      line(LEFT, y(tick), width - RIGHT, y(tick), "grid") + text(LEFT - 6, y(tick) + 4, tick, 'text-anchor="end"'));
    labels.forEach((label, i) => { if (i % every === 0) parts.push(text(x(i), HEIGHT - BOTTOM + 16, label, 'text-anchor="middle"')); });
    parts.push(text((LEFT + width - RIGHT) / 2, HEIGHT - 4, across, 'text-anchor="middle" class="axis"'));
    parts.push(text(LEFT - 38, TOP - 3, up, 'class="axis"'));
    return { x, y, parts };
  }

  function show(place, width, parts, said) {
    place.innerHTML = `<svg viewBox="0 0 ${width} ${HEIGHT}" width="${width}" height="${HEIGHT}" role="img" ` +
      `aria-label="${escape(said)}">${parts.join("")}</svg>`;
  }

  const widthOf = place => Math.max(240, Math.floor(place.clientWidth));

  // What is spent after each query, and what is promised.
  function spending(place, after, promised) {
    const width = widthOf(place), { x, y, parts } = frame(
      width, promised * 1.12, after.map((_, i) => i + 1), "queries made", "epsilon spent");
    parts.push(line(LEFT, y(promised), width - RIGHT, y(promised), "goal"));
    parts.push(text(width - RIGHT, y(promised) - 5, `promised: ${promised}`, 'text-anchor="end" class="axis"'));
    parts.push(`<polyline class="curve" points="${after.map((value, i) => `${x(i)},${y(value)}`).join(" ")}"/>`);
    after.forEach((value, i) => parts.push(`<circle class="dot" cx="${x(i)}" cy="${y(value)}" r="${after.length > 30 ? 2 : 3.5}"/>`));
    show(place, width, parts, `Epsilon spent after each query, from ${after[0].toPrecision(3)} to ${after[after.length - 1].toPrecision(3)}`);
  }

  // The signal of each generation; `kinds` says what each is voted on.
  function signals(place, values, kinds, workable) {
    const width = widthOf(place), most = Math.max(...values, workable * 1.6) * 1.12;
    const { x, y, parts } = frame(width, most, values.map((_, i) => i), "generation", "votes / sigma");
    const bar = Math.min(46, (width - LEFT - RIGHT) / values.length * 0.7);
    values.forEach((value, i) => {
      const kind = value < workable ? "low" : kinds[i];
      parts.push(`<rect class="${kind}" x="${x(i) - bar / 2}" y="${y(value)}" width="${bar}" height="${y(0) - y(value)}" rx="2"/>`);
      if (bar > 22) parts.push(text(x(i), y(value) - 4, value >= 100 ? value.toFixed(0) : value.toPrecision(2), 'text-anchor="middle"'));
    });
    parts.push(line(LEFT, y(workable), width - RIGHT, y(workable), "goal"));
    show(place, width, parts, `Signal by generation: ${values.map(value => value.toPrecision(2)).join(", ")}; ${workable} is workable`);
  }

  return { spending, signals };
})();
