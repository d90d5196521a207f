// Which key is meant, and whether it is meant for the page.

/** The key as it is on a Latin keyboard: letters of other scripts lie on the same keys. */
export function keyOf(event) {
  if (/^[\x21-\x7e]$/.test(event.key) && !/^(Digit|Numpad)\d$/.test(event.code)) return event.key.toLowerCase();
  return event.code.replace(/^(Key|Digit|Numpad)/, "").toLowerCase();
}

/** Whether keys belong to a field. */
export const isTyping = target => target.closest?.('textarea, select, [contenteditable], input:not([type="radio"], [type="checkbox"])');
