// What a run makes, and whether its settings fit together: planning/workload.py and config/ once more, for a browser.
//
// `d` is what the planner wrote into the page (planning/page/values.py), `c` what is chosen on it.
"use strict";
const Workload = (() => {
  const sum = numbers => numbers.reduce((total, number) => total + number, 0);

  // As Python rounds: a half to the even neighbour.
  function round(value) {
    const low = Math.floor(value), rest = value - low;
    return rest > 0.5 || (rest === 0.5 && low % 2) ? low + 1 : low;
  }

  function splitByShare(total, shares) {
    const weight = sum(shares), exact = shares.map(share => total * share / weight), counts = exact.map(Math.trunc);
    const order = shares.map((_, i) => i).sort((a, b) => (counts[a] - exact[a]) - (counts[b] - exact[b]) || a - b);
    for (const i of order.slice(0, total - sum(counts))) counts[i] += 1;
    return counts;
  }

  const quota = (d, total) => splitByShare(total, d.shares);
  const survivorsOf = (d, c) => quota(d, c.candidates).map(count => Math.min(count, Math.max(1, round(count * d.survivors))));
  const numThemes = (d, c, generation) => c.themes[generation - d.first] || 0;

  function themesPerLabel(d, c, generation) {
    const number = numThemes(d, c, generation);
    if (d.vocabulary && generation === d.first) return d.shares.map(() => Math.floor(number / d.shares.length));
    return quota(d, number).map(count => Math.max(1, count));
  }

  // How many labels, themes or candidates a generation asks about.
  const asked = (d, c, generation) => generation < d.first ? d.shares.length : numThemes(d, c, generation) || c.candidates;

  // The first rule of the configuration that the settings break, in words; empty if they can be run.
  function problem(d, c) {
    const perLabel = quota(d, c.candidates), fewest = Math.min(...perLabel);
    const label = i => d.labels.length ? ` of label ${d.labels[i]}` : "";
    if (fewest < c.votes) {
      return `${c.votes} votes a ${d.unit}, but only ${fewest} candidates${label(perLabel.indexOf(fewest))}`;
    }
    for (let level = 0; level < c.themes.length; level++) {
      const themes = themesPerLabel(d, c, d.first + level);
      for (let i = 0; i < themes.length; i++) {
        if (c.themes[level] < 2 || themes[i] < c.votes || themes[i] >= perLabel[i]) {
          return `${c.themes[level]} themes give ${themes[i]}${label(i)}: at least ${c.votes} (the votes), and fewer than ` +
            `its ${perLabel[i]} candidates`;
        }
      }
    }
    if (d.asks && c.generations < 2) return "the first generation only asks for the labels' shares: at least 2";
    if (c.themes.length > c.generations - d.first) {
      return `${c.themes.length} generations are voted on in themes, but only ${c.generations - d.first} have candidates`;
    }
    if (d.asks && c.votes > d.labels.length) {
      return `${c.votes} votes a ${d.unit}, but the first generation asks about ${d.labels.length} labels`;
    }
    return "";
  }

  const holdsSubjects = (d, c) => d.holdSubject && (d.labels.length > 1 || c.themes.length > 0);
  const rolesNeeded = (d, c) =>
    holdsSubjects(d, c) && !d.roles.includes("text_embedder") ? [...d.roles, "text_embedder"] : d.roles;

  function compared(d, c, generation, fresh) {
    if (!holdsSubjects(d, c)) return [];
    const labels = d.labels.length && generation === d.first ? [d.labels.length] : [];
    return [...labels, ...(c.themes.length && generation > d.first ? [c.candidates] : []), fresh];
  }

  function addTexts(streams, more) {
    if (more.length) streams.text_embedder = [...(streams.text_embedder || []), ...more];
  }

  function generation(d, c, number) {
    const fresh = c.candidates - (d.keepSurvivors && number > d.first ? sum(survivorsOf(d, c)) : 0);
    const variations = d.lookahead ? [fresh * d.lookahead] : [], shown = d.lookahead ? variations : [fresh];
    const streams = { [d.images ? "renderer" : "writer"]: [fresh, ...variations] };
    if (d.spaces.includes("image")) {
      streams.renderer = streams.renderer || shown;
      streams.image_embedder = shown;
    }
    if (d.spaces.includes("text")) streams.text_embedder = shown;
    addTexts(streams, compared(d, c, number, fresh));
    return { name: `generation ${number}`, streams };
  }

  function ofLabels(d) {
    const labels = [d.labels.length], streams = {};
    if (d.spaces.includes("image")) streams.renderer = streams.image_embedder = labels;
    if (d.spaces.includes("text")) streams.text_embedder = labels;
    return { name: "generation 0", streams };
  }

  function releasedTexts(d, c) {
    const survivors = survivorsOf(d, c);
    return sum(quota(d, c.images).map((images, i) => Math.min(survivors[i], Math.ceil(images / d.imagesPerText))));
  }

  function release(d, c) {
    const texts = releasedTexts(d, c), streams = {};
    let reused = 0;
    if (d.releaseTexts === "varied") {
      if (!d.images) streams.writer = [texts];
      addTexts(streams, compared(d, c, c.generations, texts));
    } else if (d.spaces.includes("image") && (d.images || !d.lookahead)) {
      reused = texts;  // the voted render of each text is released as it is
    }
    streams.renderer = [c.images - reused];
    return { name: "release", streams };
  }

  // The generations in order, then the release: by role, the items of each stream through its engines.
  function phases(d, c) {
    const numbers = Array.from({ length: c.generations }, (_, number) => number);
    return [...numbers.map(number => number < d.first ? ofLabels(d) : generation(d, c, number)), release(d, c)];
  }

  const items = (phase, role) => sum(phase.streams[role] || []);
  const batches = (phase, role, size) => sum((phase.streams[role] || []).map(count => Math.ceil(count / size)));

  // Items that engines work on if they lie evenly in the shards: each fills its last batch up with blanks.
  function inWholeBatches(count, shards, size) {
    const each = Math.floor(count / shards), more = count % shards;
    return (Math.ceil(each / size) * (shards - more) + Math.ceil((each + 1) / size) * more) * size;
  }

  return { sum, round, quota, problem, asked, numThemes, phases, items, batches, rolesNeeded, inWholeBatches };
})();
