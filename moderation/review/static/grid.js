// The grid: many cases are selected and decided together, and undone together.
//
// Cards keep their place after a decision: what is under the pointer must not become another case.

import { post, Unreachable } from "./api.js";

const ANSWERS = ["mismatch", "match", "unsure", "escalate"];

const at = id => document.getElementById(id);
const grid = at("grid");
const cards = [...grid.querySelectorAll(".card")];
const reasonsOf = JSON.parse(grid.dataset.reasons);
const undoMs = Number(grid.dataset.undoS) * 1000;
const singleKeys = localStorage.getItem("single-keys") !== "off";

const batches = []; // what can be undone: {id, cards, words, until}, the last one at the end
let anchor = cards[0]; // where a range begins
let asked = null; // the answer that waits for a reason
let isBusy = false;

// ---- selecting ----------------------------------------------------------------------------------

const isOpen = card => !card.classList.contains("decided");
const isSelected = card => card.getAttribute("aria-selected") === "true";
const selected = () => cards.filter(isSelected);

function select(chosen, isOn) {
  for (const card of chosen) if (isOpen(card)) card.setAttribute("aria-selected", String(isOn));
  refresh();
}

function range(from, to) {
  const [low, high] = [cards.indexOf(from), cards.indexOf(to)].sort((a, b) => a - b);
  return cards.slice(low, high + 1);
}

function refresh() {
  const chosen = selected();
  at("chosen").textContent = chosen.length ? `${chosen.length} selected` : "None selected";
  for (const answer of ANSWERS) {
    const button = document.querySelector(`[data-do="${answer}"]`);
    if (button) button.disabled = chosen.length === 0 || isBusy;
  }
  showReasons(chosen);
}

function focusOn(card) {
  for (const each of cards) each.tabIndex = each === card ? 0 : -1;
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "nearest" });
}

function move(key, extend) {
  const from = cards.indexOf(document.activeElement);
  if (from < 0) return focusOn(cards.find(card => card.tabIndex === 0) ?? cards[0]);
  const columns = cards.filter(card => card.offsetTop === cards[0].offsetTop).length;
  const forward = getComputedStyle(grid).direction === "rtl" ? -1 : 1;
  const step = { ArrowLeft: -forward, ArrowRight: forward, ArrowUp: -columns, ArrowDown: columns }[key];
  const to = key === "Home" ? 0 : key === "End" ? cards.length - 1 : from + step;
  if (to < 0 || to >= cards.length) return;
  if (extend) select(range(cards[from], cards[to]), true);
  else anchor = cards[to];
  focusOn(cards[to]);
}

// ---- reasons ------------------------------------------------------------------------------------

const policiesOf = chosen => [...new Set(chosen.map(card => card.dataset.policy))];

function commonReasons(chosen) {
  const lists = policiesOf(chosen).map(policy => reasonsOf[policy].reasons);
  return (lists[0] ?? []).filter(({ key }) => lists.every(list => list.some(each => each.key === key)));
}

function showReasons(chosen) {
  const field = at("reason");
  const before = field.value;
  const options = commonReasons(chosen).map(({ key, label }, index) =>
    new Option(index < 9 && singleKeys ? `${index + 1} · ${label}` : label, key));
  field.replaceChildren(new Option("no reason", ""), ...options);
  field.value = options.some(({ value }) => value === before) ? before : "";
  field.disabled = options.length === 0;
  if (chosen.length === 0) stopAsking();
}

function needsReason(answer, chosen) {
  return policiesOf(chosen).some(policy => reasonsOf[policy].required_for.includes(answer));
}

function ask(answer, chosen) {
  const count = commonReasons(chosen).length;
  asked = count ? answer : null;
  at("ask").textContent = count
    ? `Why ${answer}? Choose a reason${singleKeys ? ", or press its number" : ""}.`
    : `${answer} needs a reason, and these policies have none in common: select cases of one policy.`;
  at("ask").hidden = false;
  if (count) at("reason").focus();
}

