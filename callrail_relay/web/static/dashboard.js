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
  const script = document.createElement("script");
  script.src = address;
  document.head.append(script);
}

const connection = () => document.getElementById("connection");
const question = () => document.getElementById("ask");

function showConnection(words) {
  const line = connection();
  if (!line) return;
  // Only while it is connected does a page change by itself.
  document.body.dataset.live = words ? "no" : "yes";
  line.hidden = !words;
  line.textContent = words;
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

function showLost(status) {
  showConnection(
    status === 401
      ? "You are signed out: this page does not change any more. Reload it to see how to get in again."
      : "The relay does not answer: what you see may be old. This page tries again by itself.",
  );
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
document.addEventListener("ended", () => location.reload());
