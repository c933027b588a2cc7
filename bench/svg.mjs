const SIZE = { width: 560, height: 520 };
const FRAME = { left: 70, top: 40, right: 540, bottom: 460 };
const COLOURS = ["#1f77b4", "#d95f02", "#2ca02c", "#7b3294"];
const TEXT = 'font-family="sans-serif" font-size="12" fill="#222"';

/** Points on two logarithmic axes of equal range, with the diagonal; `series`: [{title, points: [x, y][]}]. */
export function scatterPlot({ title, x, y, series }) {
  const all = series.flatMap(({ points }) => points.flat());
  const [low, high] = [Math.floor(Math.log10(Math.min(...all))), Math.ceil(Math.log10(Math.max(...all)))];
  const across = (value) =>
    FRAME.left + ((Math.log10(value) - low) / (high - low)) * (FRAME.right - FRAME.left);
  const up = (value) =>
    FRAME.bottom - ((Math.log10(value) - low) / (high - low)) * (FRAME.bottom - FRAME.top);
  const decades = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
  const line = (x1, y1, x2, y2, colour) =>
    `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" stroke="${colour}"/>`;
  const text = (at, top, anchor, words) =>
    `<text x="${at.toFixed(1)}" y="${top.toFixed(1)}" text-anchor="${anchor}" ${TEXT}>${words}</text>`;
  const middle = (FRAME.left + FRAME.right) / 2;
  return svg(title, [
    text(middle, 22, "middle", title),
    ...decades.flatMap((value) => [
      line(across(value), FRAME.top, across(value), FRAME.bottom, "#ddd"),
      line(FRAME.left, up(value), FRAME.right, up(value), "#ddd"),
      text(across(value), FRAME.bottom + 18, "middle", Number(value.toPrecision(1))),
      text(FRAME.left - 8, up(value) + 4, "end", Number(value.toPrecision(1))),
    ]),
    line(FRAME.left, FRAME.bottom, FRAME.right, FRAME.top, "#888"),
    text(middle, FRAME.bottom + 42, "middle", x),
    `<text transform="translate(18 ${(FRAME.top + FRAME.bottom) / 2}) rotate(-90)" text-anchor="middle" ${TEXT}>${y}</text>`,
    ...series.flatMap(({ title: name, points }, i) => [
      ...points.map(
        ([px, py]) =>
          `<circle cx="${across(px).toFixed(1)}" cy="${up(py).toFixed(1)}" r="3" fill="${COLOURS[i]}" fill-opacity="0.5"/>`,
      ),
      `<circle cx="${FRAME.left + 16}" cy="${FRAME.top + 16 + 18 * i}" r="4" fill="${COLOURS[i]}"/>`,
      text(FRAME.left + 26, FRAME.top + 20 + 18 * i, "start", name),
    ]),
  ]);
}

/** Bars side by side in groups, on a logarithmic axis; `series`: [{title, values: one for each group}]. */
export function barChart({ title, groups, series }) {
  const all = series.flatMap(({ values }) => values).filter((value) => value > 0);
  const [low, high] = [Math.floor(Math.log10(Math.min(...all))), Math.ceil(Math.log10(Math.max(...all)))];
  const share = (value) => Math.max(0, (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low));
  const up = (value) => FRAME.bottom - share(value) * (FRAME.bottom - FRAME.top);
  const width = (FRAME.right - FRAME.left) / groups.length;
  const bar = (0.8 * width) / series.length;
  const text = (at, top, anchor, words) =>
    `<text x="${at.toFixed(1)}" y="${top.toFixed(1)}" text-anchor="${anchor}" ${TEXT}>${words}</text>`;
  const decades = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
  return svg(title, [
    text((FRAME.left + FRAME.right) / 2, 22, "middle", title),
    ...decades.flatMap((value) => [
      `<line x1="${FRAME.left}" x2="${FRAME.right}" y1="${up(value)}" y2="${up(value)}" stroke="#ddd"/>`,
      text(FRAME.left - 8, up(value) + 4, "end", Number(value.toPrecision(1))),
    ]),
    ...groups.flatMap((group, g) => {
      const left = FRAME.left + g * width + 0.1 * width;
      const bars = series.map(({ values }, i) => {
        const top = up(values[g]);
        const [x, height] = [left + i * bar, FRAME.bottom - top];
        return `<rect x="${x.toFixed(1)}" y="${top.toFixed(1)}" width="${(0.9 * bar).toFixed(1)}" height="${height.toFixed(1)}" fill="${COLOURS[i]}"/>`;
      });
      return [...bars, text(left + 0.4 * width, FRAME.bottom + 18, "middle", group)];
    }),
    ...series.flatMap(({ title: name }, i) => [
      `<rect x="${FRAME.left + 90 * i}" y="${FRAME.bottom + 32}" width="12" height="12" fill="${COLOURS[i]}"/>`,
      text(FRAME.left + 90 * i + 18, FRAME.bottom + 43, "start", name),
    ]),
  ]);
}

function svg(title, parts) {
  const { width, height } = SIZE;
  const head = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">`;
  return `${[head, `<title>${title}</title>`, `<rect width="${width}" height="${height}" fill="#fff"/>`, ...parts, "</svg>"].join("\n")}\n`;
}
