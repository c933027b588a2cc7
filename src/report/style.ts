import type { Colour } from "../plot/style.ts";
import { plotStyle } from "../plot/style.ts";
import { SERIES } from "./series.ts";

/** Besides the methods: settings that methods share. */
const UNIFORM: Colour = { light: "#7b8496", dark: "#8b95a7" };

const PAGE = `
:root { color-scheme: light dark }
* { box-sizing: border-box }
.mark.prefill circle { fill: var(--panel); stroke: var(--own); stroke-width: 1.75 }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1320px;
  margin: 2rem auto; padding: 0 1.25rem }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
.small { color: var(--soft); font-size: .85rem; margin: 0 0 .75rem }
.headline { font-size: 1.15rem; max-width: 62rem; margin: 1rem 0 }
.partial { border-left: 4px solid var(--rtn); padding-left: .75rem }
.overview { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 0 2.5rem }
.overview ul { margin: 0 0 1rem; padding-left: 1.1rem; color: var(--soft) }
a { color: inherit }
.legend { display: flex; gap: .25rem 1.25rem; flex-wrap: wrap; font-size: .9rem; color: var(--soft); margin: 1rem 0 .5rem }
.key { display: inline-flex; align-items: center; gap: .4rem; color: var(--ink) }
.key i { width: .7rem; height: .7rem; border-radius: 50%; background: var(--own) }
.key.mixed i { border-radius: 1px; rotate: 45deg }
.switch { font-size: .9rem; color: var(--soft); margin-right: .5rem }
input[name=loss] { position: absolute; opacity: 0 }
label { display: inline-block; font-size: .9rem; padding: .15rem .7rem; margin: 0 .25rem .5rem 0; cursor: pointer;
  border: 1px solid var(--rule); border-radius: 1rem }
:checked + label { background: var(--ink); border-color: var(--ink); color: var(--paper) }
:focus-visible + label, a:focus-visible { outline: 2px solid var(--gptq); outline-offset: 2px }
.loss { display: none }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 1.25rem }
figure { margin: 0; padding: 1rem; background: var(--panel); border: 1px solid var(--rule); border-radius: 10px; min-width: 0 }
figcaption { font-size: .88rem; color: var(--soft); margin-bottom: .5rem }
figcaption b { color: var(--ink); display: block; font-size: 1rem }
svg { width: 100%; max-width: 600px; height: auto; display: block; margin: 0 auto; font-family: system-ui, sans-serif }
a.mark:hover, a.mark:focus-visible { outline: none }
a.mark:hover circle, a.mark:hover path, a.mark:focus-visible circle, a.mark:focus-visible path { stroke: var(--ink); stroke-width: 2 }
.wide { overflow-x: auto; margin-bottom: 1rem }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; white-space: nowrap }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--rule) }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; white-space: normal }
.all th:first-child, .all td:first-child, .choices td:nth-child(2), .choices th:nth-child(2) { text-align: left }
.all td:first-child { border-left: 4px solid var(--own) }
.all th:first-child, .all td:first-child { position: sticky; left: 0; background: var(--paper) }
.best td:first-child { font-weight: 700 }
tr:hover td { background: var(--panel) } tr:target td { background: color-mix(in srgb, var(--own) 18%, var(--paper)) }
.reason { text-align: left; white-space: normal; color: var(--soft) }
pre { background: var(--panel); border: 1px solid var(--rule); border-radius: 8px; padding: .8rem; overflow-x: auto; font-size: .8rem }
summary { cursor: pointer }
@media (max-width: 560px) {
  body { margin: 1rem auto; padding: 0 .75rem } figure { padding: .75rem .5rem } h1 { font-size: 1.35rem }
  .headline { font-size: 1.05rem }
}
`;

/** The style of a page with so many ways to look at accuracy, of which one is shown. */
export function pageStyle(losses: number): string {
  const colours = Object.entries(SERIES).map(([method, { colour }]) => [method, colour]);
  const shown = Array.from({ length: losses }, (_, i) => `#loss${i}:checked ~ .plots .loss${i}`);
  const plots = plotStyle({ ...Object.fromEntries(colours), uniform: UNIFORM });
  return `${plots}${PAGE}${shown.join(", ")} { display: block }`;
}
