/** What users import says what it is. */
import { expect, it } from "vitest"
import { undocumented } from "./house/docs.js"
import { packageSources } from "./house/sources.js"

it("every exported declaration has a doc comment", () => {
  const sources = new Map(
    Array.from(packageSources()).filter(([file]) => !/\/(internal|suites)\//.test(file))
  )
  const found = Array.from(sources, ([file, text]) => undocumented(file, text)).flat()
  expect(sources.size).toBeGreaterThan(20)
  expect(found.map(({ file, name }) => `${file}: ${name}`)).toEqual([])
})

it("a declaration without one is found, and one comment serves a schema and its type", () => {
  const text = `
    /** A name. */
    export const Name = 1
    export type Name = number
    export const naked = 2
    export function bare(): void {}
    /** Dressed. */
    export interface Dressed {}
    const own = 3
  `
  expect(undocumented("a.ts", text).map(({ name }) => name)).toEqual(["naked", "bare"])
})
