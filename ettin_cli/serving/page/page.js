// Makes the search page live: hits as you type, then reranked. It works without, by forms.
"use strict";

const root = document.documentElement;
const part = (id) => document.getElementById(id);
const WAIT_MS = 120;
const GLIDE = { duration: 260, easing: "ease-out" };
const EXCERPT = 360;
const LEAD = 100;
const NO_TEXT = -1e9;
const NAMES = "q index f path by retriever reranker candidates top_k".split(" ");
const RETRIEVERS = { dense: "meaning", bm25: "words" };
const THEMES = ["", "light", "dark"];

// Storing may throw.
const stored = (use) => {
  try {
    return use(localStorage);
  } catch {
    return null;
  }
};
const setTheme = (theme) => {
  if (theme) root.dataset.theme = theme;
  else delete root.dataset.theme;
};
root.dataset.script = "";
setTheme(stored((kept) => THEMES.find((theme) => theme && theme === kept.getItem("theme"))));

// As hits.py, side.py and words.py.
const h = (name, attributes, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== ""));
  return made;
};

const say = (tag, class_, text, title) => h(tag, { class: class_, title }, text);

const OBEYED = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;
const inert = (text) =>
  String(text).replace(OBEYED, (sign) => {
    const code = sign.charCodeAt(0).toString(16);
    if (sign === "\r") return "\\r";
    return code.length > 2 ? `\\u${code.padStart(4, "0")}` : `\\x${code.padStart(2, "0")}`;
  });
const plain = (text) => inert(String(text).split(/\s+/u).filter(Boolean).join(" "));
const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ",");
const counted = (number, noun) => `${grouped(number)} ${noun}${number === 1 ? "" : "s"}`;
const scoreText = (score) =>
  score <= NO_TEXT ? "\u2013" : score.toFixed(3).replace("-", "\u2212");
const percent = (share) =>
  share < 0.005 ? "<1 %" : share >= 0.995 ? ">99 %" : `${(100 * share).toFixed(0)} %`;
const duration = (seconds) =>
  seconds < 0.9995 ? `${(1000 * seconds).toFixed(0)} ms` : `${seconds.toFixed(1)} s`;
const shortName = (model) => model.split("/").pop() || model;
const ordinal = (number) =>
  number + ((!/1[123]$/.test(number) && ["", "st", "nd", "rd"][number % 10]) || "th");

function where(hit) {
  if (!hit.path) return inert(hit.doc_id);
  if (!hit.start_line) return inert(hit.path);
  const last = hit.end_line && hit.end_line !== hit.start_line ? `-${hit.end_line}` : "";
  return inert(`${hit.path}:${hit.start_line}${last}`);
}

function titleOf(hit) {
  const title = plain(hit.title || "") || inert(hit.doc_id);
  const headings = (hit.headings || []).map(plain);
  return [title, ...headings.filter((one) => one && one !== title)].join(" \u203a ");
}

