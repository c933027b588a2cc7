// @ts-check
/** Pieces of an SVG document. */

/**
 * @param {number} x
 * @param {number} y
 * @param {string} content
 * @param {string} style
 * @param {"start" | "middle"} anchor
 * @returns {string}
 */
export function text(x, y, content, style = "", anchor = "start") {
  const attributes = { x, y, ...(style === "" ? {} : { class: style }) };
  return element(
    "text",
    anchor === "start" ? attributes : { ...attributes, "text-anchor": anchor },
    escaped(content),
  );
}

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @param {string} [content]
 * @returns {string}
 */
export function element(name, attributes, content) {
  const pairs = Object.entries(attributes).map(([key, value]) => {
    const shown = typeof value === "number" ? String(Number(value.toFixed(1))) : value;
    return ` ${key}="${escaped(shown)}"`;
  });
  const start = `<${name}${pairs.join("")}`;
  return content === undefined ? `${start}/>` : `${start}>${content}</${name}>`;
}

/**
 * @param {string} content
 * @returns {string}
 */
export function escaped(content) {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
