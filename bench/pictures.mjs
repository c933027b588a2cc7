/** The pictures of the benches of single projections. */
import { logAxis } from "../dist/plot/axis.js";
import { BARS_WIDTH, bars, barsHeight } from "../dist/plot/bars.js";
import { picture } from "../dist/plot/picture.js";
import { SCATTER, scatter } from "../dist/plot/scatter.js";
import { digits } from "./statistics.mjs";

const COLOURS = [
  { light: "#1a7f64", dark: "#2fb38e" },
  { light: "#3f72c0", dark: "#6f9fe8" },
  { light: "#b4602a", dark: "#e0935c" },
];

const series = (names) => names.map((name, i) => ({ key: `s${i}`, name, colour: COLOURS[i] }));

/** Predicted and measured milliseconds; `marks`: of one token (series `s0`), of up to 16 (`s1`), of more (`s2`). */
export function modelPicture(marks) {
  const axis = logAxis(marks.flatMap(({ x, y }) => [x, y]));
  const scale = (label) => ({ label, axis, format: String });
  const plot = { x: scale("predicted, ms"), y: scale("measured, ms"), marks, diagonal: true };
  return picture({
    title: "One projection: predicted and measured time",
    series: series(["1 token", "4 to 16 tokens", "64 and 256 tokens"]),
    panels: [{ ...SCATTER, parts: scatter(plot) }],
  });
}

/** Misses of the three caches, on a logarithmic axis; `results`: {name, values} of each variant, in millions. */
export function missesPicture(title, results) {
  const { place } = logAxis(results.flatMap(({ values }) => values));
  const plot = {
    groups: results.map(({ name, values }) => ({
      name,
      bars: values.map((value, i) => ({ share: place(value), text: digits(value), series: `s${i}` })),
    })),
  };
  return picture({
    title,
    series: series(["L1", "L2", "L3"]),
    note: "logarithmic",
    panels: [{ width: BARS_WIDTH, height: barsHeight(plot), parts: bars(plot) }],
  });
}
