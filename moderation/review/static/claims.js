// Cases that this page has claimed: taking them, keeping them, giving them back.

import { post, Refused } from "./api.js";

// A case is shown without its image rather than not at all.
const LONGEST_WAIT_MS = 10_000;

/** A case on this page. Its node keeps what was typed while the case is out of sight. */
export class Item {
  constructor(node) {
    this.node = node;
    this.id = node.dataset.case;
    this.claim = node.dataset.claim || null;
    this.required = node.dataset.required.split(" ");
    this.isLost = false;
  }

  get typed() {
    const reason = this.node.querySelector('input[name="reason"]:checked')?.value;
    const note = this.node.querySelector("#note")?.value.trim();
    return { ...(reason && { reason }), ...(note && { note }) };
  }

  set typed({ reason, note }) {
    for (const input of this.node.querySelectorAll('input[name="reason"]')) {
      input.checked = input.value === reason;
    }
    const field = this.node.querySelector("#note");
    if (field) field.value = note ?? "";
  }

  /** Whether a reason must be given with this answer. */
  needsReason(answer) {
    return this.required.includes(answer) && this.node.querySelector("#reasons") !== null
      && this.typed.reason === undefined;
  }

  /** The image is ready to be painted, is missing, or was waited for long enough. */
  async decoded() {
    const image = this.node.querySelector("#image");
    if (image === null) return;
    const enough = new Promise(resolve => { setTimeout(resolve, LONGEST_WAIT_MS); });
    await Promise.race([image.decode().catch(() => {}), enough]);
  }
}

/** Claim the next case, or this one; null when there is nothing to do. */
export async function claim({ policy, caseId } = {}) {
  const body = { ...(policy && { policy }), ...(caseId && { case_id: caseId }) };
  const response = await post("/review/next", body);
  if (response.status === 204) return null;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  return new Item(document.adoptNode(page.querySelector("article.case")));
}

/** Give a case back, also from a page that is going away. */
export function release(item) {
  post(`/v1/review/claims/${item.claim}/release`, {}, { keepalive: true }).catch(() => {});
  item.claim = null;
}

/** Tell the server that these are still here; those whose claim has ended, and what it says. */
export async function beat(items) {
  const lost = [];
  await Promise.all(items.map(async item => {
    const beaten = item.claim;
    try {
      await post(`/v1/review/claims/${beaten}/heartbeat`);
    } catch (error) {
      // What was decided meanwhile has no claim to keep.
      if (error instanceof Refused && item.claim === beaten) lost.push({ item, error });
    }
  }));
  return lost;
}
