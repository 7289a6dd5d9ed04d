/**
 * Who may import whom, as pure functions over a map of files, so that the rules themselves can be tested on
 * made-up files. Imports of types count like all others: a direction that only types break is broken too.
 *
 *   layers ──▶ engines ──▶ contracts ──▶ values ◀── internal
 *
 * Arrows are imports. Within one rank every direction is open as long as no cycle comes of it.
 */
import { builtinModules } from "node:module"
import { posix } from "node:path"
import ts from "typescript"

export interface PackageRules {
  /** Other packages of this repository, by folder. */
  readonly packages: ReadonlyArray<string>
  /** Packages from outside; a scoped one by its full name. */
  readonly externals: ReadonlyArray<string>
  /** Whether modules of Node itself may be imported. Where not, the package also runs elsewhere. */
  readonly builtins: boolean
  /** Modules by rank, lowest first: names of files below `src`, without `.ts`. */
  readonly ranks: ReadonlyArray<Rank>
  /** What a module is that no rank names: a finding, or one more above all ranks. */
  readonly unranked: "refused" | "top"
}

export interface Rank {
  readonly name: string
  readonly modules: ReadonlyArray<string>
}

/** Rules by folder below `packages`. */
export type House = Readonly<Record<string, PackageRules>>

/** Source texts by path from the root of the repository: `packages/core/src/Event.ts`. */
export type Files = ReadonlyMap<string, string>

export interface Finding {
  readonly file: string
  readonly message: string
}

/** Everything in `files` that breaks a rule, in the order of the files. */
export const check = (files: Files, house: House): ReadonlyArray<Finding> => [
  ...[...files.keys()].flatMap((file) => checkFile(file, files, house)),
  ...findCycles(files).map((cycle) => ({ file: cycle[0]!, message: `imports itself: ${cycle.join(" → ")}` }))
]

/** Each import of a source text, in its order, `import type`, `export … from` and `import()` included. */
export const importsOf = (source: string): ReadonlyArray<string> =>
  ts.preProcessFile(source, true, true).importedFiles.map((imported) => imported.fileName)

// ---- internal ----

interface Place {
  readonly folder: string
  /** Path below `src`, without `.ts`. */
  readonly module: string
}

const sourcePath = /^packages\/([^/]+)\/src\/(.+)\.ts$/

const placeOf = (file: string): Place | undefined => {
  const match = sourcePath.exec(file)
  return match === null ? undefined : { folder: match[1]!, module: match[2]! }
}

const isInternal = (module: string): boolean => module.split("/").includes("internal")
const isIndex = (module: string): boolean => posix.basename(module) === "index"
const isMigrationsIndex = (module: string): boolean => /(^|\/)migrations\/index$/.test(module)

const builtins = new Set(builtinModules)
const isBuiltin = (specifier: string): boolean => specifier.startsWith("node:") || builtins.has(specifier)

/** `effect/Effect` → `effect`, `@effect/sql/SqlClient` → `@effect/sql`. */
const packageOf = (specifier: string): string =>
  specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/")

/** The file that an import leads to, by the rules of this repository: `.js` stands for the `.ts` beside it. */
const targetOf = (file: string, specifier: string): string | undefined => {
  if (specifier.startsWith(".")) {
    return posix.join(posix.dirname(file), specifier).replace(/\.js$/, ".ts")
  }
  const own = /^@millrace\/([^/]+)\/(.+)$/.exec(specifier)
  return own === null ? undefined : `packages/${own[1]}/src/${own[2]}.ts`
}

const checkFile = (file: string, files: Files, house: House): ReadonlyArray<Finding> => {
  const place = placeOf(file)
  if (place === undefined) return []
  const rules = house[place.folder]
  if (rules === undefined)
    return [{ file, message: `no rules for package "${place.folder}": add it to the table` }]

  const findings: Array<string> = []
  if (isIndex(place.module) && !isMigrationsIndex(place.module)) {
    findings.push("is an index: give the module the name of what it holds")
  }
  if (
    rules.unranked === "refused" &&
    !isInternal(place.module) &&
    rankOf(place.module, rules) === undefined
  ) {
    findings.push(`"${place.module}" has no rank: add it to the table of package "${place.folder}"`)
  }
  for (const specifier of importsOf(files.get(file) ?? "")) {
    const fault = specifier.startsWith(".")
      ? relativeFault(file, place, specifier, files, rules)
      : specifier.startsWith("@millrace/")
        ? packageFault(place, specifier, files, rules)
        : externalFault(place, specifier, rules)
    if (fault !== undefined) findings.push(`imports "${specifier}": ${fault}`)
  }
  return findings.map((message) => ({ file, message }))
}

