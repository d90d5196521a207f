// What was decided and not answered yet: sent at once, and again until there is an answer.

import { post, Refused, SignedOut } from "./api.js";

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 15000;

/** Something done to a case; `answered` resolves to what the server said, or to null if refused. */
class Entry {
  constructor(item, action, body) {
    Object.assign(this, { item, action, body, tries: 0, state: "sending", problem: null });
    this.answered = new Promise(resolve => { this.answer = resolve; });
  }
}

export class Outbox {
  entries = new Set();

  /** `changed(outbox)` is told of every change, `refused(entry, error)` of what the server took not. */
  constructor({ changed, refused }) {
    Object.assign(this, { changed, refused });
  }

  /** Send an action on a claimed case, for as long as it takes. */
  add(item, action, body) {
    const entry = new Entry(item, action, body);
    this.entries.add(entry);
    this.#deliver(entry);
    return entry;
  }

  /** Those that had to be tried more than once, and are not through. */
  get stuck() {
    return [...this.entries].filter(entry => entry.tries > 0);
  }

  async #deliver(entry) {
    for (;;) {
      try {
        // Kept alive: who goes to another page at once still has decided.
        const path = `/v1/review/claims/${entry.item.claim}/${entry.action}`;
        const response = await post(path, entry.body, { keepalive: true });
        const said = response.status === 204 ? {} : await response.json();
        entry.state = "sent";
        entry.answer(said);
        break;
      } catch (error) {
        // What came through although no answer came back; a decision sent again is answered again.
        if (error.problem === "claim_ended" && entry.tries > 0 && entry.action !== "decision") {
          entry.state = "sent";
          entry.answer({});
          break;
        }
        if (error instanceof Refused) {
          entry.state = "refused";
          entry.answer(null);
          this.refused(entry, error);
          break;
        }
        entry.tries += 1;
        entry.problem = error instanceof SignedOut ? "signed-out" : "unreachable";
        this.changed(this);
        await pause(Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (entry.tries - 1)));
      }
    }
    this.entries.delete(entry);
    this.changed(this);
  }
}

/** Wait so long, or until the connection or the person is back. */
function pause(ms) {
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      removeEventListener("focus", done);
      resolve();
    };
    const timer = setTimeout(done, ms * (0.8 + 0.4 * Math.random()));
    addEventListener("online", done);
    addEventListener("focus", done);
  });
}