// Offsets of highlights count code points, not the UTF-16 units of a string.
function excerpt(text, highlights) {
  const signs = Array.from(
    text.replace(/(?<=[^\n]{50})(?<![.!?:=~^|+*#_-])\n(?=[\p{L}\p{N}])/gu, " "),
  );
  const spans = highlights.map((one) => [one.start, one.end]);
  const [begin, end] = windowOf(signs, spans);
  const piece = (from, to) => inert(signs.slice(from, to).join("").replace(/\n\s*\n/g, "\n"));
  const parts = [piece(0, begin).trim() && "\u2026 "];
  let at = begin;
  for (const [start, stop] of spans) {
    if (at <= start && start < stop && stop <= end) {
      parts.push(piece(at, start), h("mark", {}, piece(start, stop)));
      at = stop;
    }
  }
  return [...parts, piece(at, end), piece(end).trim() && " \u2026"];
}

function windowOf(signs, spans) {
  let begin = Math.max(0, signs.findIndex((sign) => sign !== "\n"));
  if (signs.length - begin <= EXCERPT) return [begin, signs.length];
  let most = 0;
  for (const [start] of spans) {
    const first = beginning(signs, start);
    const inside = spans.filter(([at, stop]) => first <= at && stop <= first + EXCERPT).length;
    if (inside > most) [begin, most] = [first, inside];
  }
  let end = Math.min(begin + EXCERPT, signs.length);
  const blank = (at) => signs[at] === " " || signs[at] === "\n";
  let space = end;
  while (space < signs.length && space > end - LEAD && !blank(space)) space -= 1;
  if (blank(space)) end = space;
  while (blank(end - 1)) end -= 1;
  return [begin, end];
}

function beginning(signs, start) {
  const line = start ? signs.lastIndexOf("\n", start - 1) + 1 : 0;
  if (start - line <= LEAD) return line;
  const space = signs.indexOf(" ", start - LEAD);
  return space < 0 || space >= start ? start : space + 1;
}

function hitItem(hit, state, answer, editor) {
  const reranked = answer.reranker !== "none";
  const move = hit.retrieval_rank - hit.rank;
  const far = Math.abs(move) || "";
  const [sign, way] = move > 0 ? ["\u25b2", "up"] : move ? ["\u25bc", "down"] : ["=", "same"];
  const rank = h("div", { class: "rank" }, h("b", {}, String(hit.rank)));
  if (reranked) {
    rank.append(
      h("span", { class: `moved ${way}`, "aria-hidden": "true" }, sign + far),
      say("span", "hidden", move ? ` ${way} ${far}` : " unmoved"),
    );
  }
  const place = h("p", { class: "where" }, h("bdi", {}, where(hit)));
  const badge = (shown, text, ...rest) => shown && place.append(say("span", text, ...rest));
  badge(hit.page >= 0, "badge", `page ${hit.page}`);
  badge(hit.stale, "badge warn", "stale", "The file has changed since.");
  badge(hit.truncated, "badge warn", "cut", "The reranker read its beginning.");
  badge(hit.duplicates, "badge", `${hit.duplicates?.length} same`);
  if (editor && hit.path) {
    const path = hit.path.split("/").map(encodeURIComponent).join("/");
    const href = editor.replace("{line}", hit.start_line || 1).replace("{path}", () => path);
    place.append(h("a", { href, class: "editor" }, "edit"));
  }
  return h(
    "li",
    { class: "hit", "data-key": hit.passage_id },
    rank,
    h("h2", { dir: "auto" }, h("a", { href: hitUrl(hit, state, answer) }, titleOf(hit))),
    place,
    h("p", { class: "text", dir: "auto" }, ...excerpt(hit.text || "", hit.highlights || [])),
    say("p", "why", whyText(hit, reranked)),
  );
}

function whyText(hit, reranked) {
  const said = [`score ${scoreText(hit.score)}`];
  if (hit.probability >= 0) said.push(`${percent(hit.probability)} likely relevant`);
  if (reranked) said.push(`retrieved ${ordinal(hit.retrieval_rank)}`);
  for (const [name, place] of Object.entries(hit.retrieval || {})) {
    said.push(`${RETRIEVERS[name] || name} ${place.rank ? ordinal(place.rank) : "\u2013"}`);
  }
  return said.join(" \u00b7 ");
}

function statusText(answer) {
  const seconds = answer.seconds || {};
  const reranked = answer.reranker !== "none";
  const said = [counted(answer.hits.length, "result")];
  if (reranked) said.push(`reranked by ${plain(shortName(answer.reranker))}`);
  if (seconds.retrieve !== undefined) {
    said.push(`${duration((seconds.embed || 0) + seconds.retrieve)} to retrieve`);
  }
  if (reranked && seconds.rerank !== undefined) said.push(`${duration(seconds.rerank)} to rerank`);
  return said.join(", ");
}

// The state of a search is the parameters of its address, which are those of /v1/search.
function stateOf(pairs) {
  const found = new Map();
  for (const [name, value] of pairs) {
    if (!NAMES.includes(name) || !value.trim()) continue;
    found.set(name === "f" ? `f ${value}` : name, [name, value]);
  }
  const order = (pair) => NAMES.indexOf(pair[0]);
  return new URLSearchParams([...found.values()].sort((one, other) => order(one) - order(other)));
}

const urlOf = (state) => (state.size ? `/?${state}` : "/");

function hitUrl(hit, state, answer) {
  const rest = new URLSearchParams([...state].filter(([name]) => name !== "index"));
  rest.append("hits", answer.hits.map((one) => one.passage_id).join("."));
  rest.append("in", answer.index.generation);
  return `${hit.url}&${rest}#passage`;
}

// A filter is FIELD:VALUE; colons in FIELD are escaped.
function filterParts(text) {
  const [field, ...value] = text.split(":");
  return [field.replaceAll("%3A", ":").replaceAll("%25", "%"), value.join(":")];
}

// A link to the state after a change.
function link(state, change, attributes, ...children) {
  const next = new URLSearchParams(state);
  change(next);
  return h("a", { href: urlOf(stateOf(next)), ...attributes }, ...children);
}

function chips(state) {
  const chip = (text, without) => {
    const name = plain(text);
    const cross = h("span", { "aria-hidden": "true" }, "\u00d7");
    const label = { "aria-label": `Remove the filter ${name}` };
    return h("li", {}, link(state, without, label, h("bdi", {}, name), " ", cross));
  };
  const made = state.getAll("f").map((one) => {
    return chip(filterParts(one).join(": "), (next) => next.delete("f", one));
  });
  const path = state.get("path");
  if (path) made.push(chip(`path: ${path}`, (next) => next.delete("path")));
  return made;
}

function facets(found, state) {
  const chosen = state.getAll("f").map((one) => filterParts(one)[0]);
  const telling = Object.entries(found).filter(
    ([field, values]) => chosen.includes(field) || (values.length > 1 && values[0].count > 1),
  );
  return telling.slice(0, 8).map(([field, values]) => {
    const items = values.map((one) => facetValue(field, one, state));
    const list = (some) => h("ul", { class: "values" }, ...some);
    const rest = items.splice(8);
    const more = h("details", {}, h("summary", {}, `${rest.length} more`), list(rest));
    return h("section", {}, h("h2", {}, plain(field)), list(items), rest.length ? more : "");
  });
}

function facetValue(field, { value, count }, state) {
  const text = `${field.replaceAll("%", "%25").replaceAll(":", "%3A")}:${value}`;
  const chosen = state.has("f", text);
  const change = (next) => {
    next.delete("top_k");
    if (chosen) next.delete("f", text);
    else next.append("f", text);
  };
  const name = h("bdi", {}, plain(value) || "(empty)");
  const current = { "aria-current": chosen || null };
  return h("li", {}, link(state, change, current, name, say("span", "count", grouped(count))));
}

function more(answer, state) {
  const now = Number(state.get("top_k")) || 10;
  const next = [20, 50, 100].find((step) => step > now);
  if (!next || answer.hits.length < now) return [];
  const change = (one) => one.set("top_k", next);
  return [h("p", {}, link(state, change, { class: "more" }, "More results"))];
}

const enter = (element) => {
  element.focus();
  element.select?.();
};

function prepare() {
  const box = part("q");
  const help = part("help");
  const button = part("theme");
  const show = () => {
    button.textContent = `Theme: ${root.dataset.theme || "auto"}`;
  };
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(root.dataset.theme || "") + 1) % THEMES.length];
    setTheme(next);
    stored((kept) => (next ? kept.setItem("theme", next) : kept.removeItem("theme")));
    show();
  });
  show();
  part("help-link").addEventListener("click", (event) => {
    event.preventDefault();
    help.showModal();
  });
  const keys = document.body.classList.contains("reader") ? reader() : search(box);
  document.addEventListener("keydown", (event) => {
    const held = event.ctrlKey || event.metaKey;
    const inBox = event.target === box;
    const inField = event.target.matches?.("input:not([type=checkbox]), select") || help.open;
    let key = event.key;
    if (event.altKey || event.isComposing || (held && key !== "k")) return;
    if (held) key = "/";
    // Letters are typed in the search box, arrows choose in other fields.
    else if (inField && !(inBox && key.length > 1)) return;
    const act = { "/": () => enter(box), "?": () => help.showModal(), ...keys }[key];
    if (act?.(inBox) !== false && act) event.preventDefault();
  });
}

