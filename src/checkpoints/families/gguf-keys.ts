import type { GgufValue } from "../../files/gguf-values.ts";

/** Collects GGUF's metadata of an architecture. */
export class GgufKeys {
  readonly entries: Map<string, GgufValue>;

  constructor(private readonly architecture: string) {
    this.entries = new Map([["general.architecture", { type: "string", value: architecture }]]);
  }

  size(name: string, value: number): void {
    this.set(name, { type: "u32", value });
  }

  real(name: string, value: number): void {
    this.set(name, { type: "f32", value });
  }

  text(name: string, value: string): void {
    this.set(name, { type: "string", value });
  }

  flag(name: string, value: boolean): void {
    this.set(name, { type: "bool", value });
  }

  flags(name: string, values: readonly boolean[]): void {
    this.set(name, { type: "array", of: "bool", values: Uint8Array.from(values, Number) });
  }

  private set(name: string, value: GgufValue): void {
    this.entries.set(`${this.architecture}.${name}`, value);
  }
}
