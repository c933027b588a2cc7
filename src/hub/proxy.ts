import { UsageError } from "../base/errors.ts";
import type { Environment } from "../host/cache-dir.ts";

/** The proxy that a request passes; undefined where it goes straight to its server. */
export type ProxyOf = (url: URL) => URL | undefined;

/**
 * Reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, first in small letters, as curl does. Throws `UsageError`
 * for an address that is not one of an HTTP proxy.
 */
export function proxiesOf(env: Environment): ProxyOf {
  const read = (name: string) => env[name.toLowerCase()] || env[name];
  const all = read("ALL_PROXY");
  const of = (name: string) => addressOf(name, read(name) || all);
  const proxies: Readonly<Record<string, URL | undefined>> = {
    "https:": of("HTTPS_PROXY"),
    "http:": of("HTTP_PROXY"),
  };
  const exceptions = (read("NO_PROXY") ?? "").split(/[\s,]+/).filter((entry) => entry !== "");
  return (url) => (exceptions.some((entry) => isFor(entry, url)) ? undefined : proxies[url.protocol]);
}

function addressOf(name: string, value: string | undefined): URL | undefined {
  if (value === undefined) return undefined;
  const address = /^[a-z][a-z\d+.-]*:\/\//i.test(value) ? value : `http://${value}`;
  const proxy = URL.canParse(address) ? new URL(address) : undefined;
  if (proxy !== undefined && /^https?:$/.test(proxy.protocol)) return proxy;
  // It may have a password, which nobody should read in a message.
  throw new UsageError(`${name} must be the address of an HTTP proxy, http://host:port`);
}

/** Whether an exception, `host`, `.host`, `host:port` or `*`, is one for a URL: also for what is under the host. */
function isFor(entry: string, { hostname, port, protocol }: URL): boolean {
  if (entry === "*") return true;
  const [, host = "", only] = /^(?:\*?\.)?(.*?)(?::(\d+))?$/.exec(entry.toLowerCase()) ?? [];
  const usual = protocol === "https:" ? "443" : "80";
  if (only !== undefined && only !== (port || usual)) return false;
  return hostname === host || hostname.endsWith(`.${host}`);
}
