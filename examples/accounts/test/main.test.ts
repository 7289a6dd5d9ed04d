/** README's programs: they stand there as they are run here, and print what README says they print. */
import { execFile } from "node:child_process"
import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { expect, it } from "vitest"

const root = fileURLToPath(new URL("../../../", import.meta.url))
const program = fileURLToPath(new URL("../src/main.ts", import.meta.url))

it("README's program runs as printed", async () => {
  const readme = await readFile(`${root}/README.md`, "utf8")
  const [, printed] = /```ts\n([\s\S]*?)```/.exec(readme)!
  expect(printed).toBe(await readFile(program, "utf8"))
  expect(printed!.trimEnd().split("\n").length).toBeLessThanOrEqual(30)

  const [, said] = /It prints:\n\n```\n([\s\S]*?)```/.exec(readme)!
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--conditions=millrace-source", "--import", "tsx", program],
    { cwd: root }
  )
  expect(stdout).toBe(said)
})

it("README's subscriber runs as printed", async () => {
  const readme = await readFile(`${root}/README.md`, "utf8")
  const [, second] = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)]
  const printed = second![1]
  const subscriber = fileURLToPath(new URL("../src/subscriber.ts", import.meta.url))
  expect(printed).toBe(await readFile(subscriber, "utf8"))
  const [, said] = /It prints `([^`]*)`/.exec(readme)!
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--conditions=millrace-source", "--import", "tsx", subscriber],
    { cwd: root }
  )
  expect(stdout).toBe(`${said}\n`)
})
