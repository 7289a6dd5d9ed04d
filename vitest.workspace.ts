/** Every folder with tests of its own. `vitest.config.ts` makes these globs the projects of a run. */
const projects: ReadonlyArray<string> = [
  "packages/*/vitest.config.ts",
  "examples/*/vitest.config.ts",
  "bench/vitest.config.ts",
  "test/vitest.config.ts"
]

export default projects
