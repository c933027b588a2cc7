import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { UsageError } from "../../src/base/errors.ts";
import { hubSettings } from "../../src/hub/settings.ts";
import { temporaryFolder } from "../cli/harness.ts";

const HOME = temporaryFolder();
const settings = (env: Readonly<Record<string, string>>) => hubSettings({ HOME, ...env });

test.each([
  [{}, `${HOME}/.cache/huggingface/hub`],
  [{ XDG_CACHE_HOME: "/x" }, "/x/huggingface/hub"],
  [{ XDG_CACHE_HOME: "/x", HF_HOME: "/h" }, "/h/hub"],
  [{ HF_HOME: "~/h", HUGGINGFACE_HUB_CACHE: "" }, `${HOME}/h/hub`],
  [{ HF_HOME: "/h", HUGGINGFACE_HUB_CACHE: "/old" }, "/old"],
  [{ HF_HOME: "/h", HUGGINGFACE_HUB_CACHE: "/old", HF_HUB_CACHE: "~" }, HOME],
])("the cache with %j", (env, expected) => {
  expect(settings(env).cacheDir).toBe(expected);
});

test("the token: the variable, else the file", () => {
  const home = join(HOME, "hf");
  expect(settings({ HF_HOME: home })).not.toHaveProperty("token");
  mkdirSync(home);
  writeFileSync(join(home, "token"), " hf_file\n");
  expect(settings({ HF_HOME: home }).token).toBe("hf_file");
  expect(settings({ HF_HOME: "/none", HF_TOKEN_PATH: join(home, "token") }).token).toBe("hf_file");
  expect(settings({ HF_HOME: home, HF_TOKEN: "hf_env\n" }).token).toBe("hf_env");
  expect(settings({ HF_HOME: home, HF_TOKEN: "x", HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" })).not.toHaveProperty(
    "token",
  );
});

test("the address, and whether it is to be used", () => {
  expect(settings({})).toMatchObject({
    endpoint: "https://huggingface.co",
    offline: false,
    timeoutMs: 30_000,
    proxyOf: expect.any(Function),
  });
  expect(settings({ HF_ENDPOINT: "http://mirror:8080/hf//" }).endpoint).toBe("http://mirror:8080/hf");
  for (const address of ["mirror", "ftp://mirror", "javascript:1"]) {
    expect(() => settings({ HF_ENDPOINT: address })).toThrow(UsageError);
  }
  for (const on of ["1", "true", "YES", "on"]) expect(settings({ HF_HUB_OFFLINE: on }).offline).toBe(true);
  for (const off of ["", "0", "no"]) expect(settings({ HF_HUB_OFFLINE: off }).offline).toBe(false);
  expect(settings({ TRANSFORMERS_OFFLINE: "1" }).offline).toBe(true);
});