// Each key with what it does; false leaves it to the browser.
function reader() {
  const follow = (selector) => () => document.querySelector(selector)?.click();
  const copy = part("copy");
  copy?.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(part("citation").textContent);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(part("citation"));
      copy.textContent = "Selected";
    }
  });
  const p = follow("a[rel=prev]");
  const n = follow("a[rel=next]");
  return { p, n, "[": p, "]": n, o: follow(".editor"), Escape: follow("a[rel=up]") };
}

function search(box) {
  const form = part("search");
  let running = null; // Aborts the search under way.
  let timer;
  let settled = true; // Whether the next typed letter begins a new entry of the history.
  let offered = null; // Shows a better order that arrived after the visitor had moved.
  let seen; // Where the page was scrolled to when the hits were shown.

  const fields = () => stateOf(new FormData(form));

  // Search for a state, and put it into the address.
  function go(state, push = settled) {
    const url = urlOf(state);
    if (url !== location.pathname + location.search) {
      history[push ? "pushState" : "replaceState"](null, "", url);
    }
    settled = false;
    show(state);
  }

  const busy = (now) => {
    document.body.classList.toggle("busy", now);
    part("results").setAttribute("aria-busy", now);
  };

  function stop() {
    clearTimeout(timer);
    running?.abort();
    running = null;
    busy(false);
  }

  async function show(state) {
    stop();
    offered = null;
    const own = (running = new AbortController());
    const query = state.get("q");
    document.title = query ? `${plain(query).slice(0, 80)} \u2013 ettin` : "ettin";
    busy(true);
    try {
      await (query ? stream : fill)(state, own.signal);
    } catch (error) {
      if (running !== own) return;
      const text = error.name === "TypeError" ? "The server does not answer." : error.message;
      part("notes").replaceChildren(h("p", { class: "problem", role: "alert" }, text));
      part("status").textContent = "";
    }
    if (running === own) stop();
  }

  // Show what the server makes of a state, except of what is being changed at the side.
  async function fill(state, signal) {
    const response = await fetch(urlOf(state), { headers: { accept: "text/html" }, signal });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    signal.throwIfAborted();
    const names = ["status", "chips", "notes", "hits", "after"];
    if (!document.querySelector("aside").contains(document.activeElement)) names.push("beside");
    if (!names.every((name) => page.getElementById(name))) throw new Error("Load the page again.");
    for (const name of names) part(name).replaceWith(page.getElementById(name));
  }

  async function stream(state, signal) {
    const response = await fetch(`/v1/search?${state}&facets=true&stream=true`, { signal });
    if (!response.ok) throw new Error((await response.json()).message);
    const chunks = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    let [best, finished] = [null, false];
    for (let retrieved = false; ; ) {
      const { value, done } = await chunks.read();
      signal.throwIfAborted();
      if (done && finished) return;
      if (done) throw new Error("The connection ended before the search did.");
      const events = (text + value).split("\n\n");
      text = events.pop();
      for (const event of events) {
        const [, name, json] = event.match(/^event: (.*)\ndata: (.*)$/);
        const data = JSON.parse(json);
        if (name === "error") throw new Error(data.message);
        if (name === "retrieved") {
          retrieved = true;
          render(data, state, `${counted(data.hits.length, "result")}, reranking\u2026`);
        } else if (name === "reranked") {
          best = data;
          if (!data.hits.length) await fill(state, signal);
          else if (retrieved && moved()) offer(data, state);
          else render(data, state, statusText(data));
        } else if (name === "done") {
          finished = true;
          // Kept for a better order that is shown later.
          if (best) best.warnings = data.warnings;
          if (best?.hits.length) warn(data.warnings);
        }
      }
    }
  }

  const inHits = () => part("hits").contains(document.activeElement);
  const moved = () => inHits() || Math.abs(scrollY - seen) > 4;

  function offer(answer, state) {
    offered = () => {
      offered = null;
      render(answer, state, statusText(answer));
    };
    const button = h("button", { type: "button" }, "better order: press r");
    button.addEventListener("click", () => offered?.());
    part("status").replaceChildren(statusText(answer), button);
  }

  function render(answer, state, status) {
    const list = part("hits");
    const tops = [...list.children].map((one) => [one.dataset.key, one.getBoundingClientRect().top]);
    const focused = inHits() && document.activeElement.closest("li").dataset.key;
    const { editor } = part("results").dataset;
    const items = answer.hits.map((hit) => hitItem(hit, state, answer, editor));
    list.replaceChildren(...items);
    const same = items.find((item) => item.dataset.key === focused);
    same?.querySelector("a").focus({ preventScroll: true });
    glide(items, new Map(tops));
    part("status").textContent = status;
    part("chips").replaceChildren(...chips(state));
    part("facets").replaceChildren(...facets(answer.facets, state));
    warn(answer.warnings);
    part("after").replaceChildren(...more(answer, state));
    seen = scrollY;
  }

  function warn(warnings) {
    const notes = part("notes");
    const said = (warnings || []).map((one) => say("p", "warn", plain(one)));
    notes.replaceChildren(...said, ...notes.querySelectorAll(".quiet"));
  }

  // Let hits move to their new places.
  function glide(items, tops) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    for (const item of items) {
      const way = tops.get(item.dataset.key) - item.getBoundingClientRect().top;
      if (way) item.animate([{ transform: `translateY(${way}px)` }, { transform: "none" }], GLIDE);
    }
  }

  // Give the form's fields the values of a state.
  function fillIn(state) {
    for (const field of [...form.elements]) {
      const value = state.get(field.name) || "";
      if (field.name === "f") field.remove();
      else if (field.name && field.value !== value) field.value = value;
      if (field.selectedIndex < 0) field.selectedIndex = 0;
    }
    form.append(...state.getAll("f").map((value) => h("input", { type: "hidden", name: "f", value })));
  }

  const follow = (url, push) => {
    const state = stateOf(new URL(url).searchParams);
    fillIn(state);
    if (push) go(state, true);
    else show(state);
    settled = true;
  };

  if (!box.value && !location.hash) box.focus();
  box.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => go(fields()), WAIT_MS);
  });
  box.addEventListener("change", () => {
    settled = true;
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    go(fields());
    settled = true;
  });
  part("beside").parentNode.addEventListener("change", () => go(fields(), true));
  addEventListener("popstate", () => follow(location.href, false));
  part("columns").addEventListener("click", (event) => {
    const found = event.target.closest("a");
    const other = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
    if (!found || other || found.origin !== location.origin || found.pathname !== "/") return;
    event.preventDefault();
    follow(found.href, true);
  });

  const links = () => [...document.querySelectorAll(".hit h2 a")];
  const chosen = () => links().indexOf(document.activeElement);
  const down = () => {
    links()[Math.min(chosen() + 1, links().length - 1)]?.focus();
    return links().length > 0;
  };
  const up = () => chosen() >= 0 && enter(links()[chosen() - 1] || box);
  return {
    j: down,
    k: up,
    ArrowDown: down,
    ArrowUp: up,
    Escape: (inBox) => (running ? stop() : !inBox && enter(box)),
    o: () => document.activeElement.closest(".hit")?.querySelector(".editor")?.click(),
    r: () => offered?.(),
  };
}

document.addEventListener("DOMContentLoaded", prepare);