const externalFault = (place: Place, specifier: string, rules: PackageRules): string | undefined => {
  if (isBuiltin(specifier)) {
    return rules.builtins ? undefined : `package "${place.folder}" does without Node's own modules`
  }
  return rules.externals.includes(packageOf(specifier))
    ? undefined
    : `package "${place.folder}" may not need ${packageOf(specifier)}`
}

const packageFault = (
  place: Place,
  specifier: string,
  files: Files,
  rules: PackageRules
): string | undefined => {
  const [, folder = "", ...path] = specifier.split("/")
  const module = path.join("/")
  if (folder === place.folder) return "a package imports itself by relative paths"
  if (!rules.packages.includes(folder)) return `package "${place.folder}" stands below or beside "${folder}"`
  if (module === "" || isIndex(module)) return "name the module, not the package"
  if (isInternal(module)) return `internal to package "${folder}"`
  return files.has(`packages/${folder}/src/${module}.ts`) ? undefined : "there is no such file"
}

const relativeFault = (
  file: string,
  place: Place,
  specifier: string,
  files: Files,
  rules: PackageRules
): string | undefined => {
  const path = targetOf(file, specifier)!
  const target = placeOf(path)
  if (!specifier.endsWith(".js") || target === undefined || !files.has(path)) {
    return path.startsWith(`packages/${place.folder}/src`)
      ? "there is no such file; name it in full, with .js for .ts"
      : "leads out of the package's sources"
  }
  if (target.folder !== place.folder) return "another package is imported by its name"
  if (isIndex(target.module) && !isMigrationsIndex(target.module)) return "name the module, not the index"
  return directionFault(place, target, rules)
}

/** Number of the rank that names the module, 0 for the lowest. */
const rankOf = (module: string, rules: PackageRules): number | undefined => {
  const rank = rules.ranks.findIndex((candidate) => candidate.modules.includes(module))
  if (rank >= 0) return rank
  return rules.unranked === "top" ? rules.ranks.length : undefined
}

const directionFault = (source: Place, target: Place, rules: PackageRules): string | undefined => {
  if (isInternal(target.module)) return undefined
  const targetRank = rankOf(target.module, rules)
  // A file without a rank is reported by itself.
  if (targetRank === undefined) return undefined
  const name = (rank: number): string => rules.ranks[rank]?.name ?? "unranked"
  if (isInternal(source.module)) {
    return targetRank === 0
      ? undefined
      : `an internal file imports values and internal files, and this is of "${name(targetRank)}"`
  }
  const sourceRank = rankOf(source.module, rules)
  return sourceRank === undefined || targetRank <= sourceRank
    ? undefined
    : `"${name(sourceRank)}" may not look up to "${name(targetRank)}"`
}

/** One cycle for each knot of files; each as the path that comes back to its first file. */
const findCycles = (files: Files): ReadonlyArray<ReadonlyArray<string>> => {
  const cycles: Array<ReadonlyArray<string>> = []
  const state = new Map<string, "open" | "done">()
  const path: Array<string> = []

  const visit = (file: string): void => {
    if (state.get(file) === "done") return
    if (state.get(file) === "open") {
      cycles.push([...path.slice(path.indexOf(file)), file])
      return
    }
    state.set(file, "open")
    path.push(file)
    for (const specifier of importsOf(files.get(file) ?? "")) {
      const target = targetOf(file, specifier)
      if (target !== undefined && files.has(target)) visit(target)
    }
    path.pop()
    state.set(file, "done")
  }

  for (const file of files.keys()) visit(file)
  return cycles
}
