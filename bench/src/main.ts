/**
 * `npm run bench -- append|read|project|rebuild|subscribe|pipeline|checkpoint`: measures Millrace, its peers and the bare limits side by side.
 *
 * stdout carries the table, or with `--json` one line; progress goes to stderr. Ends with 0 when everything was
 * measured (goals missed are printed, not punished), 1 when a measurement failed, 2 on a wrong argument.
 */
import { cpus } from "node:os"
import { makeCases } from "./cases.js"
import type { Group } from "./contestant.js"
import { ours } from "./ours.js"
import { ArgumentError, parseBenchArguments, usage } from "./cliArguments.js"
import type { BenchArguments } from "./cliArguments.js"
import { toJsonLine, toReport, toTable } from "./report.js"
import type { CaseReport } from "./report.js"
import { runCase } from "./run.js"
import { startServer } from "./server.js"
import type { Server } from "./server.js"

const progress = (line: string): void => {
  process.stderr.write(`${line}\n`)
}

/** Libraries that log do it beside the report. */
console.log = console.info = console.debug = console.error

const measure = async (options: BenchArguments): Promise<ReadonlyArray<CaseReport>> => {
  let starting: Promise<Server> | undefined
  const server = (): Promise<Server> => (starting ??= startServer(progress))
  const onSignal = async (): Promise<void> => {
    await (await starting?.catch(() => undefined))?.stop().catch(() => {})
    process.exit(130)
  }
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal)
  const reports: Array<CaseReport> = []
  try {
    for (const { benchCase, contestants } of options.selection) {
      progress(`${benchCase.name}: ${benchCase.about}`)
      const result = await runCase(benchCase, contestants, { ...options, server, progress })
      reports.push(toReport(benchCase, result))
    }
    if (!options.json) await printHeader(options, starting)
  } finally {
    const started = await starting?.catch(() => undefined)
    await started?.stop()
  }
  return reports
}

const printHeader = async (options: BenchArguments, starting: Promise<Server> | undefined): Promise<void> => {
  const server = starting === undefined ? "" : `, ${(await starting).description}`
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown CPU"}, Node ${process.versions.node}${server}`
  const hasEvents = options.selection.some(({ benchCase }) => groupsOfEvents.includes(benchCase.group))
  const events = hasEvents ? ", 200-byte events" : ""
  process.stdout.write(`${machine}\n${options.rounds} rounds of ${options.seconds} s, medians${events}\n`)
}

/** Those whose events are the harness's own. */
const groupsOfEvents: ReadonlyArray<Group> = ["append", "read", "rebuild", "subscribe"]

const main = async (): Promise<number> => {
  try {
    const options = parseBenchArguments(process.argv.slice(2), makeCases(ours))
    const reports = await measure(options)
    process.stdout.write(`${options.json ? toJsonLine(reports) : toTable(reports)}\n`)
    return 0
  } catch (cause) {
    if (cause instanceof ArgumentError) {
      progress(`${cause.message}\n\n${usage}`)
      return 2
    }
    progress(cause instanceof Error ? (cause.stack ?? cause.message) : String(cause))
    return 1
  }
}

const code = await main()
// Explicitly, once stdout is written: connections of a contestant that failed may still be open.
process.stdout.write("", () => process.exit(code))
