/** Bytes of a page, the unit of a WebAssembly memory's size. */
export const WASM_PAGE_BYTES = 65536;

/** Pages of the largest memory that 32-bit addresses reach: 4 GiB. */
export const WASM_MAX_PAGES = 65536;

/** A compiled module. It can be sent to other threads. */
export interface WasmModuleObject {
  readonly [Symbol.toStringTag]: string;
}

export interface WasmMemoryObject {
  readonly buffer: ArrayBufferLike;
}

export interface WasmInstanceObject {
  readonly exports: Readonly<Record<string, unknown>>;
}

/** In pages. */
export interface WasmLimits {
  readonly initial: number;
  readonly maximum?: number;
  readonly shared?: boolean;
}

export interface WasmImports {
  readonly env: { readonly memory: WasmMemoryObject };
}

/** The part of the JavaScript engine's WebAssembly interface that is used here; TypeScript has it only with the DOM. */
export interface WasmEngine {
  validate(bytes: Uint8Array): boolean;
  /** Compiles without blocking the event loop. */
  compile(bytes: Uint8Array): Promise<WasmModuleObject>;
  readonly Module: new (bytes: Uint8Array) => WasmModuleObject;
  readonly Instance: new (module: WasmModuleObject, imports: Partial<WasmImports>) => WasmInstanceObject;
  readonly Memory: new (limits: WasmLimits) => WasmMemoryObject;
}

export const { WebAssembly: webAssembly } = globalThis as unknown as { readonly WebAssembly: WasmEngine };
