/** The import directions hold, and the checker that says so finds what it is there to find. */
import { assert, describe, it } from "vitest"
import type { Files, House, PackageRules } from "./house/imports.js"
import { check, importsOf } from "./house/imports.js"
import { house } from "./house/rules.js"
import { packageFolders, packageSources } from "./house/sources.js"

const messages = (files: Files, rules: House): ReadonlyArray<string> =>
  check(files, rules).map(({ file, message }) => `${file} ${message}`)

describe("imports", () => {
  it("every package has its rules, and every rule its package", () => {
    assert.sameMembers(Object.keys(house), [...packageFolders])
  })

  it("every source imports only what stands below it", () => {
    const files = packageSources()
    assert.isAbove(files.size, 0)
    assert.deepStrictEqual(messages(files, house), [])
  })
})

// ---- the checker itself, on made-up files ----

const rules = (changes: Partial<PackageRules>): PackageRules => ({
  packages: [],
  externals: ["effect"],
  builtins: false,
  ranks: [],
  unranked: "top",
  ...changes
})

const toyHouse: House = {
  core: rules({
    ranks: [
      { name: "values", modules: ["Value", "OtherValue"] },
      { name: "contracts", modules: ["Contract"] },
      { name: "layers", modules: ["Layer"] }
    ],
    unranked: "refused"
  }),
  sql: rules({ packages: ["core"], externals: ["effect", "@effect/sql"] }),
  testkit: rules({ packages: ["core"], builtins: true })
}

/** Files that break nothing; a case lays its own over them. */
const sound = {
  "packages/core/src/Value.ts": `import * as Effect from "effect/Effect"`,
  "packages/core/src/OtherValue.ts": `import { a } from "./Value.js"\nimport { b } from "./internal/tool.js"`,
  "packages/core/src/Contract.ts": `export * from "./Value.js"`,
  "packages/core/src/Layer.ts": `import type { C } from "./Contract.js"`,
  "packages/core/src/internal/tool.ts": `import { a } from "./other.js"\nimport { v } from "../Value.js"`,
  "packages/core/src/internal/other.ts": ``,
  "packages/sql/src/Statements.ts": `import { a } from "@millrace/core/Value"\nimport { S } from "@effect/sql/SqlClient"`,
  "packages/sql/src/migrations/index.ts": `import { one } from "./0001_one.js"`,
  "packages/sql/src/migrations/0001_one.ts": ``,
  "packages/sql/src/Migrations.ts": `import { all } from "./migrations/index.js"`,
  "packages/testkit/src/Server.ts": `import { spawn } from "node:child_process"`
}

interface Case {
  readonly breaks: string
  readonly files: Readonly<Record<string, string>>
  /** Part of the one message that must come of it. */
  readonly says: string
}

