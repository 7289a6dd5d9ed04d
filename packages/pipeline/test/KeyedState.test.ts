/** Snapshots that are written while state changes, against copies made at the barrier. */
import type { Key } from "@millrace/pipeline/Records"
import { KeyedState } from "@millrace/pipeline/runtime/KeyedState"
import type { Entry, VnodeSnapshot } from "@millrace/pipeline/runtime/KeyedState"
import { unpackPairs } from "@millrace/pipeline/runtime/StateBytes"
import { vnodeOf } from "@millrace/core/Vnode"
import * as fc from "effect/FastCheck"
import { expect, it } from "vitest"

interface Counted extends Entry {
  /** Changed in place, as accumulators may be. */
  value: { n: number }
}

const make = () =>
  new KeyedState<Counted>({
    create: (key, vnode) => ({ key, vnode, index: 0, stamp: 0, value: { n: 0 } }),
    encode: ({ value }) => value,
    decode: (entry, data) => void (entry.value = data as { n: number })
  })

type Step =
  | { readonly _tag: "Add"; readonly key: number }
  | { readonly _tag: "Remove"; readonly key: number }
  | { readonly _tag: "Barrier" }
  | { readonly _tag: "Write"; readonly max: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ _tag: fc.constant("Add" as const), key: fc.nat(40) }) },
  { weight: 6, arbitrary: fc.record({ _tag: fc.constant("Remove" as const), key: fc.nat(40) }) },
  { weight: 1, arbitrary: fc.constant({ _tag: "Barrier" as const }) },
  {
    weight: 5,
    arbitrary: fc.record({ _tag: fc.constant("Write" as const), max: fc.integer({ min: 1, max: 3 }) })
  }
)

/** Keys of few vnodes, so that each has several. */
const keyOf = (n: number): string => keys[n]!
const keys = Array.from({ length: 100_000 }, (_, i) => `k${i}`)
  .filter((key) => vnodeOf(key) < 4)
  .slice(0, 41)

it("a snapshot is what the state was at the barrier, whatever changes while it is written", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const state = make()
      const model = new Map<Key, number>()
      /** What was saved of each vnode, as a checkpoint would have it. */
      const saved = new Map<number, Map<Key, number>>()
      let atBarrier = new Map<Key, number>()
      let queue: Array<VnodeSnapshot> = []
      let bytes = new Map<number, Array<Uint8Array>>()
      const write = (max: number): void => {
        const [snapshot] = queue
        if (snapshot === undefined) return
        bytes.set(snapshot.vnode, [...(bytes.get(snapshot.vnode) ?? []), ...(snapshot.next(max) ?? [])])
        if (snapshot.cursor === 0) queue.shift()
        if (queue.length === 0) finish()
      }
      const finish = (): void => {
        for (const [vnode, parts] of bytes) {
          const entries = new Map<Key, number>()
          for (const part of parts)
            unpackPairs(part, (key, data) => entries.set(key as Key, (data as { n: number }).n))
          saved.set(vnode, entries)
        }
        bytes = new Map()
        for (const vnode of saved.keys()) if (!occupied.has(vnode)) saved.delete(vnode)
        const all = new Map([...saved.values()].flatMap((entries) => [...entries]))
        expect(all).toEqual(atBarrier)
      }
      let occupied = new Set<number>()
      for (const step of steps) {
        switch (step._tag) {
          case "Add": {
            const key = keyOf(step.key)
            state.use(key).value.n++
            model.set(key, (model.get(key) ?? 0) + 1)
            break
          }
          case "Remove": {
            const entry = state.entries.get(keyOf(step.key))
            if (entry !== undefined) state.remove(entry)
            model.delete(keyOf(step.key))
            break
          }
          case "Barrier":
            while (queue.length > 0) write(10)
            atBarrier = new Map(model)
            queue = [...state.snapshot()]
            occupied = new Set(state.occupied())
            if (queue.length === 0) finish()
            break
          case "Write":
            write(step.max)
        }
      }
      while (queue.length > 0) write(10)
      expect(new Map([...state.entries].map(([key, { value }]) => [key, value.n]))).toEqual(model)
    }),
    { numRuns: 2_000 }
  )
})
