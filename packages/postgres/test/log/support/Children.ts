/**
 * Real processes: programs of `programs/`, which are told things by lines of their input and answer by lines
 * of JSON. None outlives the scope in which it was started.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as Data from "effect/Data"

class ChildFailed extends Data.TaggedError("ChildFailed")<{ readonly message: string }> {}

export interface Child {
  readonly pid: number
  /** Everything that it has said so far, whole lines only. */
  readonly lines: ReadonlyArray<unknown>
  readonly say: (line: string) => Effect.Effect<void>
  readonly kill: Effect.Effect<void>
  /** Waits for its end; fails with what it wrote to stderr unless it ended by itself with code 0, or by `kill`. */
  readonly ended: Effect.Effect<void, Error>
  /** Waits for its first line: it is up. */
  readonly ready: Effect.Effect<void, Error>
}

/** Starts `programs/<name>.ts` with one argument. */
export const start = (name: string, argument: unknown): Effect.Effect<Child, never, Scope.Scope> =>
  Effect.gen(function* () {
    const ended = yield* Deferred.make<void, Error>()
    const ready = yield* Deferred.make<void, Error>()
    const program = fileURLToPath(new URL(`../programs/${name}.ts`, import.meta.url))
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
              : Effect.fail(new ChildFailed({ message: `${name} ended by ${code ?? signal}\n${errors}` }))
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
      ended: Deferred.await(ended),
      ready: Deferred.await(ready)
    }
  })
