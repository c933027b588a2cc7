import { fileAccessError } from "../host/node-files.ts";
import { reportFailure } from "./failure.ts";
import { Interrupts, type Io } from "./io.ts";
import { runCli } from "./program.ts";

const io: Io = {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  interrupts: new Interrupts(),
};

/** The first signal asks the command to stop and clean up, the second does not ask. */
for (const [name, number] of [["SIGINT", 2] as const, ["SIGTERM", 15] as const]) {
  process.on(name, () => {
    if (!io.interrupts.fire(128 + number)) process.exit(128 + number);
  });
}

/** A reader that has seen enough (`| head`) is no error, and nobody is left to be told. */
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw fileAccessError("the output", error);
    io.interrupts.fire(0);
  });
}

process.on("uncaughtException", (error) => process.exit(reportFailure(error, io)));

process.exitCode = await runCli(process.argv.slice(2), io);
