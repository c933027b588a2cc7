import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll } from "vitest";

/** A repository of the hub as a test makes it. */
export interface FakeRepository {
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** Only readers with this token see it at all. */
  readonly privateTo?: string;
  /** Everybody sees it, but only this token downloads from it. */
  readonly gatedTo?: string;
  /** Branches and tags besides `main`, with the files they have. */
  readonly revisions?: ReadonlyMap<string, ReadonlyMap<string, Uint8Array>>;
}

/** What goes wrong, once, with the next request for a path; true when it answered the request itself. */
export type Fault = (request: IncomingMessage, response: ServerResponse, body: Uint8Array) => boolean;

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

/** Files of this size and more are large ones, as in Git LFS. */
const LARGE = 1000;
const PAGE = 3;
/** Another name than the hub's: tokens must not go there. */
const STORAGE = "localhost";

/** The hub's API on one port, and the storage that it sends readers of large files to on another. */
export class FakeHub {
  readonly repositories = new Map<string, FakeRepository>();
  /** Requests to the hub and to the storage. */
  readonly seen: Seen[] = [];
  readonly stored: Seen[] = [];
  /** What the listing says instead of the truth. */
  readonly lies = new Map<string, { readonly size?: number; readonly sha256?: string }>();
  private readonly faults = new Map<string, Fault[]>();
  private readonly hub = createServer((request, response) => this.answer(request, response));
  private readonly storage = createServer((request, response) => this.store(request, response));

  static async start(): Promise<FakeHub> {
    const fake = new FakeHub();
    await Promise.all([listening(fake.hub, "127.0.0.1"), listening(fake.storage, STORAGE)]);
    afterAll(() => fake.stop());
    return fake;
  }

  stop(): void {
    for (const server of [this.hub, this.storage]) {
      server.close();
      server.closeAllConnections();
    }
  }

  get endpoint(): string {
    return `http://127.0.0.1:${portOf(this.hub)}`;
  }

  add(
    name: string,
    files: Readonly<Record<string, Uint8Array | string>>,
    more: Partial<FakeRepository> = {},
  ) {
    this.repositories.set(name, { files: filesOf(files), ...more });
  }

  /** The next requests for the bytes of a file, or for a path of the API, go wrong, one after the other. */
  fail(path: string, ...faults: readonly Fault[]): void {
    this.faults.set(path, [...(this.faults.get(path) ?? []), ...faults]);
  }

  /** Forgets everything. */
  reset(): void {
    for (const all of [this.repositories, this.lies, this.faults]) all.clear();
    this.seen.length = 0;
    this.stored.length = 0;
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    this.seen.push(seenOf(request));
    const url = new URL(request.url ?? "", this.endpoint);
    const parts = url.pathname.split("/").slice(1).map(decodeURIComponent);
    const isApi = parts[0] === "api";
    const name = (isApi ? parts.slice(2, 4) : parts.slice(0, 2)).join("/");
    const [kind, revision = "", ...rest] = isApi ? parts.slice(4) : parts.slice(2);
    if (isApi && this.fault(url.pathname, request, response, new Uint8Array())) return;
    const repository = this.repositories.get(name);
    const token = request.headers.authorization?.replace("Bearer ", "");
    if (repository === undefined || (repository.privateTo ?? token) !== token) {
      refuse(response, token === undefined ? 401 : 404, "RepoNotFound", "Repository not found");
      return;
    }
    const found = revisionOf(repository, revision);
    if (found === undefined) {
      refuse(response, 404, "RevisionNotFound", `Invalid rev id: ${revision}`);
      return;
    }
    const { files, commit } = found;
    if (kind === "revision")
      json(response, { _id: "1", id: name, sha: commit, lastModified: "2024-01-01T00:00:00.000Z" });
    else if (kind === "tree") this.tree(files, url, response);
    else if (repository.gatedTo !== undefined && repository.gatedTo !== token) {
      refuse(response, token === undefined ? 401 : 403, "GatedRepo", "Access to this model is restricted.");
    } else this.resolve(files, commit, rest.join("/"), request, response);
  }

  private tree(files: ReadonlyMap<string, Uint8Array>, url: URL, response: ServerResponse): void {
    const start = Number(url.searchParams.get("cursor") ?? 0);
    const entries = [...files].map(([path, bytes]) => this.entry(path, bytes));
    const folders = new Set(
      [...files.keys()].filter((path) => path.includes("/")).map((path) => path.split("/")[0]),
    );
    const all = [
      ...[...folders].map((path) => ({ type: "directory", path, size: 0, oid: gitHash(Buffer.of()) })),
      ...entries,
    ];
    if (start + PAGE < all.length) {
      url.searchParams.set("cursor", String(start + PAGE));
      response.setHeader("Link", `<${url.href}>; rel="next"`);
    }
    json(response, all.slice(start, start + PAGE));
  }

  private entry(path: string, bytes: Uint8Array) {
    const { size = bytes.length, sha256: oid = sha256(bytes) } = this.lies.get(path) ?? {};
    const entry = { type: "file", path, size, oid: gitHash(bytes) };
    return bytes.length < LARGE ? entry : { ...entry, lfs: { oid, size, pointerSize: 130 } };
  }

