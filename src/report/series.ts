import type { Series } from "../plot/picture.ts";
import { METHODS, type Method, type Report } from "./report.ts";

/** How rows of a method are called and drawn. */
export const SERIES: Readonly<Record<Method, Omit<Series, "key">>> = {
  none: { name: "as it is", colour: { light: "#475467", dark: "#cbd5e1" } },
  rtn: { name: "round to nearest", colour: { light: "#c2610a", dark: "#f59e0b" } },
  gptq: { name: "GPTQ", colour: { light: "#2563eb", dark: "#6aa8ff" } },
  mixed: { name: "bits per module, within a budget", colour: { light: "#0a8a66", dark: "#34d399" } },
};

/** Those that a report has rows of. */
export function seriesOf({ rows }: Report): (Series & { readonly key: Method })[] {
  const used = METHODS.filter((method) => rows.some((row) => row.method === method));
  return used.map((key) => ({ key, ...SERIES[key] }));
}
