"use strict";
// Computes and draws the figures of a chosen agent, model and time, from the data in the page.
// Names in it are other people's text: they become text nodes and attributes, never markup.

const data = JSON.parse(document.getElementById("data").textContent);
const NONE = "–", MOST = 12;

// Formats, as in texts.py.

function fixed(number, digits) {
  // Python rounds a half to the even digit, toFixed up.
  const half = number * 2 ** (digits + 1), size = 10 ** digits, low = Math.floor(number * size);
  if (!Number.isInteger(half) || half % 2 === 0) return number.toFixed(digits);
  return ((low % 2 ? low + 1 : low) / size).toFixed(digits);
}

function grouped(digits) {
  const [whole, rest] = digits.split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (rest ? "." + rest : "");
}

function count(number) { return number === null ? NONE : grouped(fixed(number, 0)); }

function stripped(digits) { return digits.includes(".") ? digits.replace(/\.?0+$/, "") : digits; }

function rough(number) {
  if (number === null) return NONE;
  if (number >= 999.5e9) return count(number / 1e9) + " B";
  for (const [unit, size, least] of [["B", 1e9, 999.5e6], ["M", 1e6, 999.5e3], ["k", 1e3, 1e4]]) {
    const part = number / size;
    if (number >= least) return stripped(fixed(part, part >= 100 ? 0 : part >= 10 ? 1 : 2)) + " " + unit;
  }
  return count(number);
}

function seconds(time) {
  if (time === null) return NONE;
  if (time < 0.0005) return time > 0 ? "<1 ms" : "<1 s";
  if (time < 0.0995) return fixed(time * 1000, 0) + " ms";
  if (time < 9.95 && !Number.isInteger(time)) return fixed(time, 1) + " s";
  const whole = Number(fixed(time, 0));
  for (const [one, other, size, per] of [["d", "h", 3600, 24], ["h", "min", 60, 60], ["min", "s", 1, 60]]) {
    const units = Math.floor(whole / size);
    if (units >= per) return `${Math.floor(units / per)} ${one} ${units % per} ${other}`;
  }
  return whole + " s";
}

function dollars(amount) {
  if (amount === null) return NONE;
  if (amount > 0 && amount < 0.01) {
    return amount < 0.0001 ? "<$0.0001" : "$" + stripped(fixed(amount, amount < 0.001 ? 5 : 4));
  }
  return "$" + grouped(fixed(amount, 2));
}

function share(part) { return part === null ? NONE : part ? fixed(part * 100, 1) + "%" : "0%"; }

// Sums and quantiles; of no value they are null, as in SQL.

function total(rows, at) {
  return rows.reduce((sum, row) => row[at] === null ? sum : (sum ?? 0) + row[at], null);
}

function quantile(values, part) {
  if (!values.length) return null;
  const sorted = [...values].sort((one, other) => one - other), at = (values.length - 1) * part;
  const low = sorted[Math.floor(at)], high = sorted[Math.ceil(at)];
  return Number((low + (high - low) * (at - Math.floor(at))).toFixed(6));
}

function all(rows, at) { return rows.flatMap(row => row[at]); }

function ratio(part, whole) { return whole ? part / whole : null; }

function grouping(rows, at) {
  const groups = new Map();
  for (const row of rows) {
    if (!groups.has(row[at])) groups.set(row[at], []);
    groups.get(row[at]).push(row);
  }
  return groups;
}

// What is chosen.

const select = Object.fromEntries(["agent", "model", "from", "to"].map(
  name => [name, document.getElementById("choose-" + name)]));

function choice() {
  const number = name => select[name].value === "" ? null : Number(select[name].value);
  return { agent: number("agent"), model: number("model"), from: number("from"), to: number("to") };
}

function within(table, { agent, from, to }) {
  return data[table].filter(row =>
    row[0] >= from && row[0] <= to && (agent === null || row[1] === agent));
}

function found(chosen) {
  const steps = within("steps", chosen).filter(row => chosen.model === null || row[2] === chosen.model);
  const [messages, turns, calls] = chosen.model === null
    ? ["messages", "turns", "calls"].map(table => within(table, chosen)) : [[], [], []];
  return { messages, turns, calls, steps };
}

// What is shown.

