import { defineConfig } from "vitest/config";

export default defineConfig({
  // What bench/ takes from the build is tested as it is in src/.
  resolve: { alias: [{ find: /^((?:\.\.\/)+)dist\/(.+)\.js$/, replacement: "$1src/$2.ts" }] },
  test: {
    include: ["test/**/*.test.ts"],
    reporters: ["default", "./test/closing-line.ts"],
    setupFiles: ["test/setup.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
  },
});
