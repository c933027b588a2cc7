import { readFile } from "node:fs/promises";
import { NetworkError, UsageError } from "../base/errors.ts";
import { checkRange } from "../files/source.ts";
import { type ModelFiles, openGgufParts } from "../host/model-files.ts";
import type { FileSource } from "../host/node-files.ts";
import { chooseFiles } from "./choice.ts";
import type { HubConnection } from "./connection.ts";
import { Interruption } from "./interruption.ts";
import {
  findModel,
  type ListedModel,
  type PulledModel,
  type PullOptions,
  pulled,
  SURROUNDINGS,
} from "./pull.ts";
import { referenceText } from "./reference.ts";
import { fileUrl, type RepositoryFile } from "./repository.ts";

/** A model whose files stay on the hub. */
export interface RemoteModel {
  readonly reference: string;
  /** Reads the headers. */
  open(): Promise<ModelFiles>;
}

/**
 * A model of the hub, to look at: in the cache, if it is all there, else GGUF files on the hub, of which only what is read
 * is downloaded. Throws as `pull` does, and `UsageError` for safetensors that are not in the cache.
 */
export async function lookAt(
  model: string,
  options: PullOptions = {},
  surroundings = SURROUNDINGS,
): Promise<PulledModel | RemoteModel> {
  const found = await findModel(model, options, surroundings);
  if ("path" in found) return found;
  const { reference, cache, listing } = found;
  const text = referenceText(reference);
  const files = new Map(listing.files.map((file) => [file.path, file]));
  const isHere = async (name: string) => {
    const file = files.get(name);
    return file !== undefined && (await cache.has(listing.commit, file));
  };
  const needPull = () =>
    new UsageError(
      `${text} is a folder of safetensors, which is not read over the network: qigen pull ${text}`,
    );
  const choice = await chooseFiles([...files.keys()], reference, async (name) => {
    if (await isHere(name)) return readFile(cache.path(listing.commit, name), "utf8");
    throw needPull();
  });
  const here = await Promise.all(choice.files.map(isHere));
  if (here.every(Boolean)) return pulled(cache, listing.commit, choice);
  if (choice.file === undefined) throw needPull();
  const parts = choice.files.flatMap((name) => files.get(name) ?? []);
  return {
    reference: text,
    open: () => openGgufParts(parts.map((part) => async () => remoteFile(found, part))),
  };
}

/** A file on the hub; every read is a request. */
function remoteFile({ connection, cache, listing }: ListedModel, { path, size }: RepositoryFile): FileSource {
  const url = fileUrl(connection.settings.endpoint, cache.name, listing.commit, path);
  const source: FileSource = {
    name: `hf:${cache.name}/${path}`,
    size,
    modified: 0,
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      await source.readInto(offset, bytes);
      return bytes;
    },
    async readInto(offset, target) {
      checkRange(source, offset, target.length);
      if (target.length > 0) await receiveRange(connection, url, offset, target);
    },
    async close() {},
  };
  return source;
}

/** Throws `NetworkError` where the server does not send what was asked for. */
function receiveRange(
  connection: HubConnection,
  url: string,
  offset: number,
  target: Uint8Array,
): Promise<void> {
  const range = `bytes=${offset}-${offset + target.length - 1}`;
  return connection.download(url, () =>
    connection.request(url, { Range: range }, async (response, alive) => {
      const sent = response.headers.get("Content-Range") ?? "";
      if (response.status !== 206 || !sent.startsWith(range.replace("=", " "))) {
        throw new NetworkError(url, "the server does not send parts of files: pull the model instead");
      }
      let length = 0;
      for await (const part of response.body ?? []) {
        alive();
        target.set(part.subarray(0, target.length - length), length);
        length = Math.min(target.length, length + part.length);
      }
      if (length < target.length)
        throw new Interruption("the connection ended before the part of the file did");
    }),
  );
}
