/** Keeps what was loaded last in memory: tensors are read in order, a part at a time. */
export class Latest<T> {
  private owner: object | undefined;
  private value: Promise<T> | undefined;

  /** What `load` gives for `owner`, without loading again what is at hand. */
  get(owner: object, load: () => Promise<T>): Promise<T> {
    if (this.owner !== owner || this.value === undefined) {
      this.owner = owner;
      this.value = load();
    }
    return this.value;
  }
}
