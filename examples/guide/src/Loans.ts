import * as Projection from "@millrace/core/Projection"
import { Schema } from "effect"
import { Book } from "./Library.js"

// A row for each reader: how many books she has, and how many she ever had.
export const loans = Projection.foldOf(Book, {
  name: "loans",
  row: Schema.Struct({ books: Schema.Int, ever: Schema.Int }),
  key: (fact) => (fact.type === "Acquired" ? undefined : fact.data.reader),
  initial: () => ({ books: 0, ever: 0 }),
  evolve: ({ books, ever }, fact) =>
    fact.type === "Lent" ? { books: books + 1, ever: ever + 1 } : { books: books - 1, ever }
})
