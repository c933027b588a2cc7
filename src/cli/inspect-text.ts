import type { ModelConfig, RopeConfig } from "../models/model.ts";
import { bytesText, digits } from "../plan/text.ts";
import { columns, formatCount, formatLarge, oneLine } from "./format.ts";
import type { Inspection, MemoryNeed, MetadataValue, TensorSummary } from "./inspect-model.ts";

/** What `qigen inspect` prints for people, lines at most `width` wide where they can be cut. */
export function inspectionText(found: Inspection, width: number): string {
  const { file, config, tensors, memory } = found;
  const parts = [
    columns([
      ["file", oneLine(file.path, 4096)],
      ["size", `${bytesText(file.bytes)}${containerText(file)}`],
      ["architecture", oneLine(found.architecture, 80)],
      ...found.notices.map((line) => ["note", oneLine(line, 400)]),
      ["runs", found.supported ? "yes" : `no: ${oneLine(found.reason ?? "", 400)}`],
    ]),
    ...(config === undefined ? [] : [`Dimensions\n${dimensions(config)}`]),
    tensors.count === 0 ? "No tensors\n" : `Tensors\n${tensorTable(tensors)}`,
    ...(tensors.list === undefined ? [] : [`Tensors by name\n${tensorList(tensors.list)}`]),
    ...(memory === undefined ? [] : [memoryTable(memory)]),
    `Metadata\n${metadataTable(found.metadata, width)}`,
  ];
  return parts.join("\n");
}

function containerText({ files, ggufVersion }: Inspection["file"]): string {
  const version = ggufVersion === undefined ? "" : `, GGUF version ${ggufVersion}`;
  return files > 1 ? `${version}, ${files} files` : version;
}

function dimensions(config: ModelConfig): string {
  const { experts } = config;
  const rows = [
    ["layers", formatCount(config.layers)],
    ["hidden size", formatCount(config.hiddenSize)],
    ["feed-forward size", formatCount(config.intermediateSize)],
    ...(experts === undefined ? [] : [["experts", `${experts.count}, a token passes ${experts.used}`]]),
    ["heads", `${config.heads} of ${config.headDim}, ${config.kvHeads} for keys and values`],
    ["vocabulary", formatCount(config.vocabularySize)],
    ["trained context", formatCount(config.contextLength)],
    config.rope === undefined ? ["positions", "learned"] : ["rope", ropeText(config.rope, config.headDim)],
  ];
  return columns(rows, [], "  ");
}

function ropeText({ base, rotated, scaling }: RopeConfig, headDim: number): string {
  const factor = "factor" in scaling ? ` × ${scaling.factor}` : "";
  const how = scaling.kind === "none" ? "" : `, ${scaling.kind}${factor}`;
  return `base ${formatCount(base)}, ${rotated} of ${headDim} dimensions${how}`;
}

function tensorTable({ types, count, weights, bytes, bitsPerWeight }: TensorSummary): string {
  const row = (name: string, n: number, w: number, b: number, bits: number, kernels: string) => [
    name,
    formatCount(n),
    formatLarge(w),
    bytesText(b),
    digits(bits),
    kernels,
  ];
  const rows = types.map((t) =>
    row(t.type, t.tensors, t.weights, t.bytes, t.bitsPerWeight, t.kernels ? "yes" : "no"),
  );
  const head = ["type", "tensors", "weights", "bytes", "bits/weight", "kernels"];
  const sum = row("all", count, weights, bytes, bitsPerWeight, "");
  const table = columns([head, ...rows, ...(types.length === 1 ? [] : [sum])], [1, 2, 3, 4], "  ");
  return table + types.map(repackedLine).join("");
}

function repackedLine({ type, bytes, repacked }: TensorSummary["types"][number]): string {
  if (repacked === undefined) return "";
  const more = bytesText(repacked.bytes - bytes);
  return `  ${type} is re-packed, without loss, to ${digits(repacked.bitsPerWeight)} bits/weight as it loads: ${more} more\n`;
}

function tensorList(list: NonNullable<TensorSummary["list"]>): string {
  const rows = list.map(({ name, type, shape, bytes }) => [
    oneLine(name, 60),
    type,
    shape.join(" × "),
    bytesText(bytes),
  ]);
  return columns(rows, [3], "  ");
}

function memoryTable(memory: MemoryNeed): string {
  const { backend, isa, contextLength, kv, weights, kvCache, working, total } = memory;
  const rows = [
    ["weights, packed", bytesText(weights)],
    [`KV cache (${kv})`, bytesText(kvCache)],
    ["working", bytesText(working)],
    ["all", bytesText(total)],
  ];
  const title = `Memory for a context of ${formatCount(contextLength)} tokens (${backend}, ${isa})`;
  return `${title}\n${columns(rows, [1], "  ")}`;
}

function metadataTable(metadata: Inspection["metadata"], width: number): string {
  const keys = Object.keys(metadata);
  const keyWidth = Math.min(48, Math.max(0, ...keys.map((key) => key.length)));
  const room = Math.max(24, width - keyWidth - 5);
  const rows = keys.map((key) => [
    oneLine(key, keyWidth),
    oneLine(shown(metadata[key] as MetadataValue), room),
  ]);
  return columns(rows, [], "  ");
}

function shown(value: MetadataValue): string {
  if (typeof value !== "object") return String(value);
  const more = value.length > value.first.length ? ", …" : "";
  const first = value.first.map((item) => (typeof item === "string" ? JSON.stringify(item) : String(item)));
  return `${formatCount(value.length)} × ${value.array}: ${first.join(", ")}${more}`;
}
