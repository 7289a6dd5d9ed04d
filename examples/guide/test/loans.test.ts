/** The guide's test of its own projection. */
import { given } from "@millrace/testkit/Given"
import { Effect } from "effect"
import { it } from "vitest"
import { loans } from "../src/Loans.js"

it("a reader has the books that she has not returned", () =>
  Effect.runPromise(
    given([
      { streamId: "book/Dune", type: "Lent", data: { reader: "Ada", days: 14 } },
      { streamId: "book/Emma", type: "Lent", data: { reader: "Ada", days: 7 } },
      { streamId: "book/Dune", type: "Returned", data: { reader: "Ada" } }
    ])
      .when(loans)
      .then({ Ada: { books: 1, ever: 2 } })
  ))

it("an event that is not what it promises to be fails the fold, by its name", () =>
  Effect.runPromise(
    given([{ streamId: "book/Dune", type: "Lent", data: { reader: "Ada", days: -1 } }])
      .when(loans)
      .thenFails({ position: 1, cause: /days/ })
  ))
