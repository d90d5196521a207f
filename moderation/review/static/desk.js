// The case page: one case is looked at, the next one waits with its image decoded.
//
// Every button names what it does in `data-do` and its key in `data-key`, so that the keys that
// work are those that can be seen. What is decided goes to the outbox, and the next case comes in
// without waiting for the server.

import { post, Refused, Unreachable } from "./api.js";
import { beat, claim, Item, release } from "./claims.js";
import { dropDraft, keepDraft, readDraft } from "./drafts.js";
import { isTyping, keyOf } from "./keys.js";
import { Outbox } from "./outbox.js";

const LOOK_AGAIN_MS = 10_000;
const AWAY_AFTER_MS = 600_000;
// Nobody has seen a case sooner: the second half of a double press is not a decision.
const TOO_SOON_MS = 200;
const ANSWERS = ["mismatch", "match", "unsure", "escalate"];

const at = id => document.getElementById(id);
const desk = at("desk");
const isQueue = desk.dataset.mode === "queue";
const policy = desk.dataset.policy;
const undoMs = Number(desk.dataset.undoS) * 1000;

let current = null; // the item that is looked at
const ahead = []; // claimed items that come next
const arriving = new Set(); // claimed items whose image is not decoded yet
const done = []; // outbox entries that may be undone, the last one at the end
const returned = []; // what the server did not take: {entry, error}
let asked = null; // the answer that waits for a reason
let isFilling = false;
let isBusy = false; // an undo is under way: keys pressed meanwhile are not meant for this case
let isAway = false;
let shownAt = 0;
let touchedAt = performance.now();

// ---- what is seen -------------------------------------------------------------------------------

function show(item) {
  current = item;
  asked = null;
  at("slot").replaceChildren(item.node);
  for (const id of ["loading", "nothing", "away", "finished"]) at(id).hidden = true;
  hideImage(desk.dataset.blur === "true", desk.dataset.grey === "true");
  at("picture").classList.remove("full");
  const image = at("image");
  if (image) {
    image.onerror = () => { image.hidden = true; at("image-failed").hidden = false; };
    if (image.complete && image.naturalWidth === 0) image.onerror();
  }
  at("caption").classList.toggle("long", at("caption").textContent.length > 240);
  clearAsk();
  refresh();
  scrollTo(0, 0);
  at("question").focus({ preventScroll: true });
  shownAt = performance.now();
}

function showOnly(id) {
  current = null;
  at("slot").replaceChildren();
  for (const each of ["loading", "nothing", "away", "finished"]) at(each).hidden = each !== id;
  refresh();
  at(id).querySelector("h1")?.focus({ preventScroll: true });
}

function refresh() {
  const isOpen = current !== null && current.node.dataset.state !== "resolved";
  const canDecide = isOpen && current.claim !== null && !current.isLost;
  at("actions").hidden = !canDecide;
  at("take").hidden = !isOpen || canDecide;
  at("take").querySelector('[data-do="leave"]').hidden = !isQueue;
  // Leads have nobody to escalate to.
  document.querySelector('[data-do="escalate"]').hidden = current?.node.dataset.level === "lead";
  desk.classList.toggle("unclaimed", isOpen && current.claim === null && !current.isLost);
}

function say(words) {
  at("spoken").textContent = words;
}

function notice(words) {
  const box = at("notice");
  const line = document.createElement("p");
  line.textContent = words;
  box.replaceChildren(line);
  box.hidden = false;
}

function hideImage(blur, grey) {
  const frame = at("picture");
  frame.classList.toggle("blur", blur);
  frame.classList.toggle("grey", grey);
  frame.querySelector('[data-do="reveal"]')?.setAttribute("aria-pressed", String(!blur && !grey));
}

function excerpt(item) {
  const text = item.node.querySelector("#caption").textContent.trim();
  const letters = [...text];
  // Isolated, so that a caption from right to left leaves the sentence around it in order.
  return `\u2068${letters.length > 40 ? `${letters.slice(0, 40).join("")}…` : text}\u2069`;
}

// ---- the next case ------------------------------------------------------------------------------

async function fill() {
  if (!isQueue || isAway || isFilling || document.hidden) return;
  isFilling = true;
  try {
    while (!isAway && (ahead.length === 0 || current === null)) {
      const item = await claim({ policy });
      if (item === null) break;
      if (isAway) { release(item); break; }
      await arrive(item);
      // Given back or lost while its image came; who is here again still wants a case.
      if (!isOurs(item)) continue;
      item.typed = readDraft(item.id);
      ahead.push(item);
      if (current === null) next();
    }
    if (current === null && !isAway) showOnly("nothing");
    showConnection(true);
  } catch (error) {
    if (error instanceof Unreachable) showConnection(false, error.message);
    else say(error.message);
  } finally {
    isFilling = false;
  }
}

