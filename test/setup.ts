import fc from "fast-check";

/** The same cases in every run, so that a red run means a change; another seed looks for new counterexamples. */
fc.configureGlobal({ seed: Number(process.env.QIGEN_TEST_SEED ?? 2023) });
