// What the pages do beyond links and forms. All of it is a convenience: without scripts they work as well.
"use strict";

// htmx takes longer to begin than the page to be drawn: it comes when the first words are there to be read.
const { htmx: address } = document.currentScript.dataset;
const drawn = new PerformanceObserver(begin);
drawn.observe({ type: "paint", buffered: true });
// Some browsers are set not to report when they drew something.
const late = setTimeout(begin, 1000);

function begin() {
  drawn.disconnect();
  clearTimeout(late);
  if (!address) return; // a page to sign in
  const script = document.createElement("script");
  script.src = address;
  document.head.append(script);
}

// A browser opens six connections to one address: a tab that isn't looked at yet must not take one.
function connect() {
  if (document.hidden || document.body.dataset.live) return;
  document.body.dataset.live = "no";
  htmx.trigger("#stream", "reconnect");
}
const ready = () => {
  document.addEventListener("visibilitychange", connect);
  connect();
};
document.addEventListener("htmx:after:process", ready, { once: true });

const connection = () => document.getElementById("connection");
const question = () => document.getElementById("ask");

function showConnection(words) {
  const line = connection();
  if (!line) return;
  // Only while it is connected does a page change by itself.
  document.body.dataset.live = words ? "no" : "yes";
  line.hidden = !words;
  if (line.textContent !== words) line.textContent = words; // else a screen reader says it with each try
}

// A notice is shown once: a person who reloads the page has read it.
if (new URLSearchParams(location.search).has("said")) {
  const address = new URL(location.href);
  address.searchParams.delete("said");
  history.replaceState(null, "", address);
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
}

async function copy(button) {
  const field = document.querySelector(button.dataset.copy);
  field.select();
  await navigator.clipboard.writeText(field.value);
  document.getElementById("copied").textContent = "Copied.";
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
  const close = event.target.closest("#ask [data-close]");
  if (close) {
    event.preventDefault();
    question().close();
  }
});

document.addEventListener("htmx:after:swap", (event) => {
  const { sourceElement: source, request } = event.detail.ctx ?? {};
  const dialog = question();
  if (!source || !dialog) return;
  if (dialog.querySelector("#question-title") && !dialog.open && source.matches("a[hx-target='#ask']")) {
    dialog.showModal();
    return;
  }
  // The form itself may be gone with what it changed.
  const form = source.matches("form") ? source : null;
  const posted = request?.method?.toUpperCase() === "POST";
  if (!form && !posted) return;
  // What this answer shows may be older than what the stream told meanwhile.
  htmx.trigger(document.body, "changed");
  if (posted) {
    countDown();
    if (dialog.open) dialog.close();
    const notice = document.getElementById("notice");
    // What was typed is done with, unless the person has to fix it.
    if (form && !notice.querySelector(".bad")) form.reset();
    // What was pressed may be gone by now: go on from what came of it.
    notice.focus();
    notice.scrollIntoView({ block: "nearest" });
  }
});

// What was typed before htmx began is looked for as well.
document.addEventListener("htmx:after:init", ({ target: form }) => {
  if (!form.matches("form.filters")) return;
  const shown = new URLSearchParams(location.search);
  const fields = [...new FormData(form)];
  if (fields.some(([name, value]) => value !== (shown.get(name) ?? ""))) htmx.trigger(form, "change");
});

const typed = () =>
  [...document.querySelectorAll("#main :is(textarea, form:not([method=get]) input)")].some(
    (field) => field.value !== field.defaultValue,
  );

function showLost(status) {
  const signIn = typed() ? "Copy what you typed, then reload to sign in." : "Reload to sign in.";
  showConnection(status === 401 ? `You've been signed out. ${signIn}` : "Can't reach the server. Reconnecting…");
}

document.addEventListener("htmx:sse:after:connection", () => showConnection(""));
document.addEventListener("htmx:sse:error", (event) => showLost(event.detail.status));

// A stream that broke is taken up again by htmx; one that never began is not.
for (const name of ["htmx:error", "htmx:response:error"]) {
  document.addEventListener(name, (event) => {
    if (event.target.id !== "stream") return;
    const status = event.detail.ctx?.response?.status;
    showLost(status);
    if (status !== 401) setTimeout(() => htmx.trigger(event.target, "reconnect"), 3000);
  });
}
// This browser itself may have changed its session, and the answer to that is on its way.
document.addEventListener("ended", () => setTimeout(() => typed() || location.reload(), 1000));

// --- a second click posts no form again ---

document.addEventListener("submit", ({ target: form }) => {
  if (!form.matches("[method=post]:not([hx-post])")) return;
  const lock = (locked) => form.querySelectorAll("button").forEach((button) => (button.disabled = locked));
  // Not at once: the button that was pressed is part of what is posted.
  setTimeout(lock, 0, true);
  // The page stays if a person stops what takes long, and is there again if they come back.
  setTimeout(lock, 10000, false);
  addEventListener("pageshow", () => lock(false));
});

// --- undo: the server keeps the time; the page only shows how much of it is left ---

