// @ts-check
/** Values on the command lines of benches. */

/**
 * @param {string} text "a,b,c"
 * @returns {string[]}
 */
export function list(text) {
  const items = text.split(",").map((item) => item.trim());
  if (items.includes("")) throw new RangeError(`"${text}" is no list`);
  return items;
}

/**
 * @param {string} name of the option
 * @param {string} text
 * @param {number} least
 * @returns {number}
 */
export function wholeNumber(name, text, least) {
  const value = Number(text);
  if (/^\d{1,9}$/.test(text) && value >= least) return value;
  throw new RangeError(`--${name}: ${text} is no whole number from ${least}`);
}

/**
 * The items of a list, which must be among those that are known.
 *
 * @param {string} name of the option
 * @param {string} text
 * @param {readonly string[]} known
 * @returns {string[]}
 */
export function choices(name, text, known) {
  const items = list(text);
  const wrong = items.find((item) => !known.includes(item));
  if (wrong !== undefined) throw new RangeError(`--${name}: no ${wrong}; known: ${known.join(", ")}`);
  return items;
}

/**
 * @param {string} [text] "taskset -c 0,1"
 * @returns {string[]}
 */
export function words(text = "") {
  return text.split(" ").filter((word) => word !== "");
}

/**
 * @param {readonly string[]} words
 * @returns {string} as a shell would be given them
 */
export function commandLine(words) {
  const quoted = (/** @type {string} */ word) =>
    /^[\w./,=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
  return words.map(quoted).join(" ");
}

/**
 * What `parse` makes of the command line. One that asks for help, or cannot be meant, ends the process with the usage.
 *
 * @template T
 * @param {string} usage
 * @param {() => T} parse
 * @returns {T}
 */
export function parsedOrExit(usage, parse) {
  if (process.argv.includes("--help")) {
    console.log(usage);
    process.exit(0);
  }
  try {
    return parse();
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${usage}`);
    process.exit(2);
  }
}
