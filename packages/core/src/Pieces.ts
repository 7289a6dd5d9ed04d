/** Bytes in pieces of one size, for what takes no others. */
import * as Stream from "effect/Stream"

/**
 * The same bytes in pieces of `size`, only the last one shorter; no bytes are no pieces. Holds one piece at a time,
 * and lets go of each.
 */
export const ofSize = <E, R>(
  chunks: Stream.Stream<Uint8Array, E, R>,
  size: number
): Stream.Stream<Uint8Array, E, R> =>
  Stream.suspend(() => {
    let piece = new Uint8Array(size)
    let filled = 0
    const full = Stream.mapConcat(chunks, (chunk) => {
      const done: Array<Uint8Array> = []
      for (let at = 0; at < chunk.length;) {
        const taken = Math.min(chunk.length - at, size - filled)
        piece.set(chunk.subarray(at, at + taken), filled)
        at += taken
        filled += taken
        if (filled === size) {
          done.push(piece)
          piece = new Uint8Array(size)
          filled = 0
        }
      }
      return done
    })
    return Stream.concat(
      full,
      Stream.suspend(() => (filled === 0 ? Stream.empty : Stream.make(piece.subarray(0, filled))))
    )
  })
