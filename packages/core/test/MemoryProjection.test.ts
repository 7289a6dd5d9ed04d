/** The promises of projections, in memory. */
import * as Memory from "@millrace/core/Memory"
import { projectionSuite } from "@millrace/testkit/ProjectionSuite"

projectionSuite("memory", Memory.layer())
