type Attributes = Readonly<Record<string, string | number | undefined>>;

/** An element of SVG or HTML; `children` are markup already, attributes are escaped. */
export function element(name: string, attributes: Attributes, ...children: readonly string[]): string {
  const written = Object.entries(attributes).flatMap(([key, value]) =>
    value === undefined
      ? []
      : [` ${key}="${typeof value === "number" ? coordinate(value) : escaped(value)}"`],
  );
  return `<${name}${written.join("")}>${children.join("")}</${name}>`;
}

/** Text as markup. */
export function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => ENTITIES[character] as string);
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

function coordinate(value: number): string {
  return String(Math.round(value * 100) / 100);
}
