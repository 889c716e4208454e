// What the Node programs share: where the server is, checks that name themselves, bounded waiting.

import { isDeepStrictEqual } from "node:util";

// Longest wait for something that the server does in its own time, milliseconds.
const WAIT_MS = 10_000;

// Longest run of a program, milliseconds: a server that never answers must not hold it for ever.
const RUN_MS = 120_000;
setTimeout(() => {
  console.error(`FAILED: no end within ${RUN_MS} ms`);
  process.exit(1);
}, RUN_MS).unref();

const [host, portText] = process.argv.slice(2);
if (portText === undefined) {
  console.error(`usage: node ${process.argv[1]} HOST PORT`);
  process.exit(2);
}

/** Where the server is, the program's two arguments. */
export const address = { host, port: Number(portText) };

/** Prints `ok NAME` where `body` ends well; ends the program with a message where it does not. */
export async function check(name, body) {
  try {
    await body();
  } catch (error) {
    console.error(`FAILED ${name}: ${error?.stack ?? error}`);
    process.exit(1);
  }
  console.log(`ok ${name}`);
}

/** Fails where the two differ, and says both. */
export function equal(found, expected) {
  if (!isDeepStrictEqual(found, expected)) {
    throw new Error(`expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}`);
  }
}

/** Fails unless `body` is refused with a text that `pattern` matches. */
export async function refused(body, pattern) {
  const error = await body().then(() => undefined, (refusal) => refusal);
  if (error === undefined || !pattern.test(error.message)) {
    throw new Error(`expected a refusal like ${pattern}, found ${error?.message}`);
  }
}

/** Reads until the expected value comes, for a bounded time. */
export async function eventually(read, expected) {
  const end = Date.now() + WAIT_MS;
  for (;;) {
    const found = await read();
    if (isDeepStrictEqual(found, expected)) return;
    if (Date.now() > end) {
      throw new Error(`expected ${JSON.stringify(expected)} within ${WAIT_MS} ms, found ${JSON.stringify(found)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