function element(tag, attributes, ...children) {
  const made = tag === "svg" || tag === "rect" || tag === "title"
    ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function figures({ messages, turns, calls, steps }, { model }) {
  const asked = new Set(messages.filter(row => row[3]).map(row => row[1])).size;
  const others = new Set(messages.map(row => row[1])).size - asked;
  const outside = new Set(messages.filter(row => row[4]).map(row => row[1])).size;
  const among = new Set(messages.flatMap(row => row[5].map(one => row[1] + " " + one))).size;
  const errors = total(calls, 4) ?? 0, made = total(calls, 3) ?? 0;
  const latencies = all(turns, 3);
  const positive = total(steps, 11) ?? 0, judged = positive + (total(steps, 12) ?? 0);
  const unpriced = total(steps, 10);
  const shown = [
    ["Agents", rough(asked), others ? count(others) + " more without people's messages" : ""],
    ["Conversations", rough(among), outside ? "agents that also talked outside of any: " + count(outside) : ""],
    ["Messages", rough(total(messages, 2) ?? 0), ""],
    ["Turns", rough(total(turns, 2) ?? 0), ""],
    ["Median latency", seconds(quantile(latencies, 0.5)), "of a turn"],
    ["95th percentile", seconds(quantile(latencies, 0.95)), "of latency"],
    ["Tool calls", rough(made), ""],
    ["Tool errors", share(ratio(errors, made - (total(calls, 5) ?? 0))), count(errors) + " calls"],
    ["Steps", rough(total(steps, 3) ?? 0), ""],
    ["Tokens", rough(total(steps, 8)), ""],
    ["Cost", dollars(total(steps, 9)), unpriced ? count(unpriced) + " steps have no price" : ""],
    ["Feedback", share(ratio(positive, judged)), `positive, of ${count(judged)} steps with feedback`],
  ];
  return element("dl", { class: "figures" }, ...shown
    .filter(([name], at) => name === "Feedback" ? judged : name === "Steps" ? model !== null : model === null || at > 8)
    .map(([name, value, note]) => element("div", {},
      element("dt", {}, name), element("dd", { class: "value" }, value),
      ...(note ? [element("dd", { class: "note" }, note)] : []))));
}

function bars(title, chosen, rows, value, format) {
  const groups = grouping(rows, 0), days = data.days.slice(chosen.from, chosen.to + 1);
  const values = days.map((_, at) => value(groups.get(chosen.from + at) ?? []));
  const most = Math.max(...values.map(one => one ?? 0));
  if (!most) return null;
  const drawn = element("svg", { viewBox: `0 0 ${values.length} 100`, preserveAspectRatio: "none" });
  drawn.append(...values.map((one, at) => {
    const height = 100 * (one ?? 0) / most;
    const tip = `${days[at][0]}: ${format(one)}`;
    return element("rect", { x: at + 0.04, y: 100 - height, width: 0.92, height, fill: "var(--c1)" },
      element("title", {}, tip));
  }));
  const label = `${title}. At most ${format(most)}.`;
  return element("figure", { class: "chart bars" }, element("figcaption", {}, title),
    element("div", { role: "img", "aria-label": label },
      element("div", { class: "ends" }, element("span", {}, format(most))), drawn,
      element("div", { class: "ends" }, element("span", {}, days[0][0]), element("span", {}, days.at(-1)[1]))));
}

function charts({ messages, turns, steps }, chosen) {
  return [
    bars(`Messages a ${data.step}`, chosen, messages, rows => total(rows, 2), count),
    bars(`Turns a ${data.step}`, chosen, turns, rows => total(rows, 2), count),
    bars(`Median latency by ${data.step}`, chosen, turns, rows => quantile(all(rows, 3), 0.5), seconds),
    bars(`Tokens a ${data.step}`, chosen, steps, rows => total(rows, 8), count),
    bars(`Cost a ${data.step}`, chosen, steps, rows => total(rows, 9), dollars),
  ].filter(chart => chart);
}

function table(what, names, columns, groups, order) {
  // Nulls last, then as named: the order of facts.py. A row for all beyond the first.
  const ranked = [...groups.entries()].sort(([one, rows], [other, others]) => {
    for (const by of order) {
      const [left, right] = [by(rows) ?? -1, by(others) ?? -1];
      if (left !== right) return right - left;
    }
    return (one ?? Infinity) - (other ?? Infinity);
  });
  const shown = ranked.slice(0, MOST).map(([at, rows]) => [at === null ? `(${what} without a name)` : names[at], rows]);
  const rest = ranked.slice(MOST);
  if (rest.length) shown.push([`${count(rest.length)} other ${what}s`, rest.flatMap(([, rows]) => rows)]);
  if (!shown.length) return element("p", { class: "empty" }, `No ${what} in this choice.`);
  const head = columns.map(([title]) => element("th", { scope: "col" }, title));
  const label = what[0].toUpperCase() + what.slice(1);
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label + "s" },
    element("table", {}, element("thead", {}, element("tr", {}, element("th", { scope: "col" }, label), ...head)),
      element("tbody", {}, ...shown.map(([name, rows]) => element("tr", {},
        element("th", { scope: "row" }, name), ...columns.map(([, value, isBad]) =>
          element("td", isBad?.(rows) ? { class: "bad" } : {}, value(rows))))))));
}

const spending = [
  ["Input tokens", 4], ["Of them cached", 5], ["Output tokens", 6], ["Of them reasoning", 7],
];

function failing(rows) { return ratio(total(rows, 4), total(rows, 3) - total(rows, 5)); }

