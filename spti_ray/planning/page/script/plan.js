// A whole plan from what is chosen on the page, with the names of `spti plan --json`. Pure: it knows nothing of the page.
"use strict";
const Planner = (() => {
  // What noise leaves of the first vote: between two values that the planner computed (planning/vote_model.py).
  function vote(d, c, signal) {
    const { signals, themes, candidates } = d.voteModel, table = Workload.numThemes(d, c, d.first) ? themes : candidates;
    const at = Math.min(signals[signals.length - 1], Math.max(signals[0], signal));
    const i = Math.max(1, signals.findIndex(known => known >= at));
    const share = Math.log(at / signals[i - 1]) / Math.log(signals[i] / signals[i - 1]);
    const [gain, popular] = table[i].map((value, of) => (1 - share) * table[i - 1][of] + share * value);
    return { gain_kept: gain, popular_survives: popular };
  }

  // Of labels, themes and candidates, how many there are for each vote of a record, by generation. Of labels it has one.
  const perVote = (d, c) => Array.from({ length: c.generations }, (_, number) =>
    Workload.asked(d, c, number) / (number < d.first ? 1 : c.votes));

  function privacy(d, c) {
    const slots = c.generations + d.spareSlots, sigma = Privacy.calibrate(c.epsilon, c.delta, c.votes, slots);
    if (sigma === null) return { problem: "no noise can be certified for this: a larger epsilon or delta, or fewer generations or votes" };
    const spent = queries => Privacy.epsilonOf(sigma, c.votes * queries, c.delta);
    return {
      sigma,
      achieved_epsilon: Math.min(c.epsilon, spent(slots)),
      replace_one_epsilon: spent(2 * slots),
      attacker_advantage: Privacy.advantageOf(sigma, c.votes * slots),
      epsilon_after: Array.from({ length: slots }, (_, query) => Math.min(c.epsilon, spent(query + 1))),
    };
  }

  function signal(d, c, sigma) {
    const counts = perVote(d, c), voted = Workload.numThemes(d, c, d.first) ? "theme" : "candidate";
    const found = { voted_on: voted, private_records_for_signal: Workload.round(d.workable * counts[d.first] * sigma) };
    if (!c.records) return found;
    const by = counts.map(count => c.records / count / sigma);
    return { ...found, signal: by, votes_per_candidate: c.records / counts[d.first], ...vote(d, c, by[d.first]) };
  }

  function warnings(d, c, found) {
    const lines = [];
    if (c.records && c.delta * c.records >= 1) {
      lines.push(`delta ${c.delta} is not below 1 / ${c.records}: at such a delta a mechanism may publish whole ` +
        `${d.unit}s; set it well below ${(1 / c.records).toPrecision(2)}`);
    }
    if (d.lifetime && c.epsilon > d.lifetime) {
      lines.push(`epsilon ${c.epsilon} is more than the dataset's lifetime epsilon ${d.lifetime}: the run will be ` +
        "refused, unless the dataset was registered at a larger delta");
    }
    const first = found.signal ? found.signal[d.first] : Infinity;
    if (first < d.drowned) {
      const fits = Math.floor(c.records * c.votes / (d.workable * found.sigma));
      const what = fits >= Math.max(2, c.votes) * d.shares.length
        ? `at most ${fits} candidates or themes at a time would not be`
        : "no number of candidates or themes would not be: fewer generations, a larger epsilon or more records would";
      lines.push(`the votes would drown in the noise, even of the first generation (${first.toFixed(2)} of sigma, under ` +
        `${d.drowned}); ${what}`);
    }
    return lines;
  }

  // Settings that differ from the configuration's, as `a.b=value` in YAML.
  function changed(d, c) {
    const was = d.chosen, list = [];
    const add = (name, value, before) => {
      if (String(value) !== String(before)) list.push(`${name}=${Array.isArray(value) ? `[${value}]` : value}`);
    };
    add("privacy.epsilon", c.epsilon, was.epsilon);
    add("privacy.delta", c.delta, was.delta);
    add("privacy.votes_per_record", c.votes, was.votes);
    add("evolution.generations", c.generations, was.generations);
    add("evolution.candidates", c.candidates, was.candidates);
    add("evolution.themes", c.themes, was.themes);
    add("release.images", c.images, was.images);
    for (const role of Object.keys(c.pools)) {
      const engine = `runtime.engines.${role}`;
      add(`${engine}.replicas`, c.pools[role].replicas, was.pools[role].replicas);
      add(`${engine}.max_replicas`, c.pools[role].most, was.pools[role].most);
      if (c.kinds[role]) add(`${engine}.accelerators`, [c.kinds[role]], d.engines[role].accelerators);
    }
    return list;
  }

  const quoted = word => /^[\w.,:\/=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
  const setLines = (d, c) => changed(d, c).map(setting => `--set ${quoted(setting)}`);

  // The command by which the planner says the same.
  function command(d, c) {
    const words = [...d.command, "--costs"];
    if (c.records) words.push("--private-records", c.records);
    for (const [what, price] of Object.entries(c.prices)) words.push("--price", `${what}=${price}`);
    for (const setting of changed(d, c)) words.push("--set", setting);
    return words.map(word => quoted(String(word))).join(" ");
  }

  function plan(d, c) {
    const problem = Workload.problem(d, c);
    const found = problem ? { problem } : privacy(d, c);
    if (found.problem) return found;
    Object.assign(found, signal(d, c, found.sigma), { costs: Costs.costs(d, c) });
    const made = found.costs.phases, voted = made.slice(0, -1);
    return {
      ...found,
      texts_to_write: Workload.sum(made.map(phase => Workload.items(phase, "writer"))),
      candidate_renders: Workload.sum(voted.map(phase => Workload.items(phase, "renderer"))),
      warnings: warnings(d, c, found),
      sets: setLines(d, c),
      command: command(d, c),
    };
  }

  return { plan };
})();
