/** The promises of every subscriber, on Postgres. */
import * as Databases from "@millrace/testkit/Databases"
import { subscriberSuite } from "@millrace/testkit/SubscriberSuite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Postgres from "../src/Postgres.js"

const layer = Layer.unwrapScoped(Effect.map(Databases.postgres, ({ url }) => Postgres.layer({ url })))

subscriberSuite("postgres", layer)
