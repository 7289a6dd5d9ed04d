import * as ActorRegistry from "@millrace/core/ActorRegistry"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import { Layer } from "effect"

// Everything that the programs of this guide need, on one SQLite file that is gone with them.
export const services = ProjectionRunner.layer.pipe(
  Layer.provideMerge(Layer.merge(Sqlite.layer({ filename: ":memory:" }), ActorRegistry.layer))
)
