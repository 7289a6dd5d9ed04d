/**
 * Finds what the type checker cannot see: an Effect that is made and neither yielded nor kept, so that it never
 * runs, and the like. All packages, tests and examples are checked as one program that reads the sources, so
 * nothing has to be built before. Ends non-zero on any finding.
 */
import { spawnSync } from "node:child_process"
import { createRequire } from "node:module"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"

const root = join(dirname(fileURLToPath(import.meta.url)), "..")
const require = createRequire(import.meta.url)

const manifest = require.resolve("@effect/language-service/package.json")
const program = join(dirname(manifest), require(manifest).bin["effect-language-service"])
const project = join(root, "scripts", "tsconfig.diagnostics.json")

const run = spawnSync(
  process.execPath,
  [program, "diagnostics", "--project", project, "--format", "json", "--strict"],
  { cwd: root, encoding: "utf8", maxBuffer: 64 * 1024 * 1024 }
)

/** The report, or undefined where the tool broke down before it could write one. */
const parse = (text) => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const report = parse(run.stdout)
if (report === undefined || report.summary.filesChecked === 0) {
  process.stderr.write(`effect diagnostics did not run. code=${run.status}\n${run.stdout}\n${run.stderr}\n`)
  process.exit(1)
}
for (const { column, file, line, message, name, severity } of report.diagnostics) {
  process.stdout.write(`${relative(root, file)}:${line}:${column} ${severity} ${name}: ${message}\n`)
}
process.stdout.write(
  `effect diagnostics: ${report.diagnostics.length} findings in ${report.summary.filesChecked} files\n`
)
process.exit(report.diagnostics.length === 0 && run.status === 0 ? 0 : 1)