async function arrive(item) {
  arriving.add(item);
  await item.decoded();
  arriving.delete(item);
}

function next() {
  const item = ahead.shift();
  if (item) show(item);
  else showOnly(isQueue ? "loading" : "finished");
  fill();
}

// ---- deciding -----------------------------------------------------------------------------------

function decide(answer) {
  if (current.needsReason(answer)) return ask(answer);
  const entry = act("decision", { answer, ...current.typed });
  entry.words = `Decided: ${answer}.`;
  entry.undoUntil = performance.now() + undoMs;
  done.push(entry);
  finish(entry.words);
}

function act(action, body) {
  const entry = outbox.add(current, action, body);
  entry.answered.then(said => {
    if (said === null) return;
    dropDraft(entry.item.id);
    if (entry.tries > 0) entry.undoUntil = performance.now() + undoMs;
    entry.decisionId = said.decision_id;
  });
  return entry;
}

function finish(words) {
  at("finished-words").textContent = words;
  next();
  showUndo();
  say(`${words} ${current ? "Next case." : ""}`);
}

function ask(answer) {
  asked = answer;
  const count = Math.min(9, document.querySelectorAll("[data-reason-key]").length);
  at("ask").textContent = `Why ${answer}? Press ${count > 1 ? `1 to ${count}` : "1"} for a reason; Esc leaves it open.`;
  at("ask").hidden = false;
  at("reasons").classList.add("asked");
  document.querySelector(`[data-do="${answer}"]`).classList.add("asked");
  document.querySelector('input[name="reason"]').focus();
}

function clearAsk() {
  asked = null;
  for (const each of document.querySelectorAll(".asked")) each.classList.remove("asked");
  if (at("ask")) at("ask").hidden = true;
}

function chooseReason(input, { again = false } = {}) {
  input.checked = !(again && input.checked);
  saveDraft();
  if (asked !== null && input.checked) run(asked);
}

// ---- undoing ------------------------------------------------------------------------------------

const isUndoable = entry =>
  entry.state === "sending" || (entry.state === "sent" && performance.now() < entry.undoUntil);

function showUndo() {
  while (done.length && !isUndoable(done.at(-1))) done.pop();
  const entry = done.at(-1);
  at("undo").hidden = entry === undefined;
  if (entry === undefined) return;
  const words = at("undo").querySelector("[data-words]");
  if (words.textContent !== entry.words) words.textContent = entry.words;
  const left_s = Math.ceil((entry.undoUntil - performance.now()) / 1000);
  at("undo").querySelector("[data-left]").textContent = left_s > 0 ? `${left_s} s` : "";
}

async function undo() {
  const entry = done.at(-1);
  if (entry.state === "sending" && entry.tries > 0) {
    return say("This decision is not sent yet. Once it is, it can be undone.");
  }
  isBusy = true;
  at("undo").querySelector("[data-words]").textContent = "Undoing …";
  try {
    if ((await entry.answered) === null) return;
    const said = await (await post(`/v1/review/decisions/${entry.decisionId}/undo`)).json();
    entry.state = "undone";
    entry.item.claim = said.claim?.id ?? null;
    entry.item.isLost = entry.item.claim === null;
    if (current) ahead.unshift(current);
    show(entry.item);
    saveDraft();
    say("Undone. The case is back, as it was.");
  } catch (error) {
    if (error instanceof Refused) entry.state = "final";
    say(error.message);
    showProblem(`It could not be undone. ${error.message}`);
  } finally {
    isBusy = false;
    showUndo();
  }
}

// ---- what went wrong ----------------------------------------------------------------------------

const outbox = new Outbox({
  changed: ({ stuck }) => {
    if (stuck.length === 0) return showConnection(true);
    const count = stuck.length === 1 ? "1 decision is" : `${stuck.length} decisions are`;
    const why = stuck.some(entry => entry.problem === "signed-out")
      ? "You are signed out: sign in in another tab, then come back." : "There is no connection.";
    showConnection(false, `${count} not sent yet. ${why} Trying again by itself; keep this page open.`,
      why.startsWith("You are"));
  },
  refused: (entry, error) => {
    returned.push({ entry, error });
    showReturned();
    showUndo();
  },
});

