/**
 * Prints one plain line, `12 passed, 0 failed` (`, 3 skipped` where there are any), from vitest's JSON report.
 * Usage: node scripts/testCount.mjs REPORT STATUS, with the status that vitest ended with.
 *
 * Never prints `0 failed` for a run that failed: a file that could not be loaded counts as one failed test, and
 * so does whatever made the run fail without any test of its own.
 */
import { readFileSync } from "node:fs"

const [reportFile = "", status = "1"] = process.argv.slice(2)

/** No report, when the run failed before its first test. */
const read = () => {
  try {
    return JSON.parse(readFileSync(reportFile, "utf8"))
  } catch {
    return { testResults: [] }
  }
}

const files = read().testResults
const count = (...wanted) =>
  files.flatMap((file) => file.assertionResults).filter((test) => wanted.includes(test.status)).length

const isBroken = (file) =>
  file.status === "failed" && !file.assertionResults.some((test) => test.status === "failed")

const passed = count("passed")
const skipped = count("skipped", "pending", "todo", "disabled")
const failed = Math.max(count("failed") + files.filter(isBroken).length, status === "0" ? 0 : 1)

process.stdout.write(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}\n`)
