import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { createRequire } from "node:module"
import { fileURLToPath, pathToFileURL } from "node:url"

const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href
const main = fileURLToPath(new URL("../src/main.ts", import.meta.url))

const run = (...args: ReadonlyArray<string>) =>
  new Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>((resolve) => {
    const child = execFile(
      process.execPath,
      ["--conditions=millrace-source", "--import", tsx, main, ...args],
      { timeout: 120_000 },
      (_, stdout, stderr) => resolve({ code: child.exitCode ?? -1, stdout, stderr })
    )
  })

interface Result {
  readonly queries: ReadonlyArray<{ readonly query: string; readonly rows: number; readonly digest: string }>
}

const timeout = 240_000

describe("nexmark / program", () => {
  it(
    "with --json stdout is one object, and pipelines and plain loops give the same digests",
    async () => {
      const args = ["--events", "50000", "--seed", "3", "--out-of-order", "200", "--json"]
      const [piped, looped] = await Promise.all([
        run(...args, "--parallelism", "2"),
        run(...args, "--by-hand")
      ])
      const rows = ({ code, stderr, stdout }: Awaited<ReturnType<typeof run>>) => {
        assert.strictEqual(code, 0, stderr)
        const { queries } = JSON.parse(stdout) as Result
        return queries.map(({ digest, query, rows }) => ({ query, rows, digest }))
      }
      assert.deepStrictEqual(rows(piped), rows(looped))
      assert.deepStrictEqual(
        rows(piped).map(({ query }) => query),
        ["q1", "q2", "q3", "q5", "q7", "q8"]
      )
    },
    timeout
  )

  it(
    "without --json stdout is a table of the query that was asked for",
    async () => {
      const { code, stdout } = await run("--query", "q1", "--events", "5000")
      assert.strictEqual(code, 0)
      assert.match(stdout, /│ q1 +│ 4,600 │/)
      assert.notInclude(stdout, "q2")
    },
    timeout
  )

  it(
    "a wrong argument ends it with 2",
    async () => {
      for (const args of [["--query", "q4"], ["--events", "0"], ["--fast"]])
        assert.strictEqual((await run(...args)).code, 2, args.join(" "))
    },
    timeout
  )
})
