/**
 * Whether a write was made before. A write is a repeat when all of its event ids are in the log, those of each
 * append in its own stream, one behind the other and in order; it then has the result of the first time. Where
 * only some are there, or elsewhere, the ids are in conflict. Decided the same for every store that looks its
 * ids up in this process.
 */
import type { AppendResult, WriteResult } from "./Append.js"
import type { Position } from "./Position.js"
import type { PreparedWrite } from "./PreparedWrite.js"
import type { StreamVersion } from "./StreamVersion.js"
import { EventIdConflict } from "./WriteError.js"

/** Where the event of an id stands. */
export interface EventPlace {
  readonly streamId: string
  readonly version: number
  readonly position: number
}

/**
 * The first result of a repeat; a conflict, which names the first id that stands elsewhere or else the first that
 * is known; or nothing, when no id is known. `find` gives the place of an id that is in the log.
 */
export function repeatOf(
  write: PreparedWrite,
  find: (id: string) => EventPlace | undefined
): WriteResult | EventIdConflict | undefined {
  let known: EventIdConflict | undefined
  let misplaced: EventIdConflict | undefined
  let isRepeat = true
  const appends: Array<AppendResult> = []
  let position = 0
  for (const { events, streamId } of write.appends) {
    const first = find(events[0]!.id)
    let last = first
    for (let i = 0; i < events.length; i++) {
      const { id } = events[i]!
      last = find(id)
      const inPlace = last?.streamId === streamId && first !== undefined && last.version === first.version + i
      if (!inPlace) isRepeat = false
      if (last === undefined) continue
      known ??= new EventIdConflict({ streamId, id })
      if (!inPlace) misplaced ??= new EventIdConflict({ streamId, id })
    }
    if (!isRepeat || first === undefined || last === undefined) continue
    appends.push({
      streamId,
      firstVersion: first.version as StreamVersion,
      version: last.version as StreamVersion,
      firstPosition: first.position as Position,
      position: last.position as Position,
      ids: events.map((event) => event.id)
    })
    position = Math.max(position, last.position)
  }
  return isRepeat ? { appends, position: position as Position } : (misplaced ?? known)
}
