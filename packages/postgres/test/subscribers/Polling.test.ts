/**
 * The promises of every subscriber where polling alone brings the news: LISTEN is off, and whatever is appended comes
 * from another pool, as another process would have, so that no commit of its own wakes the reader.
 */
import { EventStore } from "@millrace/core/EventStore"
import * as Postgres from "@millrace/postgres/Postgres"
import * as Databases from "@millrace/testkit/Databases"
import { subscriberSuite } from "@millrace/testkit/SubscriberSuite"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const layer = Layer.scopedContext(
  Effect.gen(function* () {
    const { url } = yield* Databases.postgres
    const polling = Postgres.layer({ url, listen: false })
    const writer = Context.get(yield* Layer.build(polling), EventStore)
    const reader = yield* Layer.build(polling)
    return Context.add(
      reader,
      EventStore,
      EventStore.of({ ...Context.get(reader, EventStore), write: writer.write })
    )
  })
)

subscriberSuite("postgres, polling", layer)