function showConnection(isFine, words = "", isSignedOut = words === "You are signed out.") {
  if (isFine && outbox.stuck.length > 0) return;
  at("unsent").hidden = isFine;
  if (isFine) return;
  at("unsent").querySelector("[data-words]").textContent = words;
  at("unsent").querySelector("a").hidden = !isSignedOut;
}

function showReturned() {
  const first = returned[0];
  at("returned").hidden = first === undefined;
  if (first === undefined) return;
  const what = first.entry.action === "decision" ? `“${first.entry.body.answer}”` : `“${first.entry.action}”`;
  showProblem(`${what} was not taken for the case “${excerpt(first.entry.item)}”: ${first.error.message}`);
  at("returned").querySelector('[data-do="return"]').hidden = false;
}

function showProblem(words) {
  at("returned").hidden = false;
  at("returned").querySelector("[data-words]").textContent = words;
  at("returned").querySelector('[data-do="return"]').hidden = returned.length === 0;
}

function lookAgain() {
  const { entry, error } = returned.shift();
  if (current && current !== entry.item) ahead.unshift(current);
  const mayTryAgain = !error.problem || error.problem === "refused";
  entry.item.isLost = !mayTryAgain;
  show(entry.item);
  notice(`${error.message} What you typed is kept.`);
  showReturned();
}

function lose(item, words) {
  item.isLost = true;
  if (item !== current) {
    const index = ahead.indexOf(item);
    if (index >= 0) ahead.splice(index, 1);
    return fill();
  }
  clearAsk();
  refresh();
  notice(words);
  at("take").querySelector("[data-words]").textContent = "This case is not yours any more.";
  scrollTo(0, 0);
  document.querySelector('[data-do="take"]').focus({ preventScroll: true });
}

async function take() {
  const { typed, id } = current;
  isBusy = true;
  try {
    const item = await claim({ caseId: id });
    if (item === null) throw new Refused("The case cannot be taken any more.");
    await arrive(item);
    if (!isOurs(item)) throw new Refused("The case cannot be taken any more.");
    item.typed = typed;
    show(item);
    say("The case is yours.");
  } catch (error) {
    notice(`${error.message} What you typed is kept.`);
  } finally {
    isBusy = false;
  }
}

// ---- what was typed -----------------------------------------------------------------------------

function saveDraft() {
  if (current) keepDraft(current.id, current.typed);
}

async function saveNote() {
  const { note } = current.typed;
  if (!note) return at("note").focus();
  try {
    await post(`/v1/review/cases/${current.id}/notes`, { text: note });
    dropDraft(current.id);
    location.reload();
  } catch (error) {
    notice(error.message);
  }
}

// ---- here, away, gone ---------------------------------------------------------------------------

const isOurs = item => item?.claim && !item.isLost;
const unsettled = () => [current, ...ahead, ...arriving].filter(isOurs);
const held = () => [...unsettled(), ...[...outbox.entries].map(entry => entry.item).filter(isOurs)];

// The one in sight first: a page that is loaded again at once is likelier to find it.
function giveBack() {
  for (const item of unsettled()) release(item);
  ahead.length = 0;
}

function pauseWork() {
  isAway = true;
  giveBack();
  showOnly("away");
}

function resume() {
  isAway = false;
  if (isQueue) { showOnly("loading"); fill(); } else location.reload();
}

async function keep() {
  for (const { item, error } of await beat(held())) lose(item, error.message);
}

// ---- keys and buttons ---------------------------------------------------------------------------

const actions = {
  ...Object.fromEntries(ANSWERS.map(answer => [answer, () => decide(answer)])),
  skip: () => { act("skip", {}); finish("Skipped."); },
  hold: () => { act("hold", current.typed.note ? { note: current.typed.note } : {}); finish("Held: it waits for you under Mine."); },
  assign: () => { at("assign-to").value = ""; at("assign").showModal(); },
  "close-assign": () => at("assign").close(),
  reveal: () => {
    const isShown = at("picture").querySelector('[data-do="reveal"]').getAttribute("aria-pressed") === "true";
    const isNever = desk.dataset.blur === "false" && desk.dataset.grey === "false";
    hideImage(isShown && (isNever || desk.dataset.blur === "true"), isShown && (isNever || desk.dataset.grey === "true"));
    say(isShown ? "The image is hidden." : "The image is shown.");
  },
  zoom: () => {
    const isFull = at("picture").classList.toggle("full");
    document.querySelector('[data-do="zoom"]').setAttribute("aria-pressed", String(isFull));
  },
  reload: () => {
    const image = at("image");
    at("image-failed").hidden = true;
    image.hidden = false;
    image.src = `${image.src.split("?")[0]}?again=${Date.now()}`;
  },
  note: () => at("note").focus(),
  "save-note": saveNote,
  undo,
  take,
  leave: () => next(),
  return: lookAgain,
  forget: () => { returned.shift(); showReturned(); },
  resume,
  queue: () => { location.href = "/review"; },
  help: () => at("help").showModal(),
};
const DECIDING = new Set([...ANSWERS, "skip", "hold", "assign", "take", "leave", "undo", "return"]);

