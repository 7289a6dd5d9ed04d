/**
 * A transaction of the application's client that is under way: a connection whose statements belong to it
 * until it ends and fail after that, so that a fiber left over from it cannot write into another one.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import type { SqliteSession } from "./SqliteSession.js"

/** The transaction, as the connection that its statements are sent to. */
export class SqliteTransaction implements Connection {
  private open = true
  private readonly committed: Array<() => void> = []

  constructor(
    private readonly session: SqliteSession,
    private readonly connection: Connection
  ) {}

  /** What a statement meets that comes after the end. */
  static readonly ended = Effect.fail(
    new SqlError({ cause: new Error("the transaction has ended"), message: "Failed to execute statement" })
  )

  /** Whether it is a transaction of this session and has not ended. */
  isOpenOn(session: SqliteSession): boolean {
    return this.open && this.session === session
  }

  /** Registers what is to be done once the transaction has committed. It must not throw. */
  onCommit(then: () => void): void {
    this.committed.push(then)
  }

  /** Called once, by whoever began it. */
  end(committed: boolean): void {
    this.open = false
    if (committed) for (const then of this.committed) then()
  }

  readonly execute: Connection["execute"] = (...args) =>
    Effect.suspend(() => (this.open ? this.connection.execute(...args) : SqliteTransaction.ended))
  readonly executeRaw: Connection["executeRaw"] = (...args) =>
    Effect.suspend(() => (this.open ? this.connection.executeRaw(...args) : SqliteTransaction.ended))
  readonly executeValues: Connection["executeValues"] = (...args) =>
    Effect.suspend(() => (this.open ? this.connection.executeValues(...args) : SqliteTransaction.ended))
  readonly executeUnprepared: Connection["executeUnprepared"] = (...args) =>
    Effect.suspend(() => (this.open ? this.connection.executeUnprepared(...args) : SqliteTransaction.ended))
  get executeStream(): Connection["executeStream"] {
    return this.connection.executeStream
  }
}
