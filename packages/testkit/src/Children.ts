/**
 * Real processes for tests: TypeScript programs (see `Program`) that are told things by lines of their input and
 * answer by lines of JSON. They can be killed and frozen at any moment. None outlives the scope in which it was
 * started.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as Data from "effect/Data"

/** A program that ended otherwise than it should: its exit code or signal, and what it wrote to stderr. */
export class ChildFailed extends Data.TaggedError("ChildFailed")<{ readonly message: string }> {}

/** A program that runs. */
export interface Child {
  readonly pid: number
  /** Everything that it has said so far, whole lines only. */
  readonly lines: ReadonlyArray<unknown>
  readonly say: (line: string) => Effect.Effect<void>
  /** SIGKILL: it cannot do anything about it. */
  readonly kill: Effect.Effect<void>
  /** SIGSTOP: it stands still, with everything that it holds, until `thaw`. */
  readonly freeze: Effect.Effect<void>
  /** SIGCONT. */
  readonly thaw: Effect.Effect<void>
  /** Waits for its end; fails with what it wrote to stderr unless it ended by itself with code 0, or by `kill`. */
  readonly ended: Effect.Effect<void, Error>
  /** Waits for its first line: it is up. */
  readonly ready: Effect.Effect<void, Error>
}

/**
 * Starts a TypeScript program with one argument, which must be JSON.
 *
 * @example
 * ```ts
 * const child = yield* Children.start(new URL("./programs/writer.ts", import.meta.url), { url, seed })
 * ```
 */
export const start = (file: URL, argument: unknown): Effect.Effect<Child, never, Scope.Scope> =>
  Effect.gen(function* () {
    const ended = yield* Deferred.make<void, Error>()
    const ready = yield* Deferred.make<void, Error>()
    const program = fileURLToPath(file)
    const lines: Array<unknown> = []
    let errors = ""
    let killed = false
    const process_ = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const child = spawn(
          process.execPath,
          ["--conditions=millrace-source", "--import", "tsx", program, JSON.stringify(argument)],
          { stdio: ["pipe", "pipe", "pipe"] }
        )
        child.stdin.on("error", () => undefined)
        child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()))
        createInterface(child.stdout).on("line", (line) => {
          // The last line of a killed process may be half a line.
          try {
            lines.push(JSON.parse(line))
          } catch {
            if (!killed) errors += `not JSON: ${line}\n`
          }
          Deferred.unsafeDone(ready, Effect.void)
        })
        child.on("close", (code, signal) => {
          const outcome =
            code === 0 || killed
              ? Effect.void
              : Effect.fail(new ChildFailed({ message: `${program} ended by ${code ?? signal}\n${errors}` }))
          Deferred.unsafeDone(ended, outcome)
          Deferred.unsafeDone(ready, outcome)
        })
        return child
      }),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    return {
      pid: process_.pid!,
      lines,
      say: (line) => Effect.sync(() => void process_.stdin.write(`${line}\n`)),
      kill: Effect.sync(() => {
        killed = true
        process_.kill("SIGKILL")
      }),
      freeze: Effect.sync(() => void process_.kill("SIGSTOP")),
      thaw: Effect.sync(() => void process_.kill("SIGCONT")),
      ended: Deferred.await(ended),
      ready: Deferred.await(ready)
    }
  })