const cases: ReadonlyArray<Case> = [
  {
    breaks: "a package that imports one above it",
    files: { "packages/core/src/OtherValue.ts": `import { s } from "@millrace/sql/Statements"` },
    says: `package "core" stands below or beside "sql"`
  },
  {
    breaks: "a type imported against the direction",
    files: { "packages/core/src/OtherValue.ts": `import type { s } from "@millrace/sql/Statements"` },
    says: `package "core" stands below or beside "sql"`
  },
  {
    breaks: "an import of a package instead of a module",
    files: { "packages/sql/src/Statements.ts": `import { a } from "@millrace/core"` },
    says: "name the module, not the package"
  },
  {
    breaks: "an import of a package's index",
    files: { "packages/sql/src/Statements.ts": `import { a } from "@millrace/core/index"` },
    says: "name the module, not the package"
  },
  {
    breaks: "an import of another package's internal file",
    files: { "packages/sql/src/Statements.ts": `import { a } from "@millrace/core/internal/tool"` },
    says: `internal to package "core"`
  },
  {
    breaks: "an import of a module that is not there",
    files: { "packages/sql/src/Statements.ts": `import { a } from "@millrace/core/Nowhere"` },
    says: "there is no such file"
  },
  {
    breaks: "a relative import without its ending",
    files: { "packages/core/src/OtherValue.ts": `import { a } from "./Value"` },
    says: "name it in full"
  },
  {
    breaks: "a relative import of another package",
    files: { "packages/sql/src/Statements.ts": `import { a } from "../../core/src/Value.js"` },
    says: "another package is imported by its name"
  },
  {
    breaks: "a relative import out of the sources",
    files: { "packages/sql/src/Statements.ts": `import { a } from "../test/Fixture.js"` },
    says: "leads out of the package's sources"
  },
  {
    breaks: "a package that imports itself by name",
    files: { "packages/core/src/OtherValue.ts": `import { a } from "@millrace/core/Value"` },
    says: "a package imports itself by relative paths"
  },
  {
    breaks: "a dependency that the package may not need",
    files: { "packages/sql/src/Statements.ts": `import pg from "pg"` },
    says: `package "sql" may not need pg`
  },
  {
    breaks: "a dependency loaded only when called",
    files: { "packages/core/src/Value.ts": `export const load = () => import("@effect/sql/SqlClient")` },
    says: `package "core" may not need @effect/sql`
  },
  {
    breaks: "a module of Node where there may be no Node",
    files: { "packages/sql/src/Statements.ts": `import { readFileSync } from "node:fs"` },
    says: "does without Node's own modules"
  },
  {
    breaks: "a module of Node by its old name",
    files: { "packages/core/src/Value.ts": `import { readFileSync } from "fs"` },
    says: "does without Node's own modules"
  },
  {
    breaks: "an index file",
    files: { "packages/sql/src/index.ts": `` },
    says: "is an index"
  },
  {
    breaks: "a file that is in no rank",
    files: { "packages/core/src/Newcomer.ts": `` },
    says: `"Newcomer" has no rank: add it to the table of package "core"`
  },
  {
    breaks: "a value that looks up to a contract",
    files: {
      "packages/core/src/Value.ts": ``,
      "packages/core/src/OtherValue.ts": `import type { C } from "./Contract.js"`
    },
    says: `"values" may not look up to "contracts"`
  },
  {
    breaks: "a contract that passes a layer on",
    files: {
      "packages/core/src/Contract.ts": `export { L } from "./Layer.js"`,
      "packages/core/src/Layer.ts": ``
    },
    says: `"contracts" may not look up to "layers"`
  },
  {
    breaks: "an internal file that imports more than values",
    files: { "packages/core/src/internal/tool.ts": `import { C } from "../Contract.js"` },
    says: `an internal file imports values and internal files, and this is of "contracts"`
  },
  {
    breaks: "files that import each other",
    files: {
      "packages/core/src/internal/other.ts": `import { t } from "./tool.js"`
    },
    says: "imports itself: packages/core/src/internal/tool.ts → packages/core/src/internal/other.ts"
  },
  {
    breaks: "a package without rules",
    files: { "packages/newcomer/src/Thing.ts": `` },
    says: `no rules for package "newcomer"`
  }
]

describe("the import checker", () => {
  it("has nothing to say about files that keep the rules", () => {
    assert.deepStrictEqual(messages(new Map(Object.entries(sound)), toyHouse), [])
  })

  for (const { breaks, files, says } of cases) {
    it(`finds ${breaks}`, () => {
      const found = messages(new Map(Object.entries({ ...sound, ...files })), toyHouse)
      assert.lengthOf(found, 1, found.join("\n"))
      assert.include(found[0], says)
    })
  }

  it("sees every form of an import", () => {
    const source = [
      `import a from "one"`,
      `import type { B } from "two"`,
      `export * from "three"`,
      `export type { C } from "four"`,
      `import "five"`,
      `const six = await import("six")`,
      `type Seven = import("seven").Seven`,
      `// import eight from "eight"`,
      `const nine = 'import nine from "nine"'`
    ].join("\n")
    const seen = importsOf(source)
    assert.includeMembers([...seen], ["one", "two", "three", "four", "five", "six"])
    assert.notIncludeMembers([...seen], ["eight", "nine"])
  })
})
