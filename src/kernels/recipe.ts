import type { Kernel } from "../ir/types.ts";

/** A kernel that is generated when its code is wanted, which is seldom: compiled kernels are kept. */
export interface KernelRecipe {
  readonly name: string;
  /** Data that decides the kernel, together with the ISA and the generator's own code. */
  readonly spec: unknown;
  readonly generate: () => Kernel;
}

/** Collects recipes, of each name one. */
export class KernelRecipes {
  private readonly byName = new Map<string, KernelRecipe>();

  /** Adds a kernel if there is none of this name; returns the name. */
  add(name: string, spec: unknown, make: () => Kernel): string {
    if (!this.byName.has(name)) {
      let kernel: Kernel | undefined;
      this.byName.set(name, { name, spec, generate: () => (kernel ??= make()) });
    }
    return name;
  }

  get(name: string): KernelRecipe | undefined {
    return this.byName.get(name);
  }

  values(): KernelRecipe[] {
    return [...this.byName.values()];
  }
}

/** The kernel itself. */
export function generated(kernel: Kernel | KernelRecipe): Kernel {
  return "generate" in kernel ? kernel.generate() : kernel;
}
