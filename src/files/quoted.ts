const LONGEST = 80;

/**
 * A name out of a file, made fit for a message: quoted, cut to 80 characters, and with everything but printable
 * ASCII escaped (a hostile name could otherwise hold terminal control codes).
 */
export function quoted(name: string): string {
  const text = name.length > LONGEST ? `${name.slice(0, LONGEST)}…` : name;
  const escaped = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(text).replace(/[^\x20-\x7e…]/g, escaped);
}
