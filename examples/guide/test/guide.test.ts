/** docs/guide.md: its code stands there as it is run here, and prints what the guide says it prints. */
import { execFile } from "node:child_process"
import { readdir, readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { expect, it } from "vitest"

const root = fileURLToPath(new URL("../../../", import.meta.url))
const folder = fileURLToPath(new URL("..", import.meta.url))
const guide = await readFile(`${root}/docs/guide.md`, "utf8")
const blocks = [...guide.matchAll(/```ts\n([\s\S]*?)```\n(?:\nIt prints:\n\n```\n([\s\S]*?)```\n)?/g)]
const sources = [...(await readdir(`${folder}/src`)).map((name) => `src/${name}`), "test/loans.test.ts"]

it("every file of the example is in the guide, as it is, and nothing else", async () => {
  const printed = blocks.map(([, code]) => code)
  const files = await Promise.all(sources.map((name) => readFile(`${folder}/${name}`, "utf8")))
  expect(printed.toSorted()).toEqual(files.toSorted())
})

const programs = sources.filter((name) => /\/\d/.test(name))

it("the guide has six programs", () => {
  expect(programs.length).toBe(6)
})

it.each(programs)("%s prints what the guide says", async (name) => {
  const code = await readFile(`${folder}/${name}`, "utf8")
  const said = blocks.find(([, printed]) => printed === code)?.[2]
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--conditions=millrace-source", "--import", "tsx", `${folder}/${name}`],
    { cwd: root }
  )
  expect(said).toBeDefined()
  expect(stdout).toBe(said)
})
