/** README's program: it stands there as it is run here, and prints what README says it prints. */
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