function run(name) {
  const isTooSoon = performance.now() - shownAt < TOO_SOON_MS && name !== "undo";
  if (DECIDING.has(name) && (isBusy || isTooSoon)) return;
  actions[name]();
}

function onKey(event) {
  touchedAt = performance.now();
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
    clearAsk();
    at("question")?.focus({ preventScroll: true });
    return;
  }
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.repeat) return;
  if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
  if (event.key === "Enter" && asked !== null && event.target.name === "reason") {
    chooseReason(event.target);
    return event.preventDefault();
  }
  if (!at("single-keys").checked) return;
  const key = keyOf(event);
  const reason = document.querySelector(`[data-reason-key="${CSS.escape(key)}"] input`);
  if (reason && current && !isBusy && !event.shiftKey) {
    chooseReason(reason, { again: true });
    return event.preventDefault();
  }
  const button = [...document.querySelectorAll(`[data-key="${CSS.escape(key)}"]`)]
    .find(each => !each.disabled && each.checkVisibility());
  if (button === undefined) return;
  event.preventDefault();
  run(button.dataset.do);
}

function onClick(event) {
  touchedAt = performance.now();
  if (event.target.closest(".picture") && event.target.id === "image") return actions.zoom();
  const button = event.target.closest("[data-do]");
  if (button === null) return;
  if (button.tagName === "A") event.preventDefault();
  run(button.dataset.do);
}

function setKeys(isOn) {
  localStorage.setItem("single-keys", isOn ? "on" : "off");
  at("single-keys").checked = isOn;
  document.documentElement.classList.toggle("no-keys", !isOn);
}

// ---- the beginning ------------------------------------------------------------------------------

document.addEventListener("keydown", onKey);
document.addEventListener("click", onClick);
document.addEventListener("input", saveDraft);
for (const name of ["pointerdown", "pointermove", "scroll"]) {
  addEventListener(name, () => { touchedAt = performance.now(); }, { passive: true });
}
at("slot").addEventListener("click", event => {
  // Arrow keys choose among reasons as well, without a pointer: they must not decide.
  if (event.target.name === "reason" && event.detail > 0 && asked !== null) chooseReason(event.target);
});
at("single-keys").addEventListener("change", event => setKeys(event.target.checked));
at("assign-form").addEventListener("submit", event => {
  event.preventDefault();
  const to = at("assign-to").value.trim();
  at("assign").close();
  act("assign", { to, ...(current.typed.note && { note: current.typed.note }) });
  finish(`Assigned to ${to}.`);
});
document.querySelector('form[action="/review/logout"]').addEventListener("submit", () => sessionStorage.clear());
document.addEventListener("visibilitychange", () => { if (!document.hidden) { keep(); fill(); } });
addEventListener("focus", () => fill());
addEventListener("online", () => fill());
addEventListener("pagehide", () => { isAway = true; giveBack(); });
addEventListener("pageshow", event => { if (event.persisted) location.reload(); });
addEventListener("beforeunload", event => { if (outbox.entries.size > 0 && outbox.stuck.length > 0) event.preventDefault(); });
setInterval(keep, Number(desk.dataset.leaseS) * 250);
setInterval(fill, LOOK_AGAIN_MS);
setInterval(showUndo, 250);
setInterval(() => {
  const isIdle = performance.now() - touchedAt > AWAY_AFTER_MS;
  if (isIdle && !isAway && (isQueue || held().length > 0)) pauseWork();
}, 1000);

setKeys(localStorage.getItem("single-keys") !== "off");
const given = document.querySelector("article.case");
if (given !== null) {
  const item = new Item(given);
  item.typed = readDraft(item.id);
  show(item);
  if (sessionStorage.getItem("take") === item.id) {
    sessionStorage.removeItem("take");
    take();
  }
} else {
  showOnly("loading");
  fill();
}
