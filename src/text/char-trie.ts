/** Edges are keyed `node · 2^16 + UTF-16 unit`. */
const UNITS = 2 ** 16;

/** Texts and a number for each, to be found a UTF-16 unit at a time. Nodes are numbers; the root is 0. */
export class CharTrie {
  private readonly edges = new Map<number, number>();
  private readonly values: number[] = [-1];

  /** @param value at least 0; replaces the one that the text had */
  insert(text: string, value: number): void {
    let node = 0;
    for (let i = 0; i < text.length; i++) {
      const key = node * UNITS + text.charCodeAt(i);
      let next = this.edges.get(key);
      if (next === undefined) {
        next = this.values.length;
        this.values.push(-1);
        this.edges.set(key, next);
      }
      node = next;
    }
    this.values[node] = value;
  }

  get isEmpty(): boolean {
    return this.edges.size === 0;
  }

  /** The node after `unit`, −1 if no text goes on with it. */
  child(node: number, unit: number): number {
    return this.edges.get(node * UNITS + unit) ?? -1;
  }

  /** The value of the text that ends at `node`, −1 if none does. */
  value(node: number): number {
    return this.values[node] as number;
  }
}
