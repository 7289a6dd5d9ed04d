/** What all test projects have in common. Each folder with tests has a `vitest.config.ts` of two lines. */
import type { UserWorkspaceConfig } from "vitest/config"

/**
 * How package imports are looked up. By `millrace-source` an import such as `@millrace/core/EventStore` leads to
 * the sources, so tests need no build before them; the others are what vite looks for by itself, but for `module`:
 * under that name some packages have what only bundlers can load.
 */
export const conditions = ["millrace-source", "node", "development|production"]

export const project = (
  name: string,
  include: ReadonlyArray<string> = ["test/**/*.test.ts"]
): UserWorkspaceConfig => ({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    name,
    include: [...include],
    environment: "node",
    pool: "forks",
    // Real databases on two busy cores: a test that takes a second alone may take ten in the whole run.
    testTimeout: 30_000,
    hookTimeout: 60_000
  }
})
