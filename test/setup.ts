import { fileURLToPath } from "node:url";
import fc from "fast-check";

/** The same cases in every run, so that a red run means a change; another seed looks for new counterexamples. */
fc.configureGlobal({ seed: Number(process.env.QIGEN_TEST_SEED ?? 2023) });

/** Plans depend on what was measured and tuned on a machine; what the tests see of that is their own. */
process.env.QIGEN_CACHE ??= fileURLToPath(new URL("../node_modules/.cache/qigen", import.meta.url));
