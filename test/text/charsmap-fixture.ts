/** Makes tables of replacements as SentencePiece does: a double array of a trie of bytes. */

interface Node {
  readonly children: Map<number, Node>;
  /** Offset of the replacement of the sequence that ends here. */
  offset?: number;
}

const utf8 = new TextEncoder();

/** @param table sequences and what replaces each */
export function charsmapOf(table: Readonly<Record<string, string>>): Uint8Array {
  const root: Node = { children: new Map() };
  const replacements: number[] = [];
  for (const [from, to] of Object.entries(table)) {
    let node = root;
    for (const byte of utf8.encode(from)) {
      const next = node.children.get(byte) ?? { children: new Map() };
      node.children.set(byte, next);
      node = next;
    }
    node.offset = replacements.length;
    replacements.push(...utf8.encode(to), 0);
  }
  const units = new Map<number, number>([[0, 0]]);
  place(root, 0, units);
  // Whole blocks: any byte may be looked for at any node.
  const length = 256 * Math.ceil((Math.max(...units.keys()) + 1) / 256);
  const bytes = new Uint8Array(4 + 4 * length + replacements.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 4 * length, true);
  for (const [at, unit] of units) view.setUint32(4 + 4 * at, unit, true);
  bytes.set(replacements, 4 + 4 * length);
  return bytes;
}

/** Puts the children of the node at `at` where no others are: each at `base XOR byte`, its leaf at `base`. */
function place(node: Node, at: number, units: Map<number, number>): void {
  const labels = [...node.children.keys(), ...(node.offset === undefined ? [] : [0])];
  const base = 256 * Math.ceil((Math.max(...units.keys()) + 1) / 256);
  const leaf = node.offset === undefined ? 0 : 0x100;
  units.set(at, ((units.get(at) as number) | ((base ^ at) << 10) | leaf) >>> 0);
  for (const label of labels) units.set(base ^ label, label);
  if (node.offset !== undefined) units.set(base, (0x80000000 | node.offset) >>> 0);
  for (const [byte, child] of node.children) place(child, base ^ byte, units);
}
