type Attributes = Readonly<Record<string, string | number | undefined>>;

/** An element of SVG or HTML; `children` are markup already, attributes are escaped. Without children it closes itself. */
export function element(name: string, attributes: Attributes, ...children: readonly string[]): string {
  const written = Object.entries(attributes).flatMap(([key, value]) =>
    value === undefined ? [] : [` ${key}="${typeof value === "number" ? pixels(value) : escaped(value)}"`],
  );
  const start = `<${name}${written.join("")}`;
  return children.length === 0 ? `${start}/>` : `${start}>${children.join("")}</${name}>`;
}

/** A line of text in a picture; `y` is its base line. */
export function text(
  x: number,
  y: number,
  content: string,
  style = "",
  anchor: "start" | "middle" | "end" = "start",
): string {
  const attributes = {
    x,
    y,
    class: style === "" ? undefined : style,
    "text-anchor": anchor === "start" ? undefined : anchor,
  };
  return element("text", attributes, escaped(content));
}

/** In pixels, from the upper left. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** A straight line. */
export function rule(style: string, from: Point, to: Point): string {
  return element("line", { class: style, x1: from.x, y1: from.y, x2: to.x, y2: to.y });
}

/** Text as markup. */
export function escaped(content: string): string {
  return content.replace(/[&<>"]/g, (character) => ENTITIES[character] as string);
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** To a tenth of a pixel. */
export function pixels(value: number): string {
  return String(Math.round(value * 10) / 10);
}

/** A part of a picture, moved. */
export function moved(x: number, y: number, ...parts: readonly string[]): string {
  return element("g", { transform: `translate(${pixels(x)} ${pixels(y)})` }, ...parts);
}

export interface DocumentHead {
  /** Pixels. */
  readonly width: number;
  readonly height: number;
  readonly title: string;
  /** CSS besides that of text and ground. */
  readonly style: string;
}

/** An SVG file, light or dark as the reader's system is, on a ground of its own. */
export function svgDocument({ width, height, title, style }: DocumentHead, parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    element("title", {}, escaped(title)),
    element("style", {}, DOCUMENT_STYLE + style),
    element("rect", { class: "ground", x: 0.5, y: 0.5, width: width - 1, height: height - 1, rx: 8 }),
    ...parts,
    "</svg>\n",
  ].join("\n");
}

/** Text has a rim of the ground's colour, so that lines behind it do not hinder reading. */
const DOCUMENT_STYLE = `
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
