/**
 * The Nexmark benchmark's queries as pipelines, over events that are generated while they run.
 *
 *     npm run nexmark -w examples/nexmark                                   all six, over 1 000 000 events
 *     npm run nexmark -w examples/nexmark -- --query q5 --events 10000000
 *     npm run nexmark -w examples/nexmark -- --seed 7 --out-of-order 500 --parallelism 2 --json
 *
 * For each query it prints how many rows it gave, how many events a second it took, generating them included, and a
 * digest of the rows, which depends on the query, the number of events, the seed and the disorder alone: not on
 * parallelism, nor on how fast it went. The same query by hand (`ByHand.ts`) gives the same digest; `--by-hand` runs
 * that instead, over events that were generated before.
 *
 * Stdout holds the result and nothing else. Ends with 0, with 1 when something failed, with 2 when it was called
 * wrongly.
 */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import * as Memory from "@millrace/core/Memory"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import Table from "cli-table3"
import { byHand, inOrder } from "./ByHand.js"
import { countingSink } from "./CountingSink.js"
import * as Digest from "./Digest.js"
import * as Generator from "./Generator.js"
import { eventsOf, queries, queryNames } from "./Queries.js"
import type { QueryName } from "./Queries.js"

/** The program ends with this exit code; why was said on stderr. */
class Ended extends Data.TaggedError("Ended")<{ readonly code: number }> {}

const whole = (from: number, to: number) => Schema.Int.pipe(Schema.between(from, to))

const options = {
  query: Options.choice("query", [...queryNames, "all"]).pipe(
    Options.withDefault("all" as const),
    Options.withDescription("which query. Default: all of them, one after another")
  ),
  events: Options.integer("events").pipe(
    Options.withSchema(whole(1, 1_000_000_000)),
    Options.withDefault(1_000_000),
    Options.withDescription("how many events. Default: 1000000")
  ),
  seed: Options.integer("seed").pipe(
    Options.withSchema(whole(0, 0xffff_ffff)),
    Options.withDefault(0),
    Options.withDescription("other seeds, other events. Default: 0")
  ),
  outOfOrder: Options.integer("out-of-order").pipe(
    Options.withPseudoName("MS"),
    Options.withSchema(whole(0, 3_600_000)),
    Options.withDefault(0),
    Options.withDescription(
      "how far an event may lie behind newer ones, in milliseconds of event time. Default: 0"
    )
  ),
  parallelism: Options.integer("parallelism").pipe(
    Options.withSchema(whole(1, 256)),
    Options.withDefault(1),
    Options.withDescription("shares that keys are spread over. Default: 1")
  ),
  byHand: Options.boolean("by-hand").pipe(Options.withDescription("plain loops instead of pipelines")),
  json: Options.boolean("json").pipe(Options.withDescription("print one JSON object instead of a table"))
}

/** What is run. */
interface Settings {
  readonly events: number
  readonly seed: number
  readonly outOfOrder: number
  readonly parallelism: number
  readonly byHand: boolean
}

/** How it went. */
interface Outcome {
  readonly query: QueryName
  readonly rows: number
  readonly digest: string
  readonly seconds: number
  readonly eventsPerSecond: number
}

const command = Command.make("nexmark", options, ({ json, query, ...settings }) =>
  Effect.gen(function* () {
    const names = query === "all" ? queryNames : [query as QueryName]
    const outcomes = yield* Effect.forEach(names, (name) =>
      settings.byHand ? Effect.sync(() => runByHand(name, settings)) : runPipeline(name, settings)
    )
    yield* Console.log(json ? jsonLine(settings, outcomes) : tableOf(outcomes))
  })
).pipe(Command.withDescription("Runs queries of the Nexmark benchmark as pipelines over generated events."))

const generated = ({ events, outOfOrder, seed }: Settings) => ({ events, seed, outOfOrdernessMs: outOfOrder })

/** As a user would run it: with the default checkpoints, which are kept in memory. */
const runPipeline = (query: QueryName, settings: Settings) =>
  Effect.gen(function* () {
    const digest = Digest.make()
    const clock = stopwatch()
    const sink = countingSink("rows", (rows: ReadonlyArray<object>) => clock.without(() => digest.add(rows)))
    const events = eventsOf(Generator.source(generated(settings)), settings.outOfOrder)
    const pipeline = Pipeline.make(`nexmark-${query}`, Pipeline.to(sink)(queries[query](events)))
    yield* Pipeline.run(pipeline, { parallelism: settings.parallelism })
    return outcomeOf(query, settings, digest, clock.seconds())
  }).pipe(Effect.provide(Layer.merge(Memory.layer(), ActorRegistry.layer)))

const runByHand = (query: QueryName, settings: Settings): Outcome => {
  const digest = Digest.make()
  const batches = inOrder(Generator.batches(generated(settings)).map(({ values }) => values))
  const clock = stopwatch()
  byHand[query](batches, (rows) => clock.without(() => digest.add(rows)))
  return outcomeOf(query, settings, digest, clock.seconds())
}

const outcomeOf = (
  query: QueryName,
  { events }: Settings,
  digest: Digest.Digest,
  seconds: number
): Outcome => ({
  query,
  rows: digest.rows,
  digest: digest.hex(),
  seconds: Number(seconds.toFixed(3)),
  eventsPerSecond: Math.round(events / seconds)
})

/** Time since it was made, but for what is done `without` it. */
const stopwatch = () => {
  const beganMs = performance.now()
  let notMs = 0
  return {
    without: (work: () => void): void => {
      const fromMs = performance.now()
      work()
      notMs += performance.now() - fromMs
    },
    seconds: (): number => (performance.now() - beganMs - notMs) / 1_000
  }
}

const jsonLine = (settings: Settings, outcomes: ReadonlyArray<Outcome>): string =>
  JSON.stringify({ ...settings, queries: outcomes })

const tableOf = (outcomes: ReadonlyArray<Outcome>): string => {
  const table = new Table({
    head: ["query", "rows", "events/s", "digest"],
    colAligns: ["left", "right", "right", "left"],
    style: { head: [], border: [], compact: true }
  })
  for (const { digest, eventsPerSecond, query, rows } of outcomes)
    table.push([query, rows.toLocaleString("en"), eventsPerSecond.toLocaleString("en"), digest])
  return table.toString()
}

const run = Command.run(command, { name: "nexmark", version: "0.1.0" })

run(process.argv).pipe(
  // The command line's own errors have been printed, with the usage.
  Effect.catchIf(ValidationError.isValidationError, () => new Ended({ code: 2 })),
  Effect.catchAllCause((cause) => {
    const ended = Option.getOrUndefined(Cause.failureOption(cause))
    return ended instanceof Ended
      ? Effect.fail(ended)
      : Effect.zipRight(Console.error(`error: ${Cause.pretty(cause)}`), new Ended({ code: 1 }))
  }),
  Effect.provide(NodeContext.layer),
  Effect.provide(Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger))),
  (main) =>
    NodeRuntime.runMain(main, {
      disableErrorReporting: true,
      disablePrettyLogger: true,
      teardown: (exit, onExit) => onExit(Exit.isSuccess(exit) ? 0 : exitCodeOf(exit.cause))
    })
)

/** 130 is what a shell expects of a program that Ctrl-C ended. */
const exitCodeOf = (cause: Cause.Cause<unknown>): number => {
  const failure = Cause.failureOption(cause)
  if (Option.isSome(failure) && failure.value instanceof Ended) return failure.value.code
  return Cause.isInterruptedOnly(cause) ? 130 : 1
}
