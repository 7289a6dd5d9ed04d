import * as EventCodec from "@millrace/core/EventCodec"
import { Schema } from "effect"

// A library lends books: the events of `book/…` streams, each with the Schema of its data.
export const Book = EventCodec.category("book", {
  Acquired: Schema.Struct({ title: Schema.String, branch: Schema.String }),
  Lent: Schema.Struct({ reader: Schema.String, days: Schema.Int.pipe(Schema.positive()) }),
  Returned: Schema.Struct({ reader: Schema.String })
})
