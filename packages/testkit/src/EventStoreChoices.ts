/**
 * From random choices (`Arbitraries`) to arguments of a store: numbers become names, ids and positions. All
 * names begin with one text, so that histories in one log do not meet.
 */
import type { ExpectedVersion, StreamAppend } from "@millrace/core/Append"
import type { EventFilter } from "@millrace/core/EventFilter"
import type { EventId } from "@millrace/core/EventId"
import { deriveEventId } from "@millrace/core/EventId"
import type { ReadQuery } from "@millrace/core/EventQuery"
import * as Page from "@millrace/core/Page"
import { Position } from "@millrace/core/Position"
import * as RoutingKey from "@millrace/core/RoutingKey"
import { categoryOf } from "@millrace/core/StreamId"
import { StreamVersion } from "@millrace/core/StreamVersion"
import type {
  AppendChoice,
  ExpectedChoice,
  FilterChoice,
  MarkChoice,
  Operation,
  QueryChoice
} from "./Arbitraries.js"
import { prefixes, routingKeyOf, streamNames } from "./Arbitraries.js"

const farEnd = Number.MAX_SAFE_INTEGER

/** What a history or query of choices means for a store: names, ids, versions filled in. */
export class EventStoreChoices {
  /** Ids in the order of their first use. */
  private readonly ids: Array<EventId> = []

  constructor(readonly name: string) {}

  readonly stream = (index: number): string => `${this.name}${streamNames[index % streamNames.length]!}`
  readonly type = (index: number): string => `${this.name}T${index}`
  readonly tag = (index: number): string => `${this.name}t${index}`

  filter({ category, prefix, stream, tags, type }: FilterChoice): EventFilter {
    const filter: EventFilter = {
      ...(category === undefined ? {} : { category: categoryOf(this.stream(category)) }),
      ...(prefix === undefined ? {} : { prefix: this.name + prefixes[prefix]! }),
      ...(stream === undefined ? {} : { streamId: this.stream(stream) }),
      ...(tags === undefined ? {} : { tags: tags.map(this.tag) }),
      ...(type === undefined ? {} : { type: this.type(type) })
    }
    // The log has events of others too: what would match every event matches those of this history.
    const { tags: these, ...others } = filter
    return Object.keys(others).length === 0 && (these ?? []).length === 0 ? { prefix: this.name } : filter
  }

  /** `near` is the side on which the number beside a mark lies: below it (-1) or above (1). */
  position(mark: MarkChoice, positions: ReadonlyArray<number>, near: -1 | 1): Position {
    if (mark === "start") return Position.make(0)
    if (mark === "end" || positions.length === 0) return Position.make(farEnd)
    return Position.make(positions[mark.nth % positions.length]! + (mark.beside ? near : 0))
  }

  expected(choice: ExpectedChoice, version: number): ExpectedVersion {
    return typeof choice === "string" ? choice : StreamVersion.make(Math.max(0, version + choice.off))
  }

  fresh(): EventId {
    const id = deriveEventId(this.name, `${this.ids.length}`)
    this.ids.push(id)
    return id
  }

  /** Appends, from where the streams stand. An id that was used before is one of an earlier write. */
  appends(choices: ReadonlyArray<AppendChoice>, versions: Map<string, number>): ReadonlyArray<StreamAppend> {
    const known = [...this.ids]
    return choices.map(({ events, expected, routingKey = routingKeyOf, stream }): StreamAppend => {
      const streamId = this.stream(stream)
      const version = versions.get(streamId) ?? 0
      versions.set(streamId, version + events.length)
      const key = typeof routingKey === "function" ? routingKey(stream) : routingKey
      return {
        streamId,
        events: events.map(({ correlated, data, id, tags, type }) => ({
          type: this.type(type),
          data,
          id: id === "fresh" || known.length === 0 ? this.fresh() : known[id % known.length]!,
          tags: tags.map(this.tag),
          ...(correlated ? { metadata: { correlationId: `c ${version}`, by: data } } : {})
        })),
        expected: this.expected(expected, version),
        ...(typeof key === "number" ? { routingKey: `key ${key}` } : {})
      }
    })
  }

  /** A write that was made before, as it was or changed. */
  changed(
    appends: ReadonlyArray<StreamAppend>,
    how: Extract<Operation, { readonly _tag: "Repeat" }>["how"]
  ): ReadonlyArray<StreamAppend> {
    const last = appends[appends.length - 1]!
    switch (how) {
      case "whole":
        return appends
      case "part":
        return [{ ...last, events: last.events.slice(last.events.length > 1 ? 1 : 0) }]
      case "reversed":
        return appends.map((append) => ({ ...append, events: append.events.toReversed() }))
      case "more":
        return [...appends, { ...last, events: [{ ...last.events[0]!, id: this.fresh() }] }]
      case "elsewhere": {
        const moved = this.stream(streamNames.indexOf(last.streamId.slice(this.name.length)) + 1)
        return appends.map((append) => ({ ...append, streamId: moved }))
      }
    }
  }

  /** A query of the twin whose events stand at `positions`. */
  query(choice: QueryChoice, positions: ReadonlyArray<number>): ReadQuery {
    const { afterVersion, backward, cursor, routingKey, rows, upTo, vnodes } = choice
    const filters =
      choice.filters.length === 0
        ? [{ prefix: this.name }]
        : choice.filters.map((filter) => this.filter(filter))
    const streamId = filters[0]?.streamId
    const isOneStream = streamId !== undefined && filters.every((filter) => filter.streamId === streamId)
    return {
      filters,
      routingKey:
        routingKey === "all"
          ? RoutingKey.all
          : routingKey === "unkeyed"
            ? RoutingKey.unkeyed
            : RoutingKey.value(`key ${routingKey}`),
      vnodes,
      includeArchived: choice.includeArchived,
      ...(upTo === undefined ? {} : { upTo: this.position(upTo, positions, -1) }),
      ...(isOneStream ? { afterVersion: StreamVersion.make(afterVersion) } : {}),
      page: backward
        ? Page.backward({ last: rows, ...(cursor && { before: this.position(cursor, positions, 1) }) })
        : Page.forward({ first: rows, ...(cursor && { after: this.position(cursor, positions, -1) }) })
    }
  }
}