function tools({ calls }) {
  return table("tool", data.tools, [
    ["Calls", rows => count(total(rows, 3))],
    ["Errors", rows => count(total(rows, 4))],
    ["Error rate", rows => share(failing(rows)), rows => failing(rows) >= 0.1],
    ["Never returned", rows => count(total(rows, 5))],
    ["Denied", rows => count(total(rows, 6))],
    ["Median time", rows => seconds(quantile(all(rows, 7), 0.5))],
    ["95th percentile", rows => seconds(quantile(all(rows, 7), 0.95))],
    ["Time in all", rows => {
      const times = all(rows, 7);
      const sum = Number(times.reduce((one, other) => one + other, 0).toFixed(3));
      return times.length && sum === 0 ? "0 s" : seconds(times.length ? sum : null);
    }],
  ], grouping(calls, 2), [rows => total(rows, 3)]);
}

function agents({ messages, turns, steps }, { model }) {
  // Rows of three tables in one group: each is told by where it comes from.
  const groups = new Map();
  const add = (rows, kind) => rows.forEach(row => {
    const group = groups.get(row[1]) ?? { messages: [], turns: [], steps: [] };
    group[kind].push(row);
    groups.set(row[1], group);
  });
  add(messages, "messages"), add(turns, "turns"), add(steps, "steps");
  const of = (rows, kind) => [rows].flat().flatMap(group => group[kind]);
  return table("agent", data.agents, [
    ...(model === null ? [
      ["Messages", rows => count(total(of(rows, "messages"), 2) ?? 0)],
      ["Turns", rows => count(total(of(rows, "turns"), 2) ?? 0)],
    ] : []),
    ...spending.map(([title, at]) => [title, rows => count(total(of(rows, "steps"), at))]),
    ["Cost", rows => dollars(total(of(rows, "steps"), 9))],
  ], groups, [
    rows => total(of(rows, "steps"), 9), rows => total(of(rows, "steps"), 8), rows => total(of(rows, "messages"), 2),
  ]);
}

function models({ steps }) {
  return table("model", data.models, [
    ["Steps", rows => count(total(rows, 3))],
    ...spending.map(([title, at]) => [title, rows => count(total(rows, at))]),
    ["Cost", rows => total(rows, 10) ? "no price" : dollars(total(rows, 9))],
  ], grouping(steps, 2), [rows => total(rows, 9), rows => total(rows, 8)]);
}

const NOT_BY_MODEL = "Counted by agent and time only: choose all models to see it.";
const parts = {
  headline: (of, chosen) => [figures(of, chosen)],
  activity: (of, chosen) => [element("div", { class: "charts" }, ...charts(of, chosen))],
  tools: (of, chosen) => [chosen.model === null ? tools(of) : element("p", { class: "empty" }, NOT_BY_MODEL)],
  agents: (of, chosen) => [agents(of, chosen)],
  models: of => [models(of)],
};

function show() {
  const chosen = choice(), of = found(chosen), last = data.days.length - 1;
  const filtered = chosen.agent !== null || chosen.model !== null || chosen.from > 0 || chosen.to < last;
  for (const whole of document.querySelectorAll("[data-part]")) {
    whole.hidden = filtered;
    const place = whole.nextElementSibling;
    const part = parts[whole.dataset.part];
    place.replaceChildren(...(!filtered ? [] : part ? part(of, chosen) : [element("p", { class: "empty" },
      "Known for the whole page only. A report with --agent-id, --start-date and --end-date has it for a choice.")]));
  }
  document.body.classList.toggle("filtered", filtered);
  document.getElementById("everything").disabled = !filtered;
  const told = [
    chosen.agent === null ? "all agents" : select.agent.selectedOptions[0].textContent,
    chosen.model === null ? "all models" : select.model.selectedOptions[0].textContent,
    `${data.days[chosen.from][0]} to ${data.days[chosen.to][1]}`,
  ].join(", ");
  const much = chosen.model === null ? [total(of.messages, 2), "messages"] : [total(of.steps, 3), "steps"];
  document.getElementById("shown").textContent =
    filtered ? `Shown: ${told}: ${count(much[0] ?? 0)} ${much[1]}.` : "Shown: everything.";
}

function start() {
  const fill = (name, labels) => select[name].append(
    ...labels.map((label, at) => [label, at])
      .sort(([one], [other]) => name === "from" || name === "to" ? 0 : one.localeCompare(other))
      .map(([label, at]) => element("option", { value: at }, label)));
  fill("agent", data.agents), fill("model", data.models);
  fill("from", data.days.map(([first]) => first)), fill("to", data.days.map(([, last]) => last));
  const everything = () => {
    select.agent.value = select.model.value = "";
    select.from.value = 0;
    select.to.value = data.days.length - 1;
    show();
  };
  for (const [name, one] of Object.entries(select)) one.addEventListener("change", () => {
    // The other end moves along: a choice is never empty.
    if (Number(select.from.value) > Number(select.to.value)) {
      select[name === "from" ? "to" : "from"].value = select[name].value;
    }
    show();
  });
  document.getElementById("everything").addEventListener("click", () => {
    everything();
    select.agent.focus();
  });
  // A browser that comes back to a page keeps what was chosen in it, but not what was drawn.
  everything();
  document.getElementById("filter").hidden = false;
}

start();
