import type { ByteSource } from "./source.ts";

/** The files of one folder, wherever they are kept. */
export interface FileFolder {
  /** What errors call the folder: its path, usually. */
  readonly name: string;
  /** Names of the files in it. */
  readonly files: readonly string[];
  /** Opens one of them, which the folder's owner closes. `FileAccessError` where that fails. */
  open(file: string): Promise<ByteSource>;
}
