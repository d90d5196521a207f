// Requests to the desk's API; what can go wrong comes as one of three errors.

/** The server said no, and trying again changes nothing; `problem` is one of the API's words. */
export class Refused extends Error {
  constructor(message, problem) {
    super(message);
    this.problem = problem;
  }
}

/** No answer, or none that counts: it is worth trying again. */
export class Unreachable extends Error {}

/** Nobody is signed in any more. */
export class SignedOut extends Unreachable {}

let csrf = document.querySelector('meta[name="csrf"]').content;

/** POST a document; the response of a success. */
export async function post(path, body = {}, options = {}) {
  const used = csrf;
  let response = await send(path, body, options);
  // After signing in again in another tab, this page's token is of a session that has ended.
  if (response.status === 403 && (await isRenewed(used))) response = await send(path, body, options);
  if (response.ok) return response;
  if (response.status === 401) throw new SignedOut("You are signed out.");
  if (response.status >= 500 || response.status === 429) throw new Unreachable("The server is busy.");
  throw await refusal(response);
}

async function send(path, body, options) {
  const headers = {
    "Content-Type": "application/json", "X-CSRF-Token": csrf, "X-Requested-With": "desk",
  };
  try {
    return await fetch(path, { method: "POST", headers, body: JSON.stringify(body), ...options });
  } catch {
    throw new Unreachable("There is no connection.");
  }
}

async function isRenewed(used) {
  const response = await fetch("/review", { headers: { "X-Requested-With": "desk" } }).catch(() => null);
  if (response?.ok) {
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    csrf = page.querySelector('meta[name="csrf"]')?.content ?? csrf;
  }
  return csrf !== used;
}

async function refusal(response) {
  const detail = (await response.json().catch(() => ({}))).detail;
  if (typeof detail === "string") return new Refused(detail, "refused");
  if (Array.isArray(detail)) return new Refused(detail.map(each => each.msg).join("; "), "refused");
  return new Refused(detail?.message ?? `The server answered ${response.status}.`, detail?.problem);
}
