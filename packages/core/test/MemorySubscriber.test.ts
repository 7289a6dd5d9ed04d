import * as Memory from "@millrace/core/Memory"
import { subscriberSuite } from "@millrace/testkit/SubscriberSuite"

subscriberSuite("memory", Memory.layer())