function countDown() {
  const form = document.querySelector("[data-undo]:not([data-until])");
  if (!form) return;
  const until = Date.now() + 1000 * Number(form.dataset.undo);
  const button = form.querySelector("button");
  form.dataset.until = until;
  const tick = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    if (!form.isConnected) return;
    if (left <= 0) form.remove();
    else {
      button.textContent = `Undo (${left})`;
      setTimeout(tick, 250);
    }
  };
  tick();
}
countDown();

// --- chosen messages ---

const boxes = () => [...document.querySelectorAll("input[name=id][form=bulk]")];

function showChosen() {
  const bar = document.getElementById("bulk");
  if (!bar) return;
  const all = boxes();
  const count = all.filter((box) => box.checked).length;
  bar.classList.toggle("some", count > 0);
  bar.querySelector("[data-chosen]").textContent = count ? `${count} selected` : "Select messages";
  for (const button of bar.querySelectorAll("button")) button.disabled = !count;
  const whole = bar.querySelector("[data-all]");
  whole.hidden = !all.length;
  whole.checked = count > 0 && count === all.length;
  whole.indeterminate = count > 0 && count < all.length;
}

document.addEventListener("change", ({ target }) => {
  if (target.matches("[data-all]")) for (const box of boxes()) box.checked = target.checked;
  if (target.matches("[data-all], input[name=id]")) showChosen();
  if (target.id === "keys-off") localStorage.setItem("keys-off", target.checked ? "yes" : "");
});
document.addEventListener("htmx:after:swap", () => {
  showChosen();
  showCount();
});
showChosen();

// The tab shows how many messages need review.
function showCount() {
  const count = document.querySelector("#count [data-count]")?.dataset.count ?? "0";
  const link = document.getElementById("icon");
  if (link && !link.href.endsWith(`?n=${count}`)) link.href = `/icon.svg?n=${count}`;
}

// --- charts: what a bar stands for, to pointer, finger and keyboard ---

function showTip(bar) {
  const drawing = bar.closest(".drawing");
  const tip = drawing.querySelector(".tip");
  tip.textContent = bar.dataset.tip;
  tip.hidden = false;
  const { left, width } = drawing.getBoundingClientRect();
  const box = bar.getBoundingClientRect();
  const middle = box.left + box.width / 2 - left - tip.offsetWidth / 2;
  tip.style.left = `${Math.max(0, Math.min(middle, width - tip.offsetWidth))}px`;
}

for (const name of ["pointerover", "focusin"]) {
  document.addEventListener(name, ({ target }) => {
    const bar = target.closest?.("[data-tip]");
    if (bar) showTip(bar);
    else for (const tip of document.querySelectorAll(".tip")) tip.hidden = true;
  });
}

// --- how many parts an edited message takes ---

for (const area of document.querySelectorAll("[data-parts]")) {
  const shown = document.getElementById(area.dataset.parts);
  const count = () => (shown.textContent = `${area.value.length} characters`);
  area.addEventListener("input", count);
  count();
}

// --- a file whose words go into a field ---

for (const chooser of document.querySelectorAll("[data-into]")) {
  chooser.closest("[data-file]").hidden = false;
  chooser.addEventListener("change", async () => {
    if (chooser.files.length) document.querySelector(chooser.dataset.into).value = await chooser.files[0].text();
  });
}

// --- keys ---

const keys = document.getElementById("keys");
const showKeys = document.getElementById("show-keys");
if (keys && showKeys) {
  showKeys.hidden = false;
  showKeys.addEventListener("click", () => keys.showModal());
  document.getElementById("keys-off").checked = localStorage.getItem("keys-off") === "yes";
}
const PAGES = { h: "/", r: "/review", m: "/texts", s: "/setup" };
let going = false;

function step(by) {
  const rows = [...document.querySelectorAll("[data-row]")].filter((row) => row.offsetParent);
  if (!rows.length) return;
  const now = rows.findIndex((row) => row.contains(document.activeElement));
  const next = rows[Math.max(0, Math.min(rows.length - 1, now < 0 ? 0 : now + by))];
  next.querySelector("[data-open]").focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

const ACTIONS = {
  "/": () => (document.getElementById("search") ? document.getElementById("search").focus() : location.assign("/texts#search")),
  "?": () => keys.showModal(),
  j: () => step(1),
  k: () => step(-1),
  x: () => document.querySelector("[data-row]:focus-within input[name=id]")?.click(),
  g: () => (going = true),
};

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (!keys || event.ctrlKey || event.metaKey || event.altKey || localStorage.getItem("keys-off") === "yes") return;
  if (target.matches("input:not([type=checkbox]), textarea, select") || document.querySelector("dialog[open]")) return;
  const page = going && PAGES[key];
  going = false;
  if (page) location.assign(page);
  else if (Object.hasOwn(ACTIONS, key)) ACTIONS[key]();
  else return;
  event.preventDefault();
});
if (location.hash === "#search") document.getElementById("search")?.focus();
