/** Requests, through a proxy where there is one: the platform's own `fetch` knows of none. */

import { type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { isIP, type Socket } from "node:net";
import { Readable } from "node:stream";
import type { ReadableStream } from "node:stream/web";
import { connect as tlsConnect } from "node:tls";
import { NetworkError } from "../base/errors.ts";
import { Interruption, interruptionOf } from "./interruption.ts";
import type { ProxyOf } from "./proxy.ts";

const REDIRECTS = [301, 302, 303, 307, 308];
/** As browsers have it. */
const MOST_REDIRECTS = 20;
/** What such responses have no body for. */
const NO_BODY = [204, 205, 304];

type RequestHeaders = Readonly<Record<string, string>>;

/**
 * A GET that follows redirects. A token is for the first server only: no other gets the header `Authorization`.
 *
 * @throws NetworkError for redirects without end and a proxy that refuses
 * @throws Interruption where a proxy cannot be reached, and whatever `fetch` throws
 */
export async function send(
  url: string,
  headers: RequestHeaders,
  signal: AbortSignal,
  proxyOf: ProxyOf,
): Promise<Response> {
  let at = new URL(url);
  let own = headers;
  for (let hop = 0; hop <= MOST_REDIRECTS; hop++) {
    const proxy = proxyOf(at);
    const response =
      proxy === undefined
        ? await fetch(at, { headers: own, signal, redirect: "manual" })
        : await through(proxy, at, own, signal);
    const location = response.headers.get("Location");
    if (location === null || !REDIRECTS.includes(response.status)) return response;
    await response.body?.cancel();
    const next = new URL(location, at);
    if (next.origin !== at.origin) {
      const { Authorization: _, ...others } = own;
      own = others;
    }
    at = next;
  }
  throw new NetworkError(url, `redirects ${MOST_REDIRECTS} times, and then again`);
}

async function through(
  proxy: URL,
  url: URL,
  headers: RequestHeaders,
  signal: AbortSignal,
): Promise<Response> {
  const request =
    url.protocol === "https:"
      ? await tunnelled(proxy, url, headers, signal)
      : toProxy(proxy, { path: url.href, headers: { ...headers, Host: url.host }, signal });
  const response = await answerOf(request, proxy);
  const pairs = response.rawHeaders.flatMap((name, i): [string, string][] =>
    i % 2 === 0 ? [[name, response.rawHeaders[i + 1] ?? ""]] : [],
  );
  const { statusCode: status = 0, statusMessage: statusText = "" } = response;
  const body = NO_BODY.includes(status) ? null : (Readable.toWeb(response) as ReadableStream<Uint8Array>);
  return new Response(body as ConstructorParameters<typeof Response>[0], {
    status,
    statusText,
    headers: pairs,
  });
}

/** A request over a connection that the proxy passes on without reading it. */
async function tunnelled(
  proxy: URL,
  url: URL,
  headers: RequestHeaders,
  signal: AbortSignal,
): Promise<ClientRequest> {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const socket = await tunnel(proxy, `${url.hostname}:${url.port || 443}`, signal);
  return httpsRequest(url, {
    headers,
    signal,
    createConnection: () => tlsConnect({ socket, ...(isIP(host) === 0 ? { servername: host } : {}) }),
  });
}

function tunnel(proxy: URL, target: string, signal: AbortSignal): Promise<Socket> {
  const request = toProxy(proxy, { method: "CONNECT", path: target, headers: { Host: target }, signal });
  return new Promise((resolve, reject) => {
    request.once("connect", ({ statusCode = 0 }: IncomingMessage, socket: Socket) => {
      if (statusCode >= 200 && statusCode < 300) return resolve(socket);
      socket.destroy();
      reject(new NetworkError(`proxy ${proxy.host}`, `answers ${statusCode} when asked for ${target}`));
    });
    request.on("error", (error) => reject(ofProxy(proxy, error)));
    request.end();
  });
}

interface ProxyRequest {
  readonly method?: string;
  readonly path: string;
  readonly headers: RequestHeaders;
  readonly signal: AbortSignal;
}

function toProxy(proxy: URL, { headers, ...options }: ProxyRequest): ClientRequest {
  const { protocol, hostname, port, username, password } = proxy;
  const user = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const login =
    username === "" ? {} : { "Proxy-Authorization": `Basic ${Buffer.from(user).toString("base64")}` };
  const isSecure = protocol === "https:";
  return (isSecure ? httpsRequest : httpRequest)({
    ...options,
    host: hostname.replace(/^\[|\]$/g, ""),
    port: port || (isSecure ? 443 : 80),
    headers: { ...headers, ...login },
  });
}

/** Sends a request and waits for the head of the response. */
function answerOf(request: ClientRequest, proxy: URL): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.once("response", resolve);
    request.on("error", (error) => reject(ofProxy(proxy, error)));
    request.end();
  });
}

function ofProxy(proxy: URL, error: Error): Interruption {
  const { message, details } = interruptionOf(error);
  return new Interruption(`proxy ${proxy.host}: ${message}`, details);
}
