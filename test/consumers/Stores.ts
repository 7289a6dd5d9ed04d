/** The stores on which consumers are attacked: by an address that a process can be told. */
import type { EventStore } from "@millrace/core/EventStore"
import type { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Postgres from "@millrace/postgres/Postgres"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import type { Child } from "@millrace/testkit/Children"
import * as Databases from "@millrace/testkit/Databases"
import type { Chance } from "@millrace/testkit/Seeds"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"

/** Where a store is: as JSON, so that a process can be told. */
export type StoreAddress =
  { readonly kind: "postgres"; readonly url: string } | { readonly kind: "sqlite"; readonly filename: string }

/** The store at an address. */
export const storeLayer = (address: StoreAddress): Layer.Layer<EventStore | SubscriberStore, unknown> =>
  address.kind === "postgres"
    ? Postgres.layer({ url: Redacted.make(address.url), maxConnections: 6 })
    : Sqlite.layer({ filename: address.filename, synchronous: "NORMAL" })

/** A new, empty store for one test. */
export const newStore = (kind: StoreAddress["kind"]): Effect.Effect<StoreAddress, unknown, Scope.Scope> =>
  kind === "postgres"
    ? Effect.map(Databases.postgres, ({ url }) => ({ kind, url: Redacted.value(url) }))
    : Effect.map(Databases.sqliteFile, (filename) => ({ kind, filename }))

/**
 * Freezes a process, on SQLite between two of its transactions: frozen inside of one it keeps everybody from the file,
 * and there is nothing to take over before it is thawed.
 */
export const freezeBetween = (child: Child, store: StoreAddress, chance: Chance): Effect.Effect<void> =>
  Effect.gen(function* () {
    for (;;) {
      yield* child.freeze
      if (store.kind === "postgres") return
      yield* Effect.sleep("20 millis")
      const look = Layer.build(Sqlite.layer({ filename: store.filename, busyTimeout: "10 millis" }))
      if (Exit.isSuccess(yield* Effect.exit(Effect.scoped(look)))) return
      yield* child.thaw
      yield* Effect.sleep(chance.int(1, 20))
    }
  })
