// The page: from its inputs to what is chosen, and from the plan to what is shown.
"use strict";
(() => {
  const d = JSON.parse(document.getElementById("planner-values").textContent);
  const at = id => document.getElementById(id), all = selector => [...document.querySelectorAll(selector)];
  const put = (id, words) => { at(id).textContent = words; };

  // --- numbers for people -----------------------------------------------------------------------------------------
  // Figures of the guarantee are never rounded down.
  const up = (value, digits = 6) => {
    const near = Number(value.toPrecision(digits)), last = 10 ** (Math.floor(Math.log10(value)) + 1 - digits);
    return String(near >= value ? near : Number((near + last).toPrecision(digits)));
  };
  const figure = value => value >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
  // A delta as people write it.
  const small = value => value && value < 1e-3 ? value.toExponential().replace("+", "") : String(value);
  const money = value => value && value < 0.01 ? "$" + Number(value.toPrecision(1)) : "$" + value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const span = (pair, form) => form(pair[0]) === form(pair[1]) ? form(pair[0]) : `${form(pair[0])} to ${form(pair[1])}`;
  function hours(value) {
    if (!value) return "0";
    const [size, unit] = [[24, "days"], [1, "h"], [1 / 60, "min"], [1 / 3600, "s"]].find(([size]) => value >= size * (size === 24 ? 3 : 1)) || [1 / 3600, "s"];
    return `${figure(value / size)} ${unit}`;
  }

  // --- sliders ----------------------------------------------------------------------------------------------------
  const STEPS = 240;
  const nice = (value, digits) => Number(value.toPrecision(digits));
  const scales = {
    // From a place on the slider to a value, and back.
    linear: (least, most) => [p => Math.round(least + p * (most - least)), v => (v - least) / (most - least || 1)],
    log: (least, most, whole) => [
      p => { const v = nice(least * (most / least) ** p, 2); return whole ? Math.round(v) : v; },
      v => Math.log(v / least) / Math.log(most / least),
    ],
    // 1, 2 or 5 times a power of ten.
    decades: (least, most) => [
      p => {
        const exact = least * (most / least) ** p, power = 10 ** Math.floor(Math.log10(exact) + 1e-9);
        const digit = [1, 2, 5, 10].reduce((a, b) => Math.abs(Math.log(b * power / exact)) < Math.abs(Math.log(a * power / exact)) ? b : a);
        return Number((digit * power).toPrecision(1));
      },
      v => Math.log(v / least) / Math.log(most / least),
    ],
    // None, or logarithmic from 2 on.
    some: (_, most) => [
      p => p < 0.02 ? 0 : Math.round(nice(2 * (most / 2) ** ((p - 0.02) / 0.98), 2)),
      v => v < 2 ? 0 : 0.02 + 0.98 * Math.log(v / 2) / Math.log(most / 2),
    ],
    cents: (least, most) => [p => nice(least + p * (most - least), 2), v => (v - least) / (most - least)],
  };
  let sliding = false;
  const controls = all(".control[data-scale]").map(box => {
    const [number, slider] = box.querySelectorAll("input"), { scale, least, most, whole } = box.dataset;
    const [toValue, toPlace] = scales[scale](Number(least), Number(most), whole === "yes");
    slider.min = 0;
    slider.max = scale === "linear" ? Math.max(1, most - least) : STEPS;
    const follow = () => {
      const value = Number(number.value);
      if (number.value === "") slider.value = 0;
      else if (Number.isFinite(value)) slider.value = Math.min(1, Math.max(0, toPlace(value))) * slider.max;
      slider.setAttribute("aria-valuetext", number.value || "not given");
    };
    slider.addEventListener("input", () => {
      number.value = small(toValue(slider.value / slider.max));
      slider.setAttribute("aria-valuetext", number.value);
      sliding = true;
      number.dispatchEvent(new Event("input", { bubbles: true }));
      sliding = false;
    });
    number.addEventListener("input", () => { if (!sliding) follow(); });
    return { number, follow, box };
  });

  // --- what is chosen ---------------------------------------------------------------------------------------------
  // A control's number; null where nothing is given and nothing need be. Says what is wrong with it by `wrong`.
  function read({ number, box }, wrong) {
    const { name, least, most, whole, optional } = box.dataset, value = Number(number.value);
    let problem = "";
    if (number.value === "") {
      if (optional === "yes" && number.validity.valid) { number.removeAttribute("aria-invalid"); return null; }
      problem = "give a number";
    } else if (!Number.isFinite(value) || value < Number(least) || value > Number(most)) problem = `${least} to ${most}`;
    else if (whole === "yes" && !Number.isInteger(value)) problem = "a whole number";
    number.toggleAttribute("aria-invalid", false);
    if (problem) { number.setAttribute("aria-invalid", "true"); wrong.push(`${name}: ${problem}`); }
    return value;
  }

  function themesOf(count, levels) {
    if (d.vocabulary) return d.chosen.themes;
    const was = d.chosen.themes;
    // Further levels keep their proportion to the first.
    const share = i => was.length ? was[Math.min(i, was.length - 1)] / was[0] : 1;
    return count ? Array.from({ length: levels }, (_, i) => i ? Math.max(2, Math.round(count * share(i))) : count) : [];
  }

  function choose(wrong) {
    const of = Object.fromEntries(controls.map(control => [control.number.id, read(control, wrong)]));
    const pools = {}, kinds = {}, prices = {};
    for (const role of Object.keys(d.engines)) {
      pools[role] = { replicas: of[`replicas-${role}`], most: at(`most-${role}`) ? of[`most-${role}`] : null };
      kinds[role] = at(`kind-${role}`)?.value || null;
    }
    for (const input of all("[data-price]")) if (of[input.id] !== null) prices[input.dataset.price] = of[input.id];
    return {
      epsilon: of.epsilon, delta: of.delta, votes: of.votes, candidates: of.candidates, generations: of.generations,
      themes: themesOf(of.themes, of.levels), images: of.images, records: of.records, pools, kinds, prices,
    };
  }

  function fill(c) {
    const values = {
      epsilon: c.epsilon, delta: c.delta, votes: c.votes, candidates: c.candidates, generations: c.generations,
      themes: c.themes[0] || 0, levels: c.themes.length || 1, images: c.images, records: c.records,
    };
    for (const [role, { replicas, most }] of Object.entries(c.pools)) {
      values[`replicas-${role}`] = replicas;
      values[`most-${role}`] = most;
      if (at(`kind-${role}`)) at(`kind-${role}`).value = c.kinds[role] || "";
    }
    for (const { number, follow } of controls) {
      const value = number.dataset.price ? c.prices[number.dataset.price] : values[number.id];
      number.value = typeof value === "number" ? small(value) : "";
      follow();
    }
    update();
  }

  // Pools never grow to fewer than they start with; who takes turns on a GPU has as many, of one kind.
  function keepTogether(input) {
    const [what, role] = [input.id.split("-")[0], input.id.slice(input.id.indexOf("-") + 1)];
    const set = (id, value) => {
      if (at(id) && at(id).value !== value) { at(id).value = value; controls.find(one => one.number === at(id))?.follow(); }
    };
    if (["replicas", "kind"].includes(what) && d.turns.includes(role)) d.turns.forEach(other => set(`${what}-${other}`, input.value));
    for (const one of Object.keys(d.engines)) {
      const replicas = at(`replicas-${one}`), most = at(`most-${one}`);
      if (!replicas || !most || Number(replicas.value) <= Number(most.value)) continue;
      if (input === most) set(`replicas-${one}`, most.value); else set(`most-${one}`, replicas.value);
    }
  }

  // --- what is shown ----------------------------------------------------------------------------------------------
  function showPrivacy(c, plan) {
    put("sigma", up(plan.sigma));
    put("promise", `For every single ${d.unit}, ε = ${c.epsilon} at δ = ${small(c.delta)}: whoever tries to tell whether it was used has an ` +
      `advantage of at most ${up(100 * plan.attacker_advantage, 3)} % over guessing.`);
    put("replace-one", up(plan.replace_one_epsilon));
    put("advantage", `${up(100 * plan.attacker_advantage, 3)} %`);
    put("queries", plan.epsilon_after.length + (d.spareSlots ? ` (${d.spareSlots} spare)` : ""));
    Charts.spending(at("spending"), plan.epsilon_after, c.epsilon);
  }

  function showSignal(c, plan) {
    const given = !!plan.signal, first = given ? plan.signal[d.first] : null;
    put("signal", given ? figure(first) : "–");
    at("signal-chart").hidden = at("signal-facts").hidden = !given;
    put("signal-words", given
      ? `${figure(plan.votes_per_candidate)} votes for an average ${plan.voted_on} in the first vote, ${figure(first)} times the noise: ` +
        (first >= d.workable ? "workable." : first >= d.drowned ? "weak, mostly luck." : "drowned in the noise.")
      : `Votes for an average ${plan.voted_on} reach ${d.workable} sigma from about ${plan.private_records_for_signal.toLocaleString("en")} ` +
        `${d.unit}s on. Give the number of private ${d.unit}s that you would say in public to see more.`);
    if (!given) return;
    put("gain", `${Math.round(100 * plan.gain_kept)} %`);
    put("popular", `${Math.round(100 * plan.popular_survives)} %`);
    put("needed", plan.private_records_for_signal.toLocaleString("en"));
    const kinds = plan.signal.map((_, number) => number >= d.first && Workload.numThemes(d, c, number) ? "themes" : "candidates");
    Charts.signals(at("signal-chart"), plan.signal, kinds, d.workable);
  }

  const cell = (row, words, name = "") => { const made = row.insertCell(); made.textContent = words; made.className = name; return made; };

  function showWork(c, plan) {
    const { roles, pools, tokens, unknown } = plan.costs, longest = Math.max(...roles.map(work => work.engine_h || 0));
    const about = unknown.length || roles.some(work => work.private_items === null) ? "≥ " : "";
    const gpu = Workload.sum(roles.map(work => work.gpu_h || 0));
    put("wall", about + hours(pools[0].wall_h));
    put("gpu-hours", gpu ? about + figure(gpu) : unknown.some(role => d.engines[role].gpus) ? "unknown" : "0");
    const body = at("roles");
    body.replaceChildren();
    for (const work of roles) {
      const row = body.insertRow();
      cell(row, work.role.replace("_", " "));
      cell(row, (work.items + (work.private_items || 0)).toLocaleString("en") + (work.private_items === null ? " + ?" : ""), "num");
      const time = cell(row, work.engine_h === null ? "no rate known" : hours(work.engine_h), "num");
      cell(row, work.gpu_h === null ? "unknown" : figure(work.gpu_h), "num");
      if (!work.engine_h) continue;
      const bar = time.appendChild(document.createElement("span"));
      bar.className = "bar";
      bar.style.width = `${100 * work.engine_h / longest}%`;
    }
    const words = pools.map(pool => `At least ${hours(pool.wall_h)} ${pool.name} (${plan.costs.roles.map(({ role }) =>
      `${pool.engines[role]} ${role.replace("_", " ")}`).join(", ")})` +
      (pool.waits_for.length ? `, waiting for the ${pool.waits_for.map(role => role.replace("_", " ")).join(" and ")}.` : "."));
    put("wall-words", words.join(" "));
    put("made", `${plan.texts_to_write.toLocaleString("en")} texts (${figure(tokens.output)} tokens), ` +
      `${plan.candidate_renders.toLocaleString("en")} renders of candidates, ${c.images.toLocaleString("en")} images in the release.`);
    for (const role of Object.keys(d.engines)) {
      const rate = Costs.rateOf(d, c, role), unit = rate?.of === "tokens" ? "tokens" : "items";
      const other = rate && c.kinds[role] && rate.hardware !== c.kinds[role] ? `; none is known on ${c.kinds[role]}` : "";
      put(`rate-${role}`, rate ? `${figure(1 / rate.each)} ${unit}/s, measured on ${rate.hardware}${other}` : "no rate is known: its hours are left out");
      at(`engine-${role}`).hidden = !roles.some(work => work.role === role);
    }
  }

  function showDollars(plan) {
    const body = at("dollar-rows"), missing = new Set();
    body.replaceChildren();
    for (const pool of plan.costs.pools) {
      pool.unpriced.forEach(what => missing.add(what));
      const total = Workload.sum(Object.values(pool.dollars)), row = body.insertRow();
      cell(row, pool.name);
      const held = Workload.sum(Object.values(pool.held_gpu_h));
      cell(row, figure(held), "num");
      cell(row, figure(pool.held_cpu_h), "num");
      cell(row, Object.keys(pool.dollars).length ? money(total) : "–", "num");
      cell(row, Object.entries(pool.dollars).map(([what, amount]) => `${what} ${money(amount)}`).join(", "));
    }
    const first = plan.costs.pools[0].dollars;
    put("dollars", Object.keys(first).length ? "≥ " + money(Workload.sum(Object.values(first))) : "–");
    put("unpriced", missing.size ? `Without a price, and left out: ${[...missing].join(", ")}.` : "");
  }

  function showTraining(c, plan) {
    const { schedules, hours: taken, dollars, ratios, even_at: even, is_bound: bound } = plan.costs.training, body = at("schedules");
    body.replaceChildren();
    schedules.forEach((schedule, i) => {
      const row = body.insertRow();
      cell(row, schedule.name);
      cell(row, schedule.examples.toLocaleString("en"), "num");
      cell(row, taken ? span(taken[i], hours) + (dollars ? `, ${span(dollars[i], money)}` : "") : "no rate known", "num");
      cell(row, ratios ? `${bound ? "≤ " : ""}${span(ratios[i], figure)}` : "unknown", "num");
    });
    put("even", even ? `This run is less work than any training of more than ${bound ? "(at least) " : ""}${span(even, figure)} examples` +
      (c.records ? `, ${span(even.map(count => count / c.records), figure)} passes over the ${d.unit}s.` : ".") : "");
  }

  function showWarnings(lines) {
    const list = at("warnings");
    list.replaceChildren(...lines.map(words => Object.assign(document.createElement("li"), { textContent: words })));
    list.hidden = !lines.length;
  }

  let drawn = null;
  function update() {
    const wrong = [], c = choose(wrong), plan = wrong.length ? { problem: wrong.join("; ") } : Planner.plan(d, c);
    drawn = { c, plan };
    put("problem", plan.problem ? `These settings can't be run. ${plan.problem}.` : "");
    document.body.classList.toggle("stale", !!plan.problem);
    at("sets").textContent = plan.problem ? "" : plan.sets.join(" \\\n") || "# nothing is changed";
    at("command").textContent = plan.problem ? "" : plan.command;
    showWarnings(plan.warnings || []);
    if (plan.problem) return;
    showPrivacy(c, plan);
    showSignal(c, plan);
    showWork(c, plan);
    showDollars(plan);
    showTraining(c, plan);
  }

  async function copy(button) {
    const from = at(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(from.textContent);
    } catch {
      // Where a file may not write to the clipboard, what is to be copied is selected.
      getSelection().selectAllChildren(from);
      if (!document.execCommand("copy")) { button.textContent = "Selected: press Ctrl+C"; return; }
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  document.addEventListener("input", event => {
    if (event.target.type === "range") return;  // its number has said so already
    keepTogether(event.target);
    update();
  });
  at("choices").addEventListener("submit", event => event.preventDefault());
  all("[data-copy]").forEach(button => button.addEventListener("click", () => copy(button)));
  at("reset").addEventListener("click", () => fill(structuredClone(d.chosen)));
  addEventListener("resize", () => { if (!drawn.plan.problem) { showPrivacy(drawn.c, drawn.plan); showSignal(drawn.c, drawn.plan); } });
  // For tests, and for whoever looks in the console.
  window.spti = { values: d, now: () => drawn };
  fill(structuredClone(d.chosen));
})();
