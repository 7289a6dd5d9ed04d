/** Packages take the time from `Clock` and from nowhere else. */
import { assert, describe, it } from "vitest"
import { clockReads } from "./house/determinism.js"
import { packageSources } from "./house/sources.js"

/** They watch a server outside of this process, whose time is the machine's. */
const exempt = /^packages\/testkit\/src\/internal\//

describe("determinism", () => {
  it("no source reads the machine's clock through Date", () => {
    const found = [...packageSources()]
      .filter(([path]) => !exempt.test(path))
      .flatMap(([path, source]) => clockReads(source).map((line) => `${path}:${line}`))
    assert.deepStrictEqual(found, [])
  })

  it("the check tells reading the clock from converting a time", () => {
    const source = ["new Date()", "new Date(0)", "Date()", "new Date", "// new Date()", "'new Date()'"].join(
      "\n"
    )
    assert.deepStrictEqual(clockReads(source), [1, 3, 4])
  })
})
