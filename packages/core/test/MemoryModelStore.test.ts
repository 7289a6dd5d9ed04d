/** Models in memory pass what every store of models must pass. */
import * as Memory from "@millrace/core/Memory"
import { modelStoreSuite } from "@millrace/testkit/ModelStoreSuite"

modelStoreSuite("memory", Memory.layer(), { numRuns: 100 })
