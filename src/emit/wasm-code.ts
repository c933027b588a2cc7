import { WasmBytes } from "./wasm-bytes.ts";
import { type Immediate, OPCODES, VALUE_TYPES } from "./wasm-opcodes.ts";
import type { WasmTokens } from "./wasm-tokens.ts";

const EMPTY_BLOCK = 0x40;
const END = 0x0b;
const TABLE = 0;

const SHAPES: Readonly<Record<string, (out: WasmBytes, tokens: WasmTokens) => void>> = {
  i8x16: lanes(16, (out, tokens) => out.u8(tokens.integer(-(2 ** 7), 2 ** 8 - 1))),
  i16x8: lanes(8, (out, tokens) => out.u16(tokens.integer(-(2 ** 15), 2 ** 16 - 1))),
  i32x4: lanes(4, (out, tokens) => out.u32(tokens.integer(-(2 ** 31), 2 ** 32 - 1))),
  f32x4: lanes(4, (out, tokens) => out.f32(tokens.number())),
};

function lanes(count: number, lane: (out: WasmBytes, tokens: WasmTokens) => void): typeof lane {
  return (out, tokens) => {
    for (let i = 0; i < count; i++) lane(out, tokens);
  };
}

/** The code of one function: its locals, then its instructions, read from the tokens up to the closing parenthesis. */
export class WasmCode {
  private readonly out = new WasmBytes();
  /** Labels of the open blocks, the innermost last; "" for one without. */
  private readonly labels: string[] = [];

  /** `locals` and `types` give indexes to names; `declared` has the encoded types of the locals, without parameters. */
  constructor(
    private readonly tokens: WasmTokens,
    private readonly locals: ReadonlyMap<string, number>,
    private readonly types: ReadonlyMap<string, number>,
    declared: readonly number[],
  ) {
    this.declare(declared);
  }

  assemble(): Uint8Array {
    const { tokens, out } = this;
    for (let token = tokens.next(); token !== ")"; token = tokens.next()) {
      const opcode = OPCODES.get(token);
      if (opcode === undefined) throw tokens.error(`unknown instruction "${token}"`);
      for (const byte of opcode.bytes) out.u8(byte);
      if (token === "end") this.labels.pop();
      this.immediates[opcode.immediate](opcode.alignment);
    }
    out.u8(END);
    return out.written();
  }

  /** Locals are encoded as runs of equal types. */
  private declare(types: readonly number[]): void {
    const runs: { type: number; length: number }[] = [];
    for (const type of types) {
      const last = runs.at(-1);
      if (last?.type === type) last.length++;
      else runs.push({ type, length: 1 });
    }
    this.out.unsigned(runs.length);
    for (const { type, length } of runs) {
      this.out.unsigned(length);
      this.out.u8(type);
    }
  }

  private readonly immediates: Readonly<Record<Immediate, (alignment: number) => void>> = {
    none: () => {},
    local: () => this.out.unsigned(this.tokens.index(this.locals)),
    label: () => this.out.unsigned(this.label()),
    block: () => this.block(),
    type: () => {
      this.tokens.expect("(", "type");
      this.out.unsigned(this.tokens.index(this.types));
      this.tokens.expect(")");
      this.out.u8(TABLE);
    },
    memory: (alignment) => this.memory(alignment),
    memoryLane: (alignment) => {
      this.memory(alignment);
      this.lane();
    },
    lane: () => this.lane(),
    shuffle: () => {
      for (let i = 0; i < 16; i++) this.out.u8(this.tokens.integer(0, 31));
    },
    i32: () => this.out.signed(this.tokens.integer(-(2 ** 31), 2 ** 32 - 1)),
    f32: () => this.out.f32(this.tokens.number()),
    v128: () => this.vector(),
  };

  /** Alignment is a hint: the natural one, whether or not the address has it. */
  private memory(alignment: number): void {
    const { tokens, out } = this;
    out.unsigned(alignment);
    out.unsigned(tokens.keyword("offset=", 2 ** 32 - 1) ?? 0);
  }

  private lane(): void {
    this.out.u8(this.tokens.integer(0, 15));
  }

  private block(): void {
    const { tokens, out } = this;
    this.labels.push(tokens.at("$") ? tokens.next() : "");
    if (!tokens.at("(")) {
      out.u8(EMPTY_BLOCK);
      return;
    }
    tokens.expect("(", "result");
    out.u8(tokens.code(VALUE_TYPES, "type"));
    tokens.expect(")");
  }

  /** Depth of a branch target. */
  private label(): number {
    const { tokens } = this;
    if (!tokens.at("$")) return tokens.integer(0, this.labels.length);
    const name = tokens.next();
    const index = this.labels.lastIndexOf(name);
    if (index < 0) throw tokens.error(`unknown label "${name}"`);
    return this.labels.length - 1 - index;
  }

  private vector(): void {
    const shape = this.tokens.next();
    const write = SHAPES[shape];
    if (write === undefined) throw this.tokens.error(`unknown shape "${shape}"`);
    write(this.out, this.tokens);
  }
}
