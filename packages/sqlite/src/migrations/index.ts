/** The steps that make and change the tables. A released step is never edited, a new one is added below it. */
import { createLog } from "./0001_log.js"
import { createSnapshots } from "./0002_snapshots.js"
import { createSubscribers } from "./0003_subscribers.js"
import { createProjections } from "./0004_projections.js"
import { createCheckpoints } from "./0005_checkpoints.js"

/** Each step under its number and name, in the order in which they run. */
export const migrations = {
  "0001_log": createLog,
  "0002_snapshots": createSnapshots,
  "0003_subscribers": createSubscribers,
  "0004_projections": createProjections,
  "0005_checkpoints": createCheckpoints
}
