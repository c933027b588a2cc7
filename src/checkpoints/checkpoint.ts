import { FileAccessError } from "../base/errors.ts";
import type { FileFolder } from "../files/folder.ts";
import { GgufMetadata } from "../files/gguf-metadata.ts";
import type { GgufValue } from "../files/gguf-values.ts";
import { readJson } from "../files/json.ts";
import { type ModelFile, PlainTensor, type StoredTensor } from "../files/model-file.ts";
import type { SafeTensor } from "../files/safetensors.ts";
import { memorySource } from "../files/source.ts";
import { stackOf } from "../files/stacked-tensor.ts";
import { JsonView } from "../text/json-view.ts";
import { type Module, patternOf, type Translation } from "./families/family.ts";
import { familyOf } from "./families/index.ts";
import { plainTensor } from "./plain-tensor.ts";
import { CodeLoader } from "./quantized/code-loader.ts";
import type { Parameters, Warn } from "./quantized/code-matrix.ts";
import { CodeTensor } from "./quantized/code-tensor.ts";
import { type Method, methodOf } from "./quantized/method.ts";
import { readWeights } from "./weight-files.ts";

const CONFIG = "config.json";
/** Bytes of a configuration; published ones have some KB. */
const CONFIG_BYTES = 4 << 20;

/**
 * The model in a Hugging Face folder (`config.json` and safetensors) in GGUF's terms: metadata and tensors as a GGUF file
 * of the same model would have them, read from where they are.
 *
 * Throws `FileFormatError` for files that break their format or do not fit together, `UnsupportedError` for what this
 * version does not have, `FileAccessError` for a folder that is not one of a model, and what the folder throws.
 *
 * @param warn takes what a user should know of the checkpoint, each line once
 * @param weights a safetensors file to take instead of what the folder's index says
 */
export async function readCheckpoint(folder: FileFolder, warn: Warn, weights?: string): Promise<ModelFile> {
  if (!folder.files.includes(CONFIG)) {
    throw new FileAccessError(folder.name, `is a folder, not a file, and has no ${CONFIG} of a model`);
  }
  const source = await folder.open(CONFIG);
  const config = new JsonView(source.name, await readJson(source, CONFIG_BYTES));
  const translation = familyOf(config).read(config);
  const metadata = new Map<string, GgufValue>([
    ...translation.metadata,
    ["general.name", { type: "string", value: folder.name.split(/[/\\]/).at(-1) ?? "" }],
  ]);
  const said = new Set<string>();
  const say: Warn = (line) => {
    if (!said.has(line)) warn(`${folder.name}: ${line}`);
    said.add(line);
  };
  const stored = new Map<string, SafeTensor>();
  for (const [name, tensor] of await readWeights(folder, weights)) {
    if (translation.others?.some((start) => name.startsWith(start))) {
      say("the model has parts for other than text, which are left out");
    } else stored.set(withoutPrefix(name, translation), tensor);
  }
  const reader = new ModuleReader(await quantizationOf(folder, config), say);
  const found = await tensorsOf(translation, stored, reader);
  const tensors = new Map(found.map((tensor) => [tensor.name, tensor]));
  tieOutput(config, translation, tensors);
  for (const [name, values] of translation.vectors ?? []) {
    const bytes = new Uint8Array(values.buffer);
    const memory = memorySource(source.name, bytes);
    tensors.set(name, new PlainTensor(name, "F32", [values.length], memory, 0, bytes.length));
  }
  return { metadata: new GgufMetadata(source.name, metadata), tensors };
}

function withoutPrefix(name: string, { prefixes }: Translation): string {
  const prefix = prefixes.find((start) => name.startsWith(start)) ?? "";
  return name.slice(prefix.length);
}

/** How matrices are quantized; in config.json, or in a file of its own. */
async function quantizationOf(folder: FileFolder, config: JsonView): Promise<Method | undefined> {
  const own = config.object("quantization_config");
  if (own !== undefined) return methodOf(own);
  const name = ["quantize_config.json", "quant_config.json"].find((file) => folder.files.includes(file));
  if (name === undefined) return undefined;
  const source = await folder.open(name);
  return methodOf(new JsonView(source.name, await readJson(source, CONFIG_BYTES)));
}

