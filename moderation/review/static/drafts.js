// What was typed and not sent yet: it stays in this tab, also when the page is loaded again.

const keyOf = id => `draft:${id}`;

/** Keep what was typed on a case, or forget it where nothing was. */
export function keepDraft(id, typed) {
  if (Object.keys(typed).length) sessionStorage.setItem(keyOf(id), JSON.stringify(typed));
  else dropDraft(id);
}

/** What was typed on a case before. */
export function readDraft(id) {
  return JSON.parse(sessionStorage.getItem(keyOf(id)) ?? "{}");
}

/** Forget it: it was sent. */
export function dropDraft(id) {
  sessionStorage.removeItem(keyOf(id));
}