function stopAsking() {
  asked = null;
  at("ask").hidden = true;
}

function chooseReason(value) {
  at("reason").value = at("reason").value === value ? "" : value;
  answerAsked();
}

function answerAsked() {
  if (asked !== null && at("reason").value) decide(asked);
}

// ---- deciding -----------------------------------------------------------------------------------

async function decide(answer) {
  const chosen = selected();
  if (isBusy || chosen.length === 0) return;
  const reason = at("reason").value;
  if (!reason && answer !== "escalate" && needsReason(answer, chosen)) return ask(answer, chosen);
  stopAsking();
  await busy(async () => {
    const body = { case_ids: chosen.map(card => card.dataset.case), answer, ...(reason && { reason }) };
    const said = await (await post("/v1/review/decisions", body)).json();
    const refused = new Map(said.refused.map(each => [each.case_id, each.message]));
    const decided = chosen.filter(card => !refused.has(card.dataset.case));
    for (const card of chosen) mark(card, decided.includes(card) ? answer : null, refused.get(card.dataset.case));
    const words = `${count(decided)} decided: ${answer}.`;
    if (decided.length) {
      batches.push({ id: said.batch_id, cards: decided, words, until: performance.now() + undoMs });
    }
    at("reason").value = "";
    say(`${words}${refused.size ? ` ${count([...refused])} not: the reason is on each.` : ""}`);
    const next = cards.slice(cards.indexOf(chosen.at(-1))).find(isOpen) ?? cards.find(isOpen);
    if (next) { anchor = next; focusOn(next); }
  });
}

function mark(card, answer, refusal) {
  card.setAttribute("aria-selected", "false");
  card.classList.toggle("decided", answer !== null);
  card.setAttribute("aria-disabled", String(answer !== null));
  const stamp = card.querySelector("[data-stamp]");
  stamp.hidden = answer === null;
  stamp.className = `stamp ${answer ?? ""}`;
  stamp.textContent = answer ?? "";
  const note = card.querySelector("[data-refusal]");
  note.hidden = refusal === undefined;
  note.textContent = refusal ?? "";
}

async function undo() {
  const batch = batches.at(-1);
  if (batch === undefined || isBusy) return;
  await busy(async () => {
    const said = await (await post(`/v1/review/decisions/batches/${batch.id}/undo`)).json();
    batches.pop();
    const kept = new Map(said.refused.map(each => [each.case_id, each.message]));
    const back = batch.cards.filter(card => !kept.has(card.dataset.case));
    for (const card of back) mark(card, null);
    select(back, true);
    if (back.length) focusOn(back[0]);
    if (kept.size) showProblem(`${count([...kept])} stayed decided. ${[...new Set(kept.values())].join(" ")}`);
    say(`Undone: ${count(back)} back, and selected.`);
  });
}

async function busy(work) {
  isBusy = true;
  grid.setAttribute("aria-busy", "true");
  at("problem").hidden = true;
  refresh();
  try {
    await work();
  } catch (error) {
    showProblem(error instanceof Unreachable
      ? `${error.message} Your selection is kept: try again.` : error.message);
  } finally {
    isBusy = false;
    grid.removeAttribute("aria-busy");
    refresh();
    showUndo();
  }
}

function showUndo() {
  while (batches.length && performance.now() >= batches.at(-1).until) batches.pop();
  const batch = batches.at(-1);
  at("undo-all").hidden = batch === undefined;
  at("finished").hidden = batch !== undefined || cards.some(isOpen);
  if (batch === undefined) return;
  const words = at("undo-all").querySelector("[data-words]");
  if (words.textContent !== batch.words) words.textContent = batch.words;
  at("undo-all").querySelector("[data-left]").textContent = `${Math.ceil((batch.until - performance.now()) / 1000)} s`;
}

// ---- what is said -------------------------------------------------------------------------------

