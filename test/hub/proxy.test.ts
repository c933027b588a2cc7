import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, connect, type Server } from "node:net";
import { join } from "node:path";
import { fetch } from "undici";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { UsageError } from "../../src/base/errors.ts";
import { ProxyDispatcher } from "../../src/hub/dispatcher.ts";
import { interruptionOf } from "../../src/hub/interruption.ts";
import { proxiesOf } from "../../src/hub/proxy.ts";
import { pull } from "../../src/hub/pull.ts";
import { temporaryFolder } from "../cli/harness.ts";
import { FakeHub } from "./hub-server.ts";

const folder = temporaryFolder();

describe("which proxy", () => {
  const of = (url: string, env: Readonly<Record<string, string>>) => proxiesOf(env)(new URL(url))?.href;

  test.each<[string, Readonly<Record<string, string>>, string | undefined]>([
    ["https://a.example/x", {}, undefined],
    ["https://a.example/x", { HTTPS_PROXY: "http://p:1" }, "http://p:1/"],
    ["https://a.example/x", { HTTP_PROXY: "http://p:1" }, undefined],
    ["http://a.example/x", { HTTP_PROXY: "http://p:1" }, "http://p:1/"],
    ["https://a.example/x", { ALL_PROXY: "p:1" }, "http://p:1/"],
    ["https://a.example/x", { HTTPS_PROXY: "http://q:1", https_proxy: "http://p:1" }, "http://p:1/"],
    ["https://a.example/x", { HTTPS_PROXY: "" }, undefined],
  ])("of %s with %o", (url, env, proxy) => expect(of(url, env)).toBe(proxy));

  test.each([
    ["a.example", true],
    ["example", true],
    [".example", true],
    ["*.example", true],
    ["b.example, a.example", true],
    ["b.example a.example:443", true],
    ["*", true],
    ["a.example:8443", false],
    ["b.example", false],
    ["xample", false],
    ["a.example.org", false],
  ])("none where NO_PROXY is %s: %s", (exceptions, none) => {
    const env = { HTTPS_PROXY: "http://p:1", NO_PROXY: exceptions };
    expect(of("https://a.example/x", env)).toBe(none ? undefined : "http://p:1/");
  });

  test.each(["socks5://p:1", "http://", "//"])("%s is none", (address) => {
    expect(() => proxiesOf({ HTTPS_PROXY: address })).toThrow(UsageError);
  });

  test("a password is in no message", () => {
    expect(() => proxiesOf({ HTTPS_PROXY: "socks5://me:secret@p:1" })).not.toThrow("secret");
  });
});

const portOf = (server: Server) => (server.address() as AddressInfo).port;
const listen = (server: Server) =>
  new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });

/** A proxy that notes what it was asked for, and with which login. */
function proxyServer(asked: [string, IncomingHttpHeaders][], refuse: () => number | undefined) {
  const server = createServer();
  server.on("connect", (incoming, socket, head) => {
    asked.push([`CONNECT ${incoming.url}`, incoming.headers]);
    const status = refuse();
    if (status !== undefined) {
      socket.end(`HTTP/1.1 ${status} No\r\n\r\n`);
      return;
    }
    const [host, port] = (incoming.url ?? "").split(":");
    const target = connect(Number(port), host, () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      target.write(head);
      target.pipe(socket).pipe(target);
    });
    target.on("error", () => socket.destroy());
    socket.on("error", () => target.destroy());
  });
  return server;
}

describe("through a proxy", () => {
  const asked: [string, IncomingHttpHeaders][] = [];
  let refusal: number | undefined;
  const server = proxyServer(asked, () => refusal);
  let hub: FakeHub;
  let proxy = "";

  beforeAll(async () => {
    hub = await FakeHub.start();
    await listen(server);
    proxy = `http://me:pass%20word@127.0.0.1:${portOf(server)}`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  beforeEach(() => {
    asked.length = 0;
    refusal = undefined;
    hub.reset();
    hub.add("org/tiny", { "model.gguf": Buffer.alloc(5000, "x") });
  });
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  const get = (name: string, env: Readonly<Record<string, string>>) =>
    pull(
      "hf:org/tiny/model.gguf",
      {},
      {
        env: { HF_HOME: join(folder, name), HF_ENDPOINT: hub.endpoint, HF_TOKEN: "token", ...env },
        freeBytes: async () => 2 ** 40,
        pause: async () => {},
      },
    );

  test("a model arrives, and the token stays with the hub", async () => {
    const { path } = await get("plain", { HTTP_PROXY: proxy });
    expect(readFileSync(path)).toHaveLength(5000);
    // One tunnel to the hub, one to where it redirects.
    const origins = new Set(asked.map(([what]) => what));
    expect(origins).toEqual(
      new Set([`CONNECT ${new URL(hub.endpoint).host}`, expect.stringMatching(/^CONNECT localhost:/)]),
    );
    expect(asked.every(([, headers]) => headers.authorization === undefined)).toBe(true);
    const login = `Basic ${Buffer.from("me:pass word").toString("base64")}`;
    expect(asked.every(([, headers]) => headers["proxy-authorization"] === login)).toBe(true);
    expect(hub.seen.every(({ authorization }) => authorization === "Bearer token")).toBe(true);
    expect(hub.stored.map(({ authorization }) => authorization)).toEqual([undefined]);
  });

  test("not where NO_PROXY says so, also behind a redirect", async () => {
    await get("some", { HTTP_PROXY: proxy, NO_PROXY: "127.0.0.1" });
    expect(asked.map(([what]) => what)).toEqual([expect.stringMatching(/^CONNECT localhost:/)]);
  });

  test("a proxy that refuses is named", async () => {
    refusal = 403;
    await expect(get("refused", { HTTP_PROXY: proxy })).rejects.toThrow();
    refusal = 407;
    const dispatcher = new ProxyDispatcher(() => new URL(proxy));
    const error = await fetch("https://a.example/", { dispatcher }).catch(interruptionOf);
    expect(error).toMatchObject({ message: expect.stringMatching(/^proxy 127\.0\.0\.1:\d+: .*407/) });
  });

  test("a proxy that is not there is named", async () => {
    const nowhere = "http://127.0.0.1:9";
    await expect(get("nowhere", { HTTP_PROXY: nowhere })).rejects.toThrow(
      /proxy 127\.0\.0\.1:9: the connection was refused/,
    );
  });

  test("over TLS, which the proxy does not read", async () => {
    const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    try {
      const wanted = [
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-keyout",
        key,
        "-out",
        cert,
      ];
      execFileSync("openssl", ["req", "-x509", ...wanted], { stdio: "ignore" });
    } catch {
      console.warn("skipped: there is no openssl to make a certificate with");
      return;
    }
    vi.stubEnv("NODE_TLS_REJECT_UNAUTHORIZED", "0");
    const secure = createTlsServer(
      { key: readFileSync(key), cert: readFileSync(cert) },
      (incoming, response) => {
        response.end(
          `${incoming.url} ${incoming.headers.authorization} ${incoming.headers["proxy-authorization"]}`,
        );
      },
    );
    await listen(secure);
    try {
      const url = `https://localhost:${portOf(secure)}/file?x=1`;
      const dispatcher = new ProxyDispatcher(() => new URL(proxy));
      const response = await fetch(url, { headers: { Authorization: "Bearer t" }, dispatcher });
      expect(await response.text()).toBe("/file?x=1 Bearer t undefined");
      expect(asked.map(([what]) => what)).toEqual([`CONNECT localhost:${portOf(secure)}`]);
    } finally {
      secure.closeAllConnections();
      secure.close();
    }
  });
});
