// Hours, GPU-hours, dollars, and training instead: planning/costs/ once more, for a browser.
"use strict";
const Costs = (() => {
  const { sum, round, phases, items, batches, rolesNeeded, inWholeBatches } = Workload;

  // The rate of an engine on the kind of GPU that is chosen; null if none is known.
  const rateOf = (d, c, role) => d.engines[role].rates[c.kinds[role] || ""];
  const kindsOf = (d, c, role) => c.kinds[role] ? [c.kinds[role]] : d.engines[role].accelerators;

  // Tokens of the prompts and of the texts of each phase, every text asked for once.
  function tokens(d, made) {
    return made.map((phase, number) => (phase.streams.writer || []).reduce((found, requests, stream) => {
      const [prompt, output, most] = d.tokens[number][stream];
      return {
        prompt: found.prompt + requests * prompt,
        output: found.output + requests * output,
        most_output: found.most_output + requests * most,
      };
    }, { prompt: 0, output: 0, most_output: 0 }));
  }

  function clock(d, c) {
    const made = phases(d, c), needed = rolesNeeded(d, c), written = tokens(d, made);
    const shown = role => d.shown.includes(role) ? c.records || 0 : 0;
    const viewing = d.engines[d.spaces.includes("image") ? "image_embedder" : "captioner"].batchSize;
    // Shards make their views during the first phase, in batches filled up with blanks.
    const privately = (role, index) => index ? 0 : inWholeBatches(shown(role), d.shards, viewing);

    // Seconds of one engine that does all of a role's work in a phase; null if it has work and no rate.
    function seconds(role, index) {
      const engine = d.engines[role], rate = rateOf(d, c, role), phase = made[index];
      const known = items(phase, role), unseen = privately(role, index);
      if (!known && !unseen) return 0;
      if (!rate) return null;
      if (rate.of === "tokens") return rate.each * written[index].output;
      const whole = role === "writer" ? known : batches(phase, role, engine.batchSize) * engine.batchSize;
      return rate.each * (whole + unseen);
    }

    // The least seconds of a phase with so many engines: a batch is not split, and all take equally long.
    function wall(role, index, replicas) {
      const total = seconds(role, index) || 0, count = batches(made[index], role, d.engines[role].batchSize);
      if (privately(role, index) || role === "writer" || !count) return total / replicas;
      return total * Math.ceil(count / replicas) / count;
    }

    return { made, needed, written, shown, seconds, wall };
  }

  function roleWork(d, c, time, role) {
    const engine = d.engines[role], seconds = time.made.map((_, index) => time.seconds(role, index));
    const hours = seconds.includes(null) ? null : sum(seconds) / 3600;
    return {
      role,
      items: sum(time.made.map(phase => items(phase, role))),
      units: sum(time.made.map(phase => batches(phase, role, engine.batchSize))),
      private_items: d.shown.includes(role) && !c.records ? null : time.shown(role),
      engine_h: hours,
      gpu_h: hours === null ? null : hours * engine.gpus,
    };
  }

  // The least time of a run on pools of these sizes, and what they hold meanwhile.
  function pools(d, c, time, name, sizes) {
    let wall = 0, cpu = 0;
    const gpu = Object.fromEntries(time.needed.map(role => [role, 0])), waited = { ...gpu };
    time.made.forEach((phase, index) => {
      // Roles work at the same time, except where they share cores or take turns on a GPU.
      const groups = {};
      for (const role of time.needed) {
        (groups[d.engines[role].hardware] ||= []).push([role, time.wall(role, index, sizes[role])]);
      }
      const length = group => sum(group.map(([, seconds]) => seconds));
      const slowest = Object.values(groups).reduce((most, group) => length(group) > length(most) ? group : most);
      wall += length(slowest);
      for (const [role, seconds] of slowest) waited[role] += seconds;
      for (const role of time.needed) {
        if (role !== "renderer" && phase.name === "release") continue;  // only renderers are kept for the release
        gpu[role] += length(slowest) * d.engines[role].gpus * sizes[role];
        cpu += length(slowest) * d.engines[role].cpus * sizes[role];
      }
      if (phase.name === "release") return;  // nor shards
      gpu.shard = (gpu.shard || 0) + length(slowest) * d.shard.gpus * d.shards;
      cpu += length(slowest) * d.shard.cpus * d.shards;
    });
    const most = Math.max(...Object.values(waited));
    const held = Object.fromEntries(Object.entries(gpu).filter(([, s]) => s).map(([role, s]) => [role, s / 3600]));
    return {
      name, engines: sizes, wall_h: wall / 3600, held_gpu_h: held, held_cpu_h: cpu / 3600,
      waits_for: time.needed.filter(role => waited[role] && waited[role] >= most / 2),
      ...dollars(d, c, time, held, cpu / 3600),
    };
  }

  function gpuPrice(d, c, role) {
    const kind = [...(role === "shard" ? [] : kindsOf(d, c, role)), "gpu"].find(kind => c.prices[kind] !== undefined);
    return kind === undefined ? null : c.prices[kind];
  }

  // US dollars by what they are for, and what nobody priced.
  function dollars(d, c, time, held, cpuHours) {
    const paid = {}, unpriced = [], all = time.written.reduce((a, b) => ({ prompt: a.prompt + b.prompt, output: a.output + b.output }));
    for (const [role, hours] of Object.entries(held)) {
      const each = gpuPrice(d, c, role);
      if (each === null) unpriced.push(`GPUs of the ${role}`); else paid.GPUs = (paid.GPUs || 0) + hours * each;
    }
    if (c.prices.cpu !== undefined) paid.CPUs = cpuHours * c.prices.cpu;
    for (const role of time.needed.filter(role => d.engines[role].isEndpoint)) {
      const engine = d.engines[role];
      if (role === "writer" && engine.prices) {
        const [prompt, output] = engine.prices;
        paid.tokens = (all.prompt * prompt + all.output * output) / 1e6;
      } else if (role === "writer") {
        unpriced.push("tokens (options.prices of the writer)");
      } else if (role === "renderer" && c.prices.image !== undefined) {
        paid.images = sum(time.made.map(phase => items(phase, role))) * c.prices.image;
      } else {
        unpriced.push(`calls of the ${role}'s endpoint`);
      }
    }
    return { dollars: paid, unpriced };
  }

  // What fine-tuning the renderer by DP-SGD would take. Pairs are (least, most); null: something is not known.
  function training(d, c, roles) {
    const { perS, slower, schedules: given } = d.training, engine = d.engines.renderer, rate = rateOf(d, c, "renderer");
    const schedules = given.filter(one => one.passes === null || c.records).map(one => ({
      name: one.name, examples: one.passes === null ? one.examples : round(one.passes * c.records),
    }));
    const release = rate ? c.images * rate.each / 3600 : null, gpus = engine.gpus || 1;
    const ours = sum(roles.map(work => (engine.gpus > 0 ? work.gpu_h : work.engine_h) || 0));
    const hours = perS ? schedules.map(one => slower.map(factor => one.examples / perS / 3600 * factor)) : null;
    const compares = hours && release !== null && ours > 0;
    const left = compares ? Math.max(0, ours / gpus - release) * 3600 * perS : 0;
    const price = gpuPrice(d, c, "renderer");
    return {
      schedules, hours, release_h: release, gpus: engine.gpus,
      ratios: compares ? hours.map(pair => pair.map(h => gpus * (h + release) / ours)) : null,
      even_at: compares ? [left / slower[1], left / slower[0]] : null,
      is_bound: roles.some(work => work.private_items === null || !isKnown(d, c, work)),
      dollars: hours && price && engine.gpus ? hours.map(pair => pair.map(h => h * engine.gpus * price)) : null,
    };
  }

  const isKnown = (d, c, work) => !!rateOf(d, c, work.role) || (!work.items && work.private_items === 0);

  function costs(d, c) {
    const time = clock(d, c), roles = time.needed.map(role => roleWork(d, c, time, role));
    const sizes = grown => Object.fromEntries(time.needed.map(role => {
      const { replicas, most } = c.pools[role];
      return [role, grown ? most ?? replicas : Math.max(1, replicas)];
    }));
    const least = sizes(false), most = sizes(true), grows = time.needed.some(role => least[role] !== most[role]);
    return {
      roles,
      phases: time.made,
      tokens: time.written.reduce((a, b) => Object.fromEntries(Object.keys(a).map(key => [key, a[key] + b[key]]))),
      pools: [
        pools(d, c, time, "as configured", least),
        ...(grows ? [pools(d, c, time, "fully grown", most)] : []),
      ],
      unknown: roles.filter(work => !isKnown(d, c, work)).map(work => work.role),
      training: training(d, c, roles),
    };
  }

  return { costs, rateOf, kindsOf };
})();