  private resolve(
    files: ReadonlyMap<string, Uint8Array>,
    commit: string,
    path: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    const bytes = files.get(path);
    if (bytes === undefined) {
      refuse(response, 404, "EntryNotFound", "Entry not found");
      return;
    }
    response.setHeader("X-Repo-Commit", commit);
    response.setHeader("Accept-Ranges", "bytes");
    if (bytes.length < LARGE) {
      response.setHeader("ETag", `"${gitHash(bytes)}"`);
      if (!this.fault(path, request, response, bytes)) send(request, response, bytes);
      return;
    }
    const { size = bytes.length, sha256: etag = sha256(bytes) } = this.lies.get(path) ?? {};
    response.setHeader("X-Linked-ETag", `"${etag}"`);
    response.setHeader("X-Linked-Size", size);
    const location = `http://${STORAGE}:${portOf(this.storage)}/${Buffer.from(path).toString("hex")}/${sha256(bytes)}`;
    response.writeHead(302, { Location: location }).end();
  }

  private store(request: IncomingMessage, response: ServerResponse): void {
    this.stored.push(seenOf(request));
    const [, name = "", hash = ""] = request.url?.split("/") ?? [];
    const all = [...this.repositories.values()].flatMap(({ files, revisions }) => [
      files,
      ...(revisions?.values() ?? []),
    ]);
    const bytes = all.flatMap((files) => [...files.values()]).find((content) => sha256(content) === hash);
    if (bytes === undefined) {
      refuse(response, 404, "", "gone");
      return;
    }
    if (!this.fault(Buffer.from(name, "hex").toString(), request, response, bytes))
      send(request, response, bytes);
  }

  private fault(path: string, request: IncomingMessage, response: ServerResponse, body: Uint8Array): boolean {
    return this.faults.get(path)?.shift()?.(request, response, body) ?? false;
  }
}

/** Answers with the range that was asked for. */
export function send(request: IncomingMessage, response: ServerResponse, bytes: Uint8Array): void {
  head(request, response, bytes.length);
  response.end(request.method === "HEAD" ? undefined : bytes.subarray(...rangeOf(request, bytes.length)));
}

/** Sends so many bytes of what was asked for, then hangs up. */
export function dropAfter(count: number): Fault {
  return (request, response, bytes) => {
    head(request, response, bytes.length);
    const [from] = rangeOf(request, bytes.length);
    response.write(bytes.subarray(from, from + count), () => setTimeout(() => response.destroy(), 30));
    return true;
  };
}

/** Sends so many bytes of what was asked for, and nothing more. */
export function stallAfter(count: number, onStall: () => void = () => {}): Fault {
  return (request, response, bytes) => {
    head(request, response, bytes.length);
    const [from] = rangeOf(request, bytes.length);
    response.write(bytes.subarray(from, from + count), () => setTimeout(onStall, 30));
    return true;
  };
}

/** Answers with a status, and what to wait. */
export function busy(status: number, retryAfter?: string): Fault {
  return (_, response) => {
    response.writeHead(status, retryAfter === undefined ? {} : { "Retry-After": retryAfter }).end("busy");
    return true;
  };
}

/** Sends other bytes, with what a good answer has otherwise. */
export function sendInstead(bytes: Uint8Array): Fault {
  return (request, response) => {
    send(request, response, bytes);
    return true;
  };
}

/** Sends everything, whatever range was asked for. */
export const ignoreRange: Fault = (request, response, bytes) => {
  delete request.headers.range;
  send(request, response, bytes);
  return true;
};

function head(request: IncomingMessage, response: ServerResponse, size: number): void {
  const [from, end] = rangeOf(request, size);
  if (request.headers.range === undefined) {
    response.writeHead(200, { "Content-Length": size });
  } else {
    response.writeHead(206, {
      "Content-Length": end - from,
      "Content-Range": `bytes ${from}-${end - 1}/${size}`,
    });
  }
}

/** The first byte that is asked for, and the one after the last. */
function rangeOf(request: IncomingMessage, size: number): [number, number] {
  const [, from = "0", last] = /^bytes=(\d+)-(\d*)/.exec(request.headers.range ?? "") ?? [];
  return [Number(from), last ? Number(last) + 1 : size];
}

function refuse(response: ServerResponse, status: number, code: string, message: string): void {
  response.writeHead(status, { "X-Error-Code": code, "X-Error-Message": message }).end();
}

function json(response: ServerResponse, value: unknown): void {
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify(value));
}

function seenOf({ method = "", url = "", headers }: IncomingMessage): Seen {
  return { method, url, range: headers.range, authorization: headers.authorization };
}

function revisionOf(repository: FakeRepository, revision: string) {
  const { files, revisions } = repository;
  const all = new Map([["main", files], ...(revisions ?? [])]);
  for (const [name, content] of all) {
    const commit = commitOf(content);
    if (revision === name || revision === commit) return { files: content, commit };
  }
  return undefined;
}

export function filesOf(files: Readonly<Record<string, Uint8Array | string>>): Map<string, Uint8Array> {
  return new Map(
    Object.entries(files).map(([name, data]) => [name, typeof data === "string" ? Buffer.from(data) : data]),
  );
}

/** The commit of a revision with these files. */
export function commitOf(files: ReadonlyMap<string, Uint8Array>): string {
  const hash = createHash("sha1");
  for (const [name, bytes] of files) hash.update(`${name}\0${gitHash(bytes)}\0`);
  return hash.digest("hex");
}

export function gitHash(bytes: Uint8Array): string {
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function listening(server: Server, host: string): Promise<void> {
  return new Promise((resolve) => server.listen(0, host, resolve));
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}
