/** The whole run. The set-up stands here and not in the projects, so that one database server serves all. */
import { defineConfig } from "vitest/config"
import { conditions } from "./vitest.shared.js"
import projects from "./vitest.workspace.js"

export default defineConfig({
  // Vitest hands the conditions of the root to its workers, where Node itself resolves imports.
  ssr: { resolve: { conditions } },
  test: {
    projects: [...projects],
    globalSetup: "packages/testkit/src/globalSetup.ts",
    passWithNoTests: false,
    // What is logged on purpose, by events that fail in tests of failing events, would bury what is said of a failure.
    silent: "passed-only"
  }
})
