// The server renders every part of the page; this only puts fresh parts in place, so that there is one way to show a figure.
"use strict";
const AGAIN_MS = 3000;
const lost = document.getElementById("lost");
document.documentElement.classList.add("live");

// Changes what differs and leaves the rest alone: focus, selection and running animations survive.
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

const replaying = new Map();  // a reject as it was when its button was pressed -> [what the button says, whether it may be pressed]
const which = button => `${button.dataset.record || ""} ${button.dataset.replays || ""}`;
function mark(root) {
  for (const button of root.querySelectorAll("button.replay")) {
    if (!replaying.has(which(button))) continue;
    const [said, again] = replaying.get(which(button));
    button.textContent = said;
    button.toggleAttribute("disabled", !again);
  }
}

// The browser comes back by itself when a connection breaks, but gives up on an answer that is no stream: a proxy whose
// service is being restarted, a token that is no longer the one.
function listen() {
  const events = new EventSource("/events");
  events.addEventListener("parts", event => {
    tell(true);
    for (const [name, html] of Object.entries(JSON.parse(event.data))) put(name, html);
    document.title = document.querySelector("[data-title]").dataset.title;
  });
  events.onerror = () => {
    tell(false);
    if (events.readyState === EventSource.CLOSED) setTimeout(again, AGAIN_MS);
  };
}

async function again() {
  try {
    const answer = await fetch("/api/v1/doctor");
    if (answer.status === 401) { location.assign("/login"); return; }
  } catch { /* not yet: the next try tells */ }
  listen();
}

function tell(answers) {
  lost.hidden = answers;
  if (!answers) document.title = `? ${document.title.replace(/^[?✗!] /, "")}`;
  document.documentElement.classList.toggle("old", !answers);
}

function put(name, html) {
  const place = document.querySelector(`[data-part="${name}"]`);
  if (!place) return;
  const fresh = place.cloneNode(false);
  fresh.innerHTML = html;
  mark(fresh);
  morph(place, fresh);
}

listen();

document.addEventListener("click", async event => {
  const button = event.target.closest("button.replay");
  if (!button || (button.dataset.sure && !confirm(button.dataset.sure))) return;
  const pressed = which(button), { record, source } = button.dataset;
  const say = (text, again) => { replaying.set(pressed, [text, again]); mark(document); };
  say("Replaying …", false);
  try {
    const answer = await fetch("/api/v1/rejects/replay", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Stream-Infer": "page" },
      body: JSON.stringify(record ? { records: [record], source } : {}),
    });
    const said = await answer.json();
    if (!answer.ok) say(said.error || "Failed", true);
    else if (record) say("On its way", false);
    else say(`${said.asked} on their way`, true);
  } catch (error) { say("No answer", true); }
});