const count = list => `${list.length} ${list.length === 1 ? "case" : "cases"}`;

function say(words) {
  at("spoken").textContent = words;
}

function showProblem(words) {
  at("problem").hidden = false;
  at("problem").querySelector("[data-words]").textContent = words;
}

function hideImages(blur, grey) {
  grid.classList.toggle("blur", blur);
  grid.classList.toggle("grey", grey);
  document.querySelector('[data-do="reveal"]').setAttribute("aria-pressed", String(!blur && !grey));
}

function reveal() {
  const wasShown = !grid.classList.contains("blur") && !grid.classList.contains("grey");
  const isNever = grid.dataset.blur === "false" && grid.dataset.grey === "false";
  hideImages(wasShown && (isNever || grid.dataset.blur === "true"), wasShown && (isNever || grid.dataset.grey === "true"));
  say(wasShown ? "The images are hidden." : "The images are shown.");
}

// ---- keys and clicks ----------------------------------------------------------------------------

const actions = {
  ...Object.fromEntries(ANSWERS.map(answer => [answer, () => decide(answer)])),
  undo,
  reveal,
  all: () => { select(cards, true); say(at("chosen").textContent); },
  help: () => at("help").showModal(),
  "close-problem": () => { at("problem").hidden = true; },
};

/** The key as it is on a Latin keyboard: letters of other scripts lie on the same keys. */
function keyOf(event) {
  if (/^[\x21-\x7e]$/.test(event.key) && !/^(Digit|Numpad)\d$/.test(event.code)) return event.key.toLowerCase();
  return event.code.replace(/^(Key|Digit|Numpad)/, "").toLowerCase();
}

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") {
    stopAsking();
    select(cards, false);
    return say("None selected.");
  }
  const isReason = event.target === at("reason");
  if (event.target.closest("input, textarea, select") && !(isReason && asked !== null)) return;
  const card = event.target.closest(".card");
  if (/^(Arrow|Home$|End$)/.test(event.key) && !isReason && (card || event.target === document.body)) {
    event.preventDefault();
    return move(event.key, event.shiftKey);
  }
  if (card && (event.key === " " || event.key === "Enter")) {
    event.preventDefault();
    if (event.key === "Enter") return open(`/review/cases/${card.dataset.case}`, "_blank", "noopener");
    anchor = card;
    select([card], !isSelected(card));
    return say(at("chosen").textContent);
  }
  if (!singleKeys || event.repeat) return;
  const key = keyOf(event);
  const reason = /^[1-9]$/.test(key) && !event.shiftKey && at("reason").options[Number(key)];
  if (reason) {
    event.preventDefault();
    return chooseReason(reason.value);
  }
  const button = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (!button?.checkVisibility()) return;
  event.preventDefault();
  if (button.disabled) return say("Select cases first.");
  actions[button.dataset.do]();
}

function onClick(event) {
  const button = event.target.closest("[data-do]");
  if (button !== null) return actions[button.dataset.do]();
  const card = event.target.closest(".card");
  if (card === null) return;
  if (event.shiftKey && anchor) select(range(anchor, card), true);
  else select([card], !isSelected(card));
  anchor = card;
  focusOn(card);
  say(at("chosen").textContent);
}

document.addEventListener("keydown", onKey);
document.addEventListener("click", onClick);
at("reason").addEventListener("change", answerAsked);
for (const image of grid.querySelectorAll("img")) {
  const failed = () => {
    const words = document.createElement("span");
    words.className = "muted";
    words.textContent = "The image does not load.";
    image.replaceWith(words);
  };
  if (image.complete && image.naturalWidth === 0 && image.currentSrc) failed();
  else image.addEventListener("error", failed);
}
document.documentElement.classList.toggle("no-keys", !singleKeys);
hideImages(grid.dataset.blur === "true", grid.dataset.grey === "true");
refresh();
setInterval(showUndo, 250);
