/**
 * The model store over a folder: each model in a file of its own, each operation passed on to the store of the file
 * that holds it. What is done to the live model is done to the file that is live at that moment; whoever had it
 * before a swap finds its checkpoint closed, and learns that it was overtaken. The protocol is in `ProjectionDir`.
 */
import { LeaseLost } from "@millrace/core/LeaseLost"
import type { Model, Swapped } from "@millrace/core/ModelStore"
import { ModelRefused, ModelStore, partName } from "@millrace/core/ModelStore"
import { Position } from "@millrace/core/Position"
import type { Projection } from "@millrace/core/Projection"
import * as Scoped from "@millrace/core/Scoped"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import type { Part } from "@millrace/sql/ModelTables"
import * as ModelTables from "@millrace/sql/ModelTables"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { AnyProjection, DirFile } from "./ProjectionDirFile.js"
import { closedEpoch } from "./ProjectionDirFile.js"
import type { Folder } from "./ProjectionDirFolder.js"
import * as Names from "./ProjectionDirNames.js"
import type { Manifest } from "./ProjectionDirPointer.js"

/** Where a swap is. For tests, which end the process there. */
export type SwapPoint = "begun" | "handed over" | "in live form" | "synced" | "pointed"

/** Builds the store. `nothing` is a file without a model, for reading the one of a projection that has none. */
export const make = (
  folder: Folder,
  nothing: DirFile,
  at: (point: SwapPoint) => Effect.Effect<void> = () => Effect.void
): ModelStore["Type"] => {
  /** The live model, wherever it is when something is done to it. */
  const liveModel = <E, R>(projection: Projection<E, R>): Model<R> => {
    const { name } = projection
    let opened: { readonly file: DirFile; readonly model: Model<R> } | undefined
    const modelIn = (file: DirFile): Effect.Effect<Model<R>, StoreUnavailable> =>
      Effect.suspend(() =>
        opened?.file === file
          ? Effect.succeed(opened.model)
          : Scoped.scoped(file.models.open(projection)).pipe(
              Effect.catchTag("ModelRefused", (refused) => Effect.fail(cannotServe(refused))),
              Effect.tap((model) => Effect.sync(() => (opened = { file, model })))
            )
      )
    const using = <A, E2, R2>(
      use: (model: Model<R>, file: DirFile) => Effect.Effect<A, E2, R2>
    ): Effect.Effect<A, E2 | StoreUnavailable, R2> =>
      Effect.flatMap(folder.live(name), (file) => Effect.flatMap(modelIn(file), (model) => use(model, file)))
    const overtaken = new LeaseLost({ key: name, holder: "" })
    const names = ModelTables.namesOf(projection as AnyProjection, (table) => table)
    /** Again with the file that is live, or open again, where a swap is under way or has come to nothing. */
    const info: Model<R>["info"] = Effect.flatMap(
      using((model) => model.info),
      (found) =>
        isClosed(found)
          ? Effect.zipRight(
              settled(name),
              Effect.suspend(() => info)
            )
          : Effect.succeed(found)
    )
    return {
      info,
      hold: using((model) => model.hold),
      claim: (epoch) =>
        Effect.tapErrorTag(
          using((model) => model.claim(epoch)),
          "LeaseLost",
          // Perhaps a process died while it swapped: then the next claim is to find the file open.
          () =>
            Effect.whenEffect(
              settled(name),
              Effect.map(
                using((model) => model.info),
                isClosed
              )
            )
        ),
      cursors: (streamIds) => using((model) => model.cursors(streamIds)),
      apply: (events, step) =>
        using((model, file) =>
          Effect.catchIf(
            model.apply(events, step),
            // What a file of before says of its tables and its checkpoint is no more than that.
            ({ _tag }) => _tag !== "LeaseLost",
            (error) =>
              Effect.flatMap(folder.isLive(name, file), (isLive) => Effect.fail(isLive ? error : overtaken))
          )
        ),
      table: (table) => ModelTables.nameAmong(names, table),
      count: using((model) => model.count),
      rows: (keys) => using((model) => model.rows(keys)),
      provided: (effect) => using((model) => model.provided(effect))
    }
  }

  /** Under the lock: opens again what a swap has closed that came to nothing. */
  const settled = (name: string) => folder.locked("settle", folder.settle(name))

  /** A model beside the live one, in beside form. */
  const besideModel = <E, R>(
    projection: Projection<E, R>,
    generation: number
  ): Effect.Effect<Model<R>, ModelRefused | StoreUnavailable> =>
    folder.locked(
      "open",
      Effect.gen(function* () {
        const { name } = projection
        const manifest = yield* folder.begun(name)
        let found = findPart(manifest, generation)
        if (found === undefined) {
          const isFirst = generation > manifest.highest
          const file = Names.databaseFile(name, generation, isFirst ? 0 : manifest.made)
          yield* folder.create(name, file)
          yield* folder.point(name, {
            ...manifest,
            building: [...manifest.building, { file, generation }],
            made: manifest.made + 1,
            highest: Math.max(manifest.highest, generation)
          })
          found = { file, part: "b", generation }
        }
        const file = yield* folder.file(name, found.file)
        yield* file.toBeside(projection as AnyProjection, found)
        // Handlers that do not ask for the names of their tables are to find some, which are dropped with the swap:
        // what they are refused for is that they did not ask.
        if (projection.strength._tag !== "Fold") yield* Scoped.scoped(file.models.open(projection))
        return yield* Scoped.scoped(file.models.open(projection, generation))
      })
    )

  /** The file to read the live model in. */
  const readable = ({ name }: Pick<Projection, "name">): Effect.Effect<DirFile, StoreUnavailable> =>
    Names.nameFault(name) === undefined
      ? Effect.map(folder.existing(name), (file) => file ?? nothing)
      : Effect.succeed(nothing)

  const swap = (
    projection: AnyProjection,
    generation: number,
    { epoch, keepFormer }: { readonly epoch: number; readonly keepFormer: boolean }
  ): Effect.Effect<Swapped, LeaseLost | StoreUnavailable> =>
    Effect.gen(function* () {
      const { name } = projection
      const { live, manifest } = yield* folder.settle(name)
      const found = findPart(manifest, generation)
      const key = partName(name, found?.part ?? "b", generation)
      const lost = new LeaseLost({ key, holder: "" })
      if (found === undefined) return yield* lost
      const next = yield* folder.file(name, found.file)
      yield* next.toBeside(projection, found)
      const row = yield* next.checkpoint(key)
      if (row === undefined || Number(row.epoch) > epoch) return yield* lost
      yield* at("begun")
      const closing = yield* live.handOver(name, Number(row.position))
      if (closing._tag === "Behind") return { _tag: "Behind", live: Position.make(closing.position) } as const
      return yield* Effect.gen(function* () {
        yield* at("handed over")
        const epochs = { builder: epoch, live: closing.epoch + 1 }
        if (!(yield* next.toLive(projection, found, epochs))) return yield* lost
        yield* at("in live form")
        yield* next.settle
        yield* at("synced")
        yield* folder.point(name, {
          ...manifest,
          live: found.file,
          former: keepFormer && !closing.isEmpty ? { file: live.file, generation } : undefined,
          building: manifest.building.filter(({ file }) => file !== found.file)
        })
        yield* at("pointed")
        return { _tag: "Swapped" } as const
      }).pipe(
        // As the next one would mend it, if the process had died.
        Effect.onError(() => Effect.ignore(folder.settle(name)))
      )
    })

  return ModelStore.of({
    isDurable: true,
    // The log is in another database.
    transaction: undefined,
    open: (projection, generation) =>
      Effect.gen(function* () {
        const fault = Names.nameFault(projection.name) ?? ModelTables.faultOf(projection as AnyProjection)
        if (fault !== undefined) return yield* refuse(projection, fault)
        if (generation !== undefined) return yield* besideModel(projection, generation)
        const file = yield* folder.live(projection.name)
        yield* file.models.open(projection)
        return liveModel(projection)
      }),

    generations: ({ name }) =>
      Names.nameFault(name) !== undefined
        ? Effect.succeed({ building: Option.none(), former: Option.none() })
        : folder.locked(
            "generations",
            Effect.gen(function* () {
              const manifest = yield* folder.manifest(name)
              const [built] = (manifest?.building ?? []).toSorted((a, b) => b.generation - a.generation)
              const { former } = manifest ?? {}
              const stands = (
                beside: { readonly file: string; readonly generation: number },
                part: Part["part"]
              ) =>
                Effect.gen(function* () {
                  const file = yield* folder.file(name, beside.file)
                  const row =
                    (yield* file.checkpoint(partName(name, part, beside.generation))) ??
                    (yield* file.checkpoint(name))
                  return {
                    generation: beside.generation,
                    position: Position.make(Number(row?.position ?? 0)),
                    version: Option.map(Option.fromNullable(row?.revision), Number)
                  }
                })
              return {
                building: built === undefined ? Option.none() : Option.some(yield* stands(built, "b")),
                former: former === undefined ? Option.none() : Option.some(yield* stands(former, "f"))
              }
            })
          ),

    swap: (projection, generation, options) => folder.locked("swap", swap(projection, generation, options)),

    discard: ({ name }, generation) =>
      Effect.asVoid(
        folder.locked(
          "discard",
          Effect.gen(function* () {
            const manifest = yield* folder.manifest(name)
            const gone = [manifest?.former, ...(manifest?.building ?? [])].filter(
              (beside) => beside?.generation === generation
            )
            if (manifest === undefined) return
            for (const beside of gone)
              yield* Effect.ignore(Effect.flatMap(folder.file(name, beside!.file), (file) => file.bury(name)))
            if (gone.length === 0) return
            yield* folder.point(name, {
              ...manifest,
              former: gone.includes(manifest.former) ? undefined : manifest.former,
              building: manifest.building.filter((beside) => !gone.includes(beside))
            })
          })
        )
      ),

    empty: (projection) =>
      folder.locked(
        "empty",
        Effect.flatMap(folder.settle(projection.name), ({ live }) => live.models.empty(projection))
      ),

    remove: ({ name }) =>
      Names.nameFault(name) === undefined ? folder.locked("remove", folder.remove(name)) : Effect.void,

    list: (projection, listing) =>
      Effect.flatMap(readable(projection), ({ models }) => models.list(projection, listing)),
    get: (projection, key) =>
      Effect.flatMap(readable(projection), ({ models }) => models.get(projection, key))
  })
}

// ---- internal ----

const refuse = ({ name }: Pick<Projection, "name">, fault: string | { readonly message: string }) =>
  new ModelRefused({ projectionName: name, reason: typeof fault === "string" ? fault : fault.message })

/** Of another form than the code's, since a swap by other code. Who runs it ends, as does who opens it. */
const cannotServe = (refused: ModelRefused): StoreUnavailable =>
  new StoreUnavailable({ operation: "open", transient: false, cause: refused })

const isClosed = (info: Option.Option<{ readonly epoch: Option.Option<number> }>): boolean =>
  Option.exists(info, ({ epoch }) => Option.contains(epoch, closedEpoch))

/** The one that is built, should both have the number. */
const findPart = (
  { building, former }: Manifest,
  generation: number
): (Part & { readonly file: string }) | undefined => {
  const built = building.find((beside) => beside.generation === generation)
  if (built !== undefined) return { ...built, part: "b" }
  return former?.generation === generation ? { ...former, part: "f" } : undefined
}
