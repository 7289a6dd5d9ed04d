/**
 * What an operator remembers of each key, spread over vnodes. One map finds the entry of a key; each vnode has a list
 * of its entries, by which a checkpoint goes through them.
 *
 * A snapshot is taken at once and written out later, bit by bit, while records are processed on:
 *
 *     barrier: stamp 7 → 8, changed vnodes are to be written
 *     entry (stamp ≤ 7) is written from what it is            by the writer, from the end of the list to the front
 *     entry (stamp ≤ 7) is about to change                    is written first, then has stamp 8
 *     entry (stamp 8)                                         is new, or was written before it changed: passed over
 *
 * So a snapshot never copies state, never holds up the flow for longer than one entry, and each entry is encoded once.
 *
 * Invariants
 *
 *  1. Whoever changes an entry calls `touch` before, unless its stamp is the present one.
 *  2. Entries at `cursor` and above are written, or came after the barrier; those below are not yet written.
 */
import type { Key } from "../Records.js"
import { vnodeOfKey } from "../Records.js"
import { packPairs } from "./StateBytes.js"

/** What every entry has beside its state. */
export interface Entry {
  readonly key: Key
  readonly vnode: number
  /** Place in the list of its vnode. */
  index: number
  /** The snapshot interval in which it was changed last. */
  stamp: number
}

/** How a kind of entries is made, and what of them is kept. */
export interface EntryForm<E extends Entry> {
  readonly create: (key: Key, vnode: number) => E
  /** Its state as plain data; read at once. */
  readonly encode: (entry: E) => unknown
  /** Takes over what `encode` gave. */
  readonly decode: (entry: E, data: unknown) => void
}

/** One vnode as it was at a barrier. */
export class VnodeSnapshot {
  /** What is encoded of it. */
  private parts: Array<Uint8Array> = []
  /** Entries below this are still to be encoded. */
  cursor: number

  constructor(
    readonly vnode: number,
    readonly stamp: number,
    private readonly owner: { readonly list: ReadonlyArray<Entry>; snapshot: VnodeSnapshot | undefined },
    private readonly encode: (entry: Entry) => unknown
  ) {
    this.cursor = owner.list.length
  }

  /** Encodes an entry that is about to change. */
  save(entry: Entry): void {
    this.parts.push(packPairs([entry.key, this.encode(entry)]))
  }

  /** Encodes up to `max` more entries, and gives what there is. Undefined: it was all given before. */
  next(max: number): ReadonlyArray<Uint8Array> | undefined {
    if (this.owner.snapshot !== this) return undefined
    const { list } = this.owner
    const end = Math.max(0, this.cursor - max)
    const pairs: Array<unknown> = []
    for (let i = this.cursor - 1; i >= end; i--) {
      const entry = list[i]!
      if (entry.stamp <= this.stamp) pairs.push(entry.key, this.encode(entry))
    }
    this.cursor = end
    if (pairs.length > 0) this.parts.push(packPairs(pairs))
    const { parts } = this
    this.parts = []
    if (end === 0) this.owner.snapshot = undefined
    return parts
  }
}

interface Vnode<E extends Entry> {
  readonly list: Array<E>
  hasChanged: boolean
  snapshot: VnodeSnapshot | undefined
}

/** All entries of an operator instance. */
export class KeyedState<E extends Entry> {
  readonly entries = new Map<Key, E>()
  /** The present snapshot interval. */
  stamp = 1
  private readonly vnodes = new Map<number, Vnode<E>>()

  constructor(private readonly form: EntryForm<E>) {}

  /** The entry of a key, made if there is none. It may be changed. */
  use(key: Key): E {
    const entry = this.entries.get(key)
    if (entry === undefined) return this.create(key)
    if (entry.stamp !== this.stamp) this.touch(entry)
    return entry
  }

  /** A new entry. */
  create(key: Key, number = vnodeOfKey(key)): E {
    let vnode = this.vnodes.get(number)
    if (vnode === undefined) this.vnodes.set(number, (vnode = emptyVnode()))
    const entry = this.form.create(key, number)
    entry.stamp = this.stamp
    entry.index = vnode.list.length
    vnode.list.push(entry)
    vnode.hasChanged = true
    this.entries.set(key, entry)
    return entry
  }

  /** Before the first change of an entry in an interval. */
  touch(entry: E): void {
    const vnode = this.vnodes.get(entry.vnode)!
    if (vnode.snapshot !== undefined && entry.stamp <= vnode.snapshot.stamp) vnode.snapshot.save(entry)
    entry.stamp = this.stamp
    vnode.hasChanged = true
  }

  /** Forgets a key. */
  remove(entry: E): void {
    if (entry.stamp !== this.stamp) this.touch(entry)
    const { list, snapshot } = this.vnodes.get(entry.vnode)!
    const last = list.pop()!
    let hole = entry.index
    // What is not yet written stays below the cursor: its last one fills the hole, and the list's last one its place.
    if (snapshot !== undefined && hole < snapshot.cursor) {
      const edge = --snapshot.cursor
      if (hole !== edge && edge < list.length) {
        const moved = list[edge]!
        list[hole] = moved
        moved.index = hole
        hole = edge
      }
    }
    if (last !== entry && hole < list.length) {
      list[hole] = last
      last.index = hole
    }
    this.entries.delete(entry.key)
  }

  /** Everything as of now, to be written later. The one before must have been written, or is given up. */
  snapshot(): ReadonlyArray<VnodeSnapshot> {
    const taken: Array<VnodeSnapshot> = []
    for (const [number, vnode] of [...this.vnodes].sort(([a], [b]) => a - b)) {
      vnode.snapshot = undefined
      if (!vnode.hasChanged) continue
      vnode.hasChanged = false
      if (vnode.list.length === 0) continue
      vnode.snapshot = new VnodeSnapshot(
        number,
        this.stamp,
        vnode,
        this.form.encode as (entry: Entry) => unknown
      )
      taken.push(vnode.snapshot)
    }
    this.stamp++
    return taken
  }

  /** Vnodes that have entries, ascending. */
  occupied(): ReadonlyArray<number> {
    return [...this.vnodes]
      .filter(([, { list }]) => list.length > 0)
      .map(([number]) => number)
      .sort((a, b) => a - b)
  }

  /** Takes over an entry of a checkpoint. It counts as unchanged until `hasChanged` is asked for. */
  restore(key: Key, data: unknown, vnode: number): E {
    const entry = this.create(key, vnode)
    this.form.decode(entry, data)
    return entry
  }

  /** Says that everything is as the checkpoint has it; `except` are vnodes that are to be written anew. */
  restored(except: ReadonlySet<number>): void {
    for (const [number, vnode] of this.vnodes) vnode.hasChanged = except.has(number)
    this.stamp++
  }

  /** Wants these vnodes to be in the next snapshot, changed or not. */
  renew(vnodes: ReadonlySet<number>): void {
    for (const number of vnodes) {
      const vnode = this.vnodes.get(number)
      if (vnode !== undefined) vnode.hasChanged = true
    }
  }
}

const emptyVnode = <E extends Entry>(): Vnode<E> => ({ list: [], hasChanged: false, snapshot: undefined })