/** A checkpoint may have an output head that its configuration says is the embedding. */
function tieOutput(config: JsonView, { tied }: Translation, tensors: Map<string, StoredTensor>): void {
  if (tied) tensors.delete("output.weight");
  else if (!tensors.has("output.weight")) {
    throw config.error("tie_word_embeddings", "is not true, but there are no weights of lm_head");
  }
}

/** Modules that are looked at together: the groups and zero points of quantized ones are read, a wait for each. */
const MODULES_AT_ONCE = 64;

async function tensorsOf(
  { modules, derived = [] }: Translation,
  weights: ReadonlyMap<string, SafeTensor>,
  reader: ModuleReader,
): Promise<readonly StoredTensor[]> {
  const tensors: StoredTensor[] = [];
  const stacks = new Map<string, Map<number, StoredTensor>>();
  const read = async ([name, parameters]: readonly [string, Parameters]) => {
    const { pattern, layer, part } = patternOf(name);
    const module = Object.hasOwn(modules, pattern) ? modules[pattern] : undefined;
    if (module !== undefined) return { part, found: await reader.tensors(module, layer, parameters) };
    // Tensors without a place keep their names, for the model to say so.
    const others = [...parameters].filter(
      ([parameter]) => !derived.includes(patternOf(`${name}.${parameter}`).pattern),
    );
    return { part: undefined, found: others.map(([, tensor]) => plainTensor(tensor.name, tensor)) };
  };
  const all = [...modulesOf(weights)];
  for (let first = 0; first < all.length; first += MODULES_AT_ONCE) {
    for (const { part, found } of await Promise.all(all.slice(first, first + MODULES_AT_ONCE).map(read))) {
      if (part === undefined) tensors.push(...found);
      else for (const tensor of found) addPart(stacks, part, tensor);
    }
  }
  return [...tensors, ...[...stacks].map(([name, parts]) => stackOf(name, parts))];
}

function addPart(stacks: Map<string, Map<number, StoredTensor>>, part: number, tensor: StoredTensor): void {
  const parts = stacks.get(tensor.name) ?? new Map<number, StoredTensor>();
  stacks.set(tensor.name, parts.set(part, tensor));
}

function modulesOf(weights: ReadonlyMap<string, SafeTensor>): ReadonlyMap<string, Parameters> {
  const modules = new Map<string, Map<string, SafeTensor>>();
  for (const [name, tensor] of weights) {
    const dot = name.lastIndexOf(".");
    const module = name.slice(0, Math.max(0, dot));
    const parameters = modules.get(module) ?? new Map<string, SafeTensor>();
    modules.set(module, parameters.set(name.slice(dot + 1), tensor));
  }
  return modules;
}

/** Makes tensors of the parameters of modules. */
class ModuleReader {
  private readonly loader = new CodeLoader();

  constructor(
    private readonly method: Method | undefined,
    private readonly warn: Warn,
  ) {}

  async tensors(module: Module, layer: string, parameters: Parameters): Promise<readonly StoredTensor[]> {
    if (typeof module === "string") return this.unchanged(module.replace("*", layer), parameters);
    if ("change" in module) {
      const tensors = await this.unchanged(module.name.replace("*", layer), parameters);
      return tensors.map((tensor) => module.change(tensor));
    }
    return [...parameters].flatMap(([name, tensor]) => {
      const read = Object.hasOwn(module.parameters, name) ? module.parameters[name] : undefined;
      return read?.(tensor, parameters, layer) ?? [plainTensor(tensor.name, tensor)];
    });
  }

  /** @param name GGUF's, without `weight` or `bias` */
  private async unchanged(name: string, parameters: Parameters): Promise<readonly StoredTensor[]> {
    const { method } = this;
    const tensors: StoredTensor[] = [];
    const isQuantized = method !== undefined && parameters.has(method.marker);
    if (isQuantized) {
      const matrix = await method.matrix(parameters, this.warn);
      tensors.push(new CodeTensor(`${name}.weight`, matrix, parameters, this.loader));
    }
    for (const [parameter, tensor] of parameters) {
      const isPart = isQuantized && method.parameters.includes(parameter);
      const isNothing = parameter === "bias" && (await isZero(tensor));
      if (!isPart && !isNothing) tensors.push(plainTensor(`${name}.${parameter}`, tensor));
    }
    return tensors;
  }
}

/** Quantizers used to add biases that do nothing to every matrix. */
async function isZero({ source, offset, byteLength }: SafeTensor): Promise<boolean> {
  return (await source.read(offset, byteLength)).every((byte) => byte === 0);
}
