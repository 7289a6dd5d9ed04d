/**
 * `npm run test:pooler`: the suites through a real PgBouncer. No project of `vitest.workspace.ts`, and no file here is
 * named `*.test.ts`, since `npm test` asks for nothing that npm does not install.
 */
import { defineConfig } from "vitest/config"
import { project } from "../../vitest.shared.js"

const pooled = project("pooler", ["*.pooled.ts"])

export default defineConfig({
  ...pooled,
  root: import.meta.dirname,
  test: { ...pooled.test, globalSetup: "./globalSetup.ts", passWithNoTests: false }
})
