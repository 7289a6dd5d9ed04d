/**
 * What all operators with state of keys have in common: the entries, what a checkpoint keeps of them, and how they come
 * back. The forms of their states are checked before the first record.
 */
import * as Either from "effect/Either"
import type { StateForm, StoredForm } from "../StateForm.js"
import { reasonOf } from "../StateForm.js"
import type { Key } from "../Records.js"
import type { Entry } from "./KeyedState.js"
import { KeyedState } from "./KeyedState.js"
import { Operator } from "./Operator.js"
import type { OperatorContext } from "./Operator.js"
import type { Snapshot } from "./Snapshot.js"
import { unpackPairs } from "./StateBytes.js"

/** The forms of an operator's states, by name. */
export type Forms = Readonly<Record<string, StateForm<unknown>>>

/** The same as a checkpoint keeps them. */
export type StoredForms = Readonly<Record<string, StoredForm>>

/** An operator with keyed state. */
export abstract class KeyedOperator<E extends Entry> extends Operator {
  protected readonly state: KeyedState<E>
  /** How states of the checkpoint are read, by name. */
  private readers: Record<string, (data: unknown) => unknown> = {}

  constructor(
    context: OperatorContext,
    /** The forms of its states. */
    readonly forms: Forms
  ) {
    super(context)
    this.state = new KeyedState<E>({
      create: (key, vnode) => this.createEntry(key, vnode),
      encode: (entry) => this.encodeEntry(entry),
      decode: (entry, data) => this.decodeEntry(entry, data)
    })
  }

  /** A new entry; place and stamp are set afterwards. */
  protected abstract createEntry(key: Key, vnode: number): E
  /** All of its state as plain data, read at once. */
  protected abstract encodeEntry(entry: E): unknown
  /** Takes over what `encodeEntry` gave, and sets its timers. */
  protected abstract decodeEntry(entry: E, data: unknown): void

  override get stateEntries(): number {
    return this.state.entries.size
  }

  /** Encodes a state in the form of this name. */
  protected encodeState(name: string, state: unknown): unknown {
    return this.forms[name]!.encode(state)
  }

  /** Reads a state of the checkpoint that was kept in the form of this name. */
  protected decodeState(name: string, data: unknown): unknown {
    return this.readers[name]!(data)
  }

  override snapshot(): Snapshot {
    const changed = this.state.snapshot()
    return { _tag: "Keyed", changed, occupied: this.state.occupied() }
  }

  /** Before any state comes back: why it cannot. */
  acceptForms(stored: StoredForms): string | undefined {
    for (const name of Object.keys(stored))
      if (this.forms[name] === undefined) return `there is no state "${name}" any more`
    for (const [name, form] of Object.entries(this.forms)) {
      const was = stored[name]
      // A state that is new has nothing to be read.
      const reader = was === undefined ? Either.right((data: unknown) => data) : form.reader(was)
      if (Either.isLeft(reader)) return `state "${name}": ${reader.left}`
      this.readers[name] = reader.right
    }
    return undefined
  }

  /** Whether states are as they would be written now; else they are to be written anew. */
  isPresent(stored: StoredForms): boolean {
    return Object.entries(this.forms).every(([name, form]) => stored[name]?.version === form.version)
  }

  /** Takes back the entries of one vnode. Gives why it cannot. */
  restoreVnode(vnode: number, bytes: Uint8Array): string | undefined {
    try {
      unpackPairs(bytes, (key, data) => this.state.restore(key as Key, data, vnode))
      return undefined
    } catch (cause) {
      return reasonOf(cause)
    }
  }

  /** After all state has come back. `renewed`: vnodes that are to be written anew. */
  restored(renewed: ReadonlySet<number>): void {
    this.state.restored(renewed)
  }

  /** Wants these vnodes in the next snapshot. */
  renew(vnodes: ReadonlySet<number>): void {
    this.state.renew(vnodes)
  }
}
