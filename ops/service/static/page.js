// The server renders every part of the page; this script only replaces changed parts, so that values are formatted in one place.
"use strict";
const RETRY_MS = 3000;
const disconnected = document.getElementById("disconnected");
document.documentElement.classList.add("live");

// Changes only the nodes that differ: focus, selection and running animations survive.
function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) { old.replaceWith(fresh.cloneNode(true)); return; }
  if (old.nodeType === Node.TEXT_NODE) { if (old.data !== fresh.data) old.data = fresh.data; return; }
  if (old.nodeType !== Node.ELEMENT_NODE || old.isEqualNode(fresh)) return;
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const before = [...old.childNodes], after = [...fresh.childNodes];
  after.forEach((node, at) => at < before.length ? morph(before[at], node) : old.append(node.cloneNode(true)));
  before.slice(after.length).forEach(node => node.remove());
}

const replaying = new Map();  // key of a pressed button -> [its text, whether it may be pressed again]
const keyOf = button => `${button.dataset.record || ""} ${button.dataset.replays || ""}`;
function updateButtons(root) {
  for (const button of root.querySelectorAll("button.replay")) {
    if (!replaying.has(keyOf(button))) continue;
    const [text, enabled] = replaying.get(keyOf(button));
    button.textContent = text;
    button.toggleAttribute("disabled", !enabled);
  }
}

// The browser reconnects by itself when a connection breaks, but gives up when the answer is no stream: from a proxy whose
// service is being restarted, or because the token is no longer valid.
function listen() {
  const events = new EventSource("/events");
  events.addEventListener("parts", event => {
    showConnection(true);
    for (const [name, html] of Object.entries(JSON.parse(event.data))) replacePart(name, html);
    document.title = document.querySelector("[data-title]").dataset.title;
  });
  events.onerror = () => {
    showConnection(false);
    if (events.readyState === EventSource.CLOSED) setTimeout(reconnect, RETRY_MS);
  };
}

async function reconnect() {
  try {
    const answer = await fetch("/api/v1/doctor");
    if (answer.status === 401) { location.assign("/login"); return; }
  } catch { /* not yet: the next try decides */ }
  listen();
}

function showConnection(answers) {
  disconnected.hidden = answers;
  if (!answers) document.title = `? ${document.title.replace(/^[?✗!] /, "")}`;
  document.documentElement.classList.toggle("outdated", !answers);
}

function replacePart(name, html) {
  const part = document.querySelector(`[data-part="${name}"]`);
  if (!part) return;
  const fresh = part.cloneNode(false);
  fresh.innerHTML = html;
  updateButtons(fresh);
  morph(part, fresh);
}

listen();

document.addEventListener("click", async event => {
  const button = event.target.closest("button.replay");
  if (!button || (button.dataset.sure && !confirm(button.dataset.sure))) return;
  const pressed = keyOf(button), { record, source } = button.dataset;
  const show = (text, enabled) => { replaying.set(pressed, [text, enabled]); updateButtons(document); };
  show("Replaying …", false);
  try {
    const answer = await fetch("/api/v1/rejects/replay", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Stream-Infer": "page" },
      body: JSON.stringify(record ? { records: [record], source } : {}),
    });
    const reply = await answer.json();
    if (!answer.ok) show(reply.error || "Failed", true);
    else if (record) show("Requested", false);
    else show(`${reply.asked} requested`, true);
  } catch (error) { show("No answer", true); }
});
