import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { UsageError } from "../base/errors.ts";
import type { Environment } from "../host/cache-dir.ts";
import { type ProxyOf, proxiesOf } from "./proxy.ts";

/** What the variables that all programs for the hub share say. */
export interface HubSettings {
  /** Address of the hub, without a slash at the end. */
  readonly endpoint: string;
  /** Folder of repositories (`models--owner--name`). */
  readonly cacheDir: string;
  /** Access token of the user. */
  readonly token?: string;
  /** The cache is all there is. */
  readonly offline: boolean;
  /** How long a server may say nothing. */
  readonly timeoutMs: number;
  readonly proxyOf: ProxyOf;
}

const ENDPOINT = "https://huggingface.co";
const TIMEOUT_SECONDS = 30;

/**
 * Reads `HF_ENDPOINT`, `HF_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HUB_OFFLINE` and
 * `HF_HUB_DOWNLOAD_TIMEOUT` as the hub's Python library does, older names of them too, and those of proxies. Variables that
 * are empty do not count. Throws `UsageError` for an address that is none.
 */
export function hubSettings(env: Environment = process.env): HubSettings {
  const home = env.HOME || homedir();
  const folder = (path: string) => resolve(path.replace(/^~(?=$|[/\\])/, () => home));
  const hfHome = folder(env.HF_HOME || join(env.XDG_CACHE_HOME || join(home, ".cache"), "huggingface"));
  const token = tokenOf(env, folder(env.HF_TOKEN_PATH || join(hfHome, "token")));
  return {
    endpoint: endpointOf(env),
    cacheDir: folder(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(hfHome, "hub")),
    ...(token === undefined ? {} : { token }),
    offline: isOn(env.HF_HUB_OFFLINE) || isOn(env.TRANSFORMERS_OFFLINE),
    timeoutMs: 1000 * (Number(env.HF_HUB_DOWNLOAD_TIMEOUT) || TIMEOUT_SECONDS),
    proxyOf: proxiesOf(env),
  };
}

function endpointOf(env: Environment): string {
  const endpoint = (env.HF_ENDPOINT || ENDPOINT).replace(/\/+$/, "");
  if (!(URL.canParse(endpoint) && /^https?:$/.test(new URL(endpoint).protocol))) {
    throw new UsageError(
      `HF_ENDPOINT must be an address that begins with https://, not ${JSON.stringify(endpoint)}`,
    );
  }
  return endpoint;
}

function isOn(value: string | undefined): boolean {
  return ["1", "ON", "YES", "TRUE"].includes(value?.toUpperCase() ?? "");
}

function tokenOf(env: Environment, path: string): string | undefined {
  if (isOn(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return undefined;
  const token = env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN || fileText(path);
  return token?.replace(/[\r\n]/g, "").trim() || undefined;
}

function fileText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
