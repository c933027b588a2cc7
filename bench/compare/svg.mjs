// @ts-check
/** An SVG document and its pieces. */

/** Text and ground, on a background of the picture's own, light or dark as the reader's system is. */
const STYLE = `
  text { font: 13px ui-sans-serif, system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; fill: #24292f;
    paint-order: stroke; stroke: #ffffff; stroke-width: 3px; stroke-linejoin: round }
  .ground { fill: #ffffff; stroke: #d8dee4 }
  .title { font-size: 19px; font-weight: 600 }
  .panel { font-size: 15px; font-weight: 600 }
  .strong { font-weight: 600 }
  .quiet { fill: #57606a }
  .small { font-size: 12px }
  .grid { stroke: #eaeef2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; stroke: #0d1117 }
    .ground { fill: #0d1117; stroke: #30363d }
    .quiet { fill: #9da7b3 }
    .grid { stroke: #21262d }
  }
`;

/**
 * @param {{ width: number, height: number, title: string, style: string }} head `style`: CSS besides that of text
 * @param {readonly string[]} parts
 * @returns {string}
 */
export function svgDocument({ width, height, title, style }, parts) {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    element("title", {}, escaped(title)),
    `<style>${STYLE}${style}</style>`,
    element("rect", { class: "ground", x: 0.5, y: 0.5, width: width - 1, height: height - 1, rx: 8 }),
    ...parts,
    "</svg>\n",
  ].join("\n");
}

/**
 * @param {number} x
 * @param {number} y
 * @param {string} content
 * @param {string} style
 * @param {"start" | "middle" | "end"} anchor
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
