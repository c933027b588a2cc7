/** A colour by day and by night. */
export interface Colour {
  readonly light: string;
  readonly dark: string;
}

const INK: Readonly<Record<string, Colour>> = {
  ink: { light: "#1c2330", dark: "#e6e9ef" },
  paper: { light: "#ffffff", dark: "#12151b" },
  soft: { light: "#5b6576", dark: "#98a2b3" },
  rule: { light: "#e4e7ec", dark: "#2a303b" },
  panel: { light: "#f8f9fb", dark: "#1a1f28" },
};

const PLOTS = `
.tick, .axis, .note { fill: var(--soft); font-size: 12px } .axis { font-size: 12.5px }
.label { fill: var(--ink); font-size: 12px }
.label, .tick { paint-order: stroke; stroke: var(--panel); stroke-width: 3px; stroke-linejoin: round }
.grid { stroke: var(--rule) } .diagonal, .reference { stroke: var(--soft); stroke-dasharray: 4 4 }
.front { fill: none; stroke: var(--soft); stroke-width: 2; stroke-opacity: .55; stroke-linejoin: round }
.leader { stroke: var(--soft); stroke-width: .75 }
.spread { stroke: var(--own); stroke-width: 1.5; stroke-opacity: .45 }
.mark circle, .mark path { fill: var(--own); stroke: var(--panel); stroke-width: 1 }
.mark text { fill: var(--panel); font-size: 10px; font-weight: 700; stroke: none; text-anchor: middle }
.bar { fill: var(--own) }
`;

/** CSS for everything in plots, with a class for each series, in its colour (`--own`), and the names of the common colours. */
export function plotStyle(series: Readonly<Record<string, Colour>>): string {
  const named = { ...INK, ...series };
  const values = (scheme: keyof Colour) =>
    Object.entries(named)
      .map(([name, colour]) => `--${name}: ${colour[scheme]};`)
      .join(" ");
  const classes = Object.keys(series).map((name) => `.${name} { --own: var(--${name}) }`);
  return [
    `:root { ${values("light")} }`,
    `@media (prefers-color-scheme: dark) { :root { ${values("dark")} } }`,
    classes.join(" ") + PLOTS,
  ].join("\n");
}
