/** The sources of all packages, as the checks of this folder want them. */
import { readdirSync, readFileSync } from "node:fs"
import { join, relative, sep } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** Folders below `packages`. */
export const packageFolders: ReadonlyArray<string> = readdirSync(join(root, "packages"), {
  withFileTypes: true
})
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name)

const sourcesBelow = (folder: string): ReadonlyArray<readonly [path: string, source: string]> =>
  readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return sourcesBelow(path)
    if (!entry.name.endsWith(".ts")) return []
    return [[relative(root, path).split(sep).join("/"), readFileSync(path, "utf8")]]
  })

/** Source texts by path from the root, with `/` on every system. */
export const packageSources = (): ReadonlyMap<string, string> =>
  new Map(packageFolders.flatMap((name) => sourcesBelow(join(root, "packages", name, "src"))))
