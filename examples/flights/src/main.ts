/**
 * The flights example, end to end: 20 000 real flights are appended to an event store by concurrent writers; a
 * subscriber alerts those that were very late; two projections fold the log per airport and per route; a pipeline
 * computes over the time of the flights, per airport and hour and per route while it is busy; and what came of it is
 * printed.
 *
 *     npm start                                     on SQLite, in .millrace/flights
 *     npm start -- --store memory --json            nothing kept, one JSON object on stdout
 *     npm start -- --store postgres --url postgres://…
 *     npm start -- --rebuild                        both projections are built anew first
 *
 * Run it again, or kill it at any moment and run it again: nothing is appended or alerted twice and the summary
 * is the same. Stdout holds the result and nothing else; progress, logs and errors go to stderr. Ends with 0, with 1
 * when something failed (the message says what to do next), with 2 when it was called wrongly, with 130 when
 * it was interrupted.
 */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { adviceFor, messageOf } from "./Advice.js"
import { alert } from "./Alerts.js"
import * as Dataset from "./Dataset.js"
import { ingest } from "./Ingest.js"
import * as Projecting from "./Projecting.js"
import * as Report from "./Report.js"
import * as Stores from "./Stores.js"
import { summarize } from "./Summary.js"
import * as WindowTables from "./WindowTables.js"

/** The program ends with this exit code; why was said on stderr. */
class Ended extends Data.TaggedError("Ended")<{ readonly code: number }> {}

const options = {
  store: Options.choice("store", Stores.storeNames).pipe(
    Options.withDefault("sqlite" as const),
    Options.withDescription("where the log is kept. Default: sqlite")
  ),
  data: Options.text("data").pipe(
    Options.withPseudoName("DIR"),
    Options.withDefault(".millrace/flights"),
    Options.withDescription("folder of the SQLite file, made when missing. Default: .millrace/flights")
  ),
  url: Options.redacted("url").pipe(
    Options.withPseudoName("URL"),
    Options.withFallbackConfig(Config.redacted("MILLRACE_URL")),
    Options.optional,
    Options.withDescription(
      "the Postgres database, as postgres://user:password@host:5432/name. Default: the variable MILLRACE_URL"
    )
  ),
  rebuild: Options.boolean("rebuild").pipe(
    Options.withDescription("build both projections anew from the log, beside the ones that serve")
  ),
  json: Options.boolean("json").pipe(Options.withDescription("print one JSON object instead of the tables"))
}

const command = Command.make("flights", options, ({ data, json, rebuild, store, url }) =>
  Effect.gen(function* () {
    const place = yield* placeOf(store, data, url)
    const summary = yield* Effect.provide(program(rebuild), services(place))
    yield* Console.log(json ? Report.jsonLine(store, summary) : Report.table(store, summary))
  }).pipe(
    Effect.catchAll((error) =>
      error._tag === "Ended"
        ? Effect.fail(error)
        : Effect.zipRight(
            Console.error(`error: ${messageOf(error)}\n${adviceFor(error)}`),
            new Ended({ code: 1 })
          )
    )
  )
).pipe(
  Command.withDescription(
    "Appends 20 000 flights of 2001 to an event store, alerts the very late ones, and prints how late each airport's and route's flights were."
  )
)

/** What the example is about: in, reacted to, folded, and out again. */
const program = (rebuild: boolean) =>
  Effect.gen(function* () {
    const flights = yield* Dataset.load
    const { appended, present } = yield* ingest(flights)
    yield* Console.error(`${appended} flights appended, ${present} were in the log already`)
    // Alerts come before the projections, so that these stand at the head of the log when it is printed.
    yield* alert
    if (rebuild) yield* Projecting.rebuild
    const standings = yield* Projecting.catchUp
    return yield* summarize(standings, yield* WindowTables.upToHead)
  })

/** The store, and what runs subscribers and projections on it. */
const services = (place: Stores.StorePlace) =>
  Layer.provideMerge(ProjectionRunner.layer, Layer.merge(Stores.layer(place), ActorRegistry.layer))

const placeOf = (
  store: Stores.StoreName,
  folder: string,
  url: Option.Option<Redacted.Redacted<string>>
): Effect.Effect<Stores.StorePlace, Ended> => {
  switch (store) {
    case "memory":
      return Effect.succeed({ store })
    case "sqlite":
      return Effect.succeed({ store, folder })
    case "postgres": {
      const given = Option.getOrElse(url, () => Redacted.make(""))
      const text = Redacted.value(given)
      if (/^postgres(ql)?:\/\//.test(text) && URL.canParse(text)) return Effect.succeed({ store, url: given })
      // What was given is not repeated: there may be a password in it.
      const fault = text === "" ? "needs a database" : "needs postgres://user:password@host:5432/name"
      return Effect.zipRight(
        Console.error(
          `error: --store postgres ${fault}. Name it with --url, or in the variable MILLRACE_URL.`
        ),
        new Ended({ code: 2 })
      )
    }
  }
}

const run = Command.run(command, { name: "flights", version: "0.1.0" })

run(process.argv).pipe(
  // The command line's own errors have been printed, with the usage.
  Effect.catchIf(ValidationError.isValidationError, () => new Ended({ code: 2 })),
  Effect.catchAllDefect((defect) =>
    Effect.zipRight(
      Console.error(`error: this is a fault of the program.\n${Cause.pretty(Cause.die(defect))}`),
      new Ended({ code: 1 })
    )
  ),
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
