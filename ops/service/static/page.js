// The server renders every part of the page; this only puts fresh parts in place, so that there is one way to show a figure.
"use strict";
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

const replaying = new Map();  // record -> [what its button says, whether it may be pressed again]
function mark(root) {
  for (const button of root.querySelectorAll("button.replay")) {
    const [said, again] = replaying.get(button.dataset.record) || ["Replay", true];
    button.textContent = said;
    button.toggleAttribute("disabled", !again);
  }
}

const events = new EventSource("/events");
events.addEventListener("parts", event => {
  lost.hidden = true;
  for (const [name, html] of Object.entries(JSON.parse(event.data))) {
    const place = document.querySelector(`[data-part="${name}"]`);
    if (!place) continue;
    const fresh = place.cloneNode(false);
    fresh.innerHTML = html;
    mark(fresh);
    morph(place, fresh);
  }
});
events.onerror = () => { lost.hidden = false; };

document.addEventListener("click", async event => {
  const button = event.target.closest("button.replay");
  if (!button) return;
  const record = button.dataset.record, say = (text, again) => { replaying.set(record, [text, again]); mark(document); };
  say("Replaying …", false);
  try {
    const answer = await fetch("/api/v1/rejects/replay", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Stream-Infer": "page" },
      body: JSON.stringify({ records: [record], source: button.dataset.source }),
    });
    const said = await answer.json();
    say(answer.ok ? "On its way" : said.error || "Failed", !answer.ok);
  } catch (error) { say("No answer", true); }
});
