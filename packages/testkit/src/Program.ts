/** What programs that `Children` starts have in common: one argument, lines of JSON out, orders as lines in. */
import * as Effect from "effect/Effect"
import { createInterface } from "node:readline"

/** What it was started with. */
export const argument = <A>(): A => JSON.parse(process.argv[2] ?? "null")

/** Says one line to whoever started it. */
export const say = (line: unknown): void => void process.stdout.write(`${JSON.stringify(line)}\n`)

/** Calls `on` with each line of the input. Without its parent a program has nothing left to do. */
export const orders = (on: (order: string) => void): void => {
  const input = createInterface(process.stdin)
  input.on("line", on)
  input.on("close", () => process.exit(3))
}

/** Runs to the end; everything said is written before the process ends. */
export const run = <E>(main: Effect.Effect<void, E>): void => {
  Effect.runPromise(main).then(
    () => process.stdout.write("", () => process.exit(0)),
    (cause: unknown) => {
      process.stderr.write(`${String(cause)}\n`, () => process.exit(1))
    }
  )
}
