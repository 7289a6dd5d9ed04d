/**
 * A bound on how many do something at once, handed on in the order of asking. Effect's semaphore wakes those
 * who wait in a later task, so that a loop that gives its permit back and asks again at once takes it before
 * them, every time: four lanes whose streams were held kept all others out. Here a permit that is given back
 * belongs to the next in line at once.
 */
import * as Effect from "effect/Effect"

/** A number of permits. */
export interface Turns {
  /** Runs the effect with a permit, after everybody who asked before. Waiting is interruptible. */
  readonly take: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** Builds it with so many permits. */
export const make = (permits: number): Turns => {
  let free = permits
  const waiting: Array<() => void> = []

  const acquire = Effect.async<void>((resume) => {
    if (free > 0) {
      free--
      return resume(Effect.void)
    }
    const wake = (): void => resume(Effect.void)
    waiting.push(wake)
    return Effect.sync(() => {
      const place = waiting.indexOf(wake)
      // Not in line any more: the permit was handed over, and goes on to the next.
      if (place < 0) release()
      else waiting.splice(place, 1)
    })
  })

  const release = (): void => {
    const next = waiting.shift()
    if (next === undefined) free++
    else next()
  }

  return {
    take: (effect) =>
      Effect.acquireUseRelease(
        Effect.interruptible(acquire),
        () => effect,
        () => Effect.sync(release)
      )
  }
}
