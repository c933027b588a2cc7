import { defaultActivations } from "../dist/plan/activations.js";
import { candidates } from "../dist/plan/candidates.js";
import { formatNamed } from "../dist/quant/formats.js";

/** format, outputs, inputs, tokens, threads (, activations): shapes of 1.1B and 7B Llamas, decode to prefill. */
const CELLS = [
  ["Q4_0", 4096, 4096, 1, 1],
  ["4bit-g128", 11008, 4096, 1, 1],
  ["4bit-g128", 11008, 4096, 1, 2],
  ["3bit-g128", 11008, 4096, 1, 1],
  ["2bit-g128", 4096, 11008, 1, 1],
  ["2bit-g128", 11008, 4096, 1, 2],
  ["Q8_0", 5632, 2048, 1, 2],
  ["Q4_0", 11008, 4096, 4, 1],
  ["3bit-g128", 4096, 4096, 4, 2],
  ["Q8_0", 2048, 5632, 8, 1],
  ["2bit-g128", 4096, 4096, 16, 1],
  ["4bit-g128", 4096, 11008, 16, 2],
  ["4bit-g128", 4096, 4096, 16, 1, "f32"],
  ["Q4_0", 4096, 4096, 64, 1],
  ["Q4_0", 11008, 4096, 64, 2],
  ["Q4_1", 5632, 2048, 64, 1],
  ["4bit-g128", 4096, 4096, 64, 1],
  ["3bit-g128", 5632, 2048, 64, 1],
  ["2bit-g128", 2048, 5632, 64, 2],
  ["Q8_0", 2048, 5632, 64, 1],
  ["F16", 2048, 5632, 64, 1],
  ["Q4_0", 2048, 5632, 256, 1],
  ["4bit-g128", 5632, 2048, 256, 2],
  ["Q8_0", 5632, 2048, 256, 1],
];

/** The cells that the model is validated on. */
export const cells = CELLS.map(([name, rows, cols, tokens, threads, activations = "int8"]) => {
  const format = formatNamed(name);
  return {
    name: `${name}${activations === "f32" ? " f32" : ""} ${rows} x ${cols}, ${tokens} tokens, ${threads} threads`,
    shape: {
      format,
      rows,
      cols,
      activations: activations === "f32" ? { kind: "f32" } : defaultActivations(format, cols),
    },
    tokens,
    threads,
  };
});

/** Every legal blocking of a cell; for one token also those in blocks, which the planner leaves out. */
export function legalBlockings(isa, { shape, tokens }) {
  return candidates(isa, shape, Math.max(2, tokens)).filter(({ nu }) => nu <= tokens);
}
