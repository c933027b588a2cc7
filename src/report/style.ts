/** What the page looks like, by day and by night. */
export const STYLE = `
:root { color-scheme: light dark; --ink: #1c2330; --paper: #ffffff; --soft: #667085; --rule: #e4e7ec; --panel: #f8f9fb;
  --none: #475467; --rtn: #d97706; --gptq: #2563eb; --mixed: #0f9d75; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --paper: #12151b; --soft: #98a2b3; --rule: #2a303b; --panel: #1a1f28;
    --none: #cbd5e1; --rtn: #f59e0b; --gptq: #60a5fa; --mixed: #34d399; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1320px;
  margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .75rem; }
.lead { max-width: 52rem; color: var(--soft); margin: 0 0 1rem; }
.small { color: var(--soft); font-size: .85rem; }
.legend { display: flex; gap: 1.25rem; flex-wrap: wrap; font-size: .9rem; }
.key { display: inline-flex; align-items: center; gap: .4rem; }
.key i { width: .7rem; height: .7rem; border-radius: 50%; background: currentColor; }
.key.none i { color: var(--none); } .key.rtn i { color: var(--rtn); }
.key.gptq i { color: var(--gptq); } .key.mixed i { color: var(--mixed); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 1.25rem; }
figure { margin: 0; padding: 1rem; background: var(--panel); border: 1px solid var(--rule); border-radius: 10px; }
figcaption { font-size: .88rem; color: var(--soft); margin-bottom: .6rem; }
figcaption b { color: var(--ink); display: block; font-size: 1rem; }
svg { width: 100%; height: auto; display: block; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
svg .axis { font-size: 12px; } svg .label { fill: var(--ink); }
.grid { stroke: var(--rule); } .diagonal { stroke: var(--soft); stroke-dasharray: 4 4; }
.front { fill: none; stroke: var(--soft); stroke-width: 1.5; }
.mark circle { stroke: var(--panel); stroke-width: 1; } .error { stroke-width: 1.5; opacity: .6; }
.none { --own: var(--none); } .rtn { --own: var(--rtn); } .gptq { --own: var(--gptq); } .mixed { --own: var(--mixed); }
.uniform { --own: var(--soft); }
.mark circle, .bar { fill: var(--own); } .mark .error { stroke: var(--own); }
.mark.prefill circle { fill: var(--panel); stroke: var(--own); stroke-width: 2; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--rule); }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child { text-align: left; }
td:first-child { border-left: 4px solid var(--own); }
pre { background: var(--panel); border: 1px solid var(--rule); border-radius: 8px; padding: .8rem; overflow-x: auto; }
`.trim();
