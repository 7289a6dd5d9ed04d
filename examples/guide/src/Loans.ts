import * as Projection from "@millrace/core/Projection"
import { Schema } from "effect"
import { factOf } from "./Library.js"

// A row for each reader: how many books she has, and how many she ever had.
export const loans = Projection.fold({
  name: "loans",
  filters: [{ category: "book" }],
  row: Schema.Struct({ books: Schema.Int, ever: Schema.Int }),
  key: (event) => {
    const fact = factOf(event)
    return fact.type === "Acquired" ? undefined : fact.data.reader
  },
  initial: () => ({ books: 0, ever: 0 }),
  evolve: ({ books, ever }, event) =>
    event.type === "Lent" ? { books: books + 1, ever: ever + 1 } : { books: books - 1, ever }
})
