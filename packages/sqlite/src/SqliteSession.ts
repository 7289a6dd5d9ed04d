/**
 * One open SQLite connection and its prepared statements. Everything here is synchronous, since SQLite is: what
 * runs from BEGIN to COMMIT in one go can be interrupted by nobody, and costs no Effect per statement.
 *
 * This speaks to `better-sqlite3` itself, the driver beneath `@effect/sql-sqlite-node`, whose statements are
 * effects: three to five microseconds each, and 30 for an empty transaction. A write of one event took
 * 200 µs of processor time that way, three times what its statements need.
 */
import { SqlError } from "@effect/sql/SqlError"
import Database from "better-sqlite3"

/** A row as an array, in the order of its columns. Integers are numbers. */
export type Row = ReadonlyArray<unknown>

/** A text with its parameters. */
export interface Query {
  readonly sql: string
  readonly params: ReadonlyArray<unknown>
}

/** What an application's statement did when it gives no rows. */
export interface RunResult {
  readonly changes: number
  readonly lastInsertRowid: number | bigint
}

/** How an application wants its rows: as arrays or as objects, integers as bigints or as numbers. */
export interface RowForm {
  readonly arrays: boolean
  readonly bigints: boolean
}

/** Most statements that stay prepared. A read of several filters has a text of its own for each combination. */
const preparedMax = 256

/** SQLite's own waiting for a lock, which blocks the event loop. Unit: milliseconds. */
const blockingMs = 20

/** The connection. Its methods throw what SQLite reports; see {@link asSqlError}. */
export class SqliteSession {
  private readonly prepared = new Map<string, Database.Statement>()
  private readonly preparedByApplication = new Map<string, Database.Statement>()

  private constructor(private readonly database: Database.Database) {}

  /** Opens the file; creates it when it is missing. Throws what the driver throws. */
  static open(filename: string): SqliteSession {
    return new SqliteSession(new Database(filename, { timeout: blockingMs }))
  }

  get isOpen(): boolean {
    return this.database.open
  }

  /** Whether a transaction is under way. Some faults, a full disk among them, end one at once. */
  get inTransaction(): boolean {
    return this.database.inTransaction
  }

  close(): void {
    this.prepared.clear()
    this.preparedByApplication.clear()
    this.database.close()
  }

  /** All rows of a statement that gives rows; `R` is what the statement promises of them. */
  rows<R extends Row = Row>(sql: string, params: ReadonlyArray<unknown> = []): ReadonlyArray<R> {
    return this.statement(sql).all(...params) as ReadonlyArray<unknown> as ReadonlyArray<R>
  }

  /** Runs a statement that gives no rows. Returns the number of rows it changed. */
  run(sql: string, params: ReadonlyArray<unknown> = []): number {
    return this.statement(sql).run(...params).changes
  }

  /**
   * Runs a statement of the application's, of any kind. Gives its rows, or `{ changes, lastInsertRowid }` when
   * it has none.
   */
  application(
    sql: string,
    params: ReadonlyArray<unknown>,
    form: RowForm
  ): ReadonlyArray<unknown> | RunResult {
    let statement = this.preparedByApplication.get(sql)
    if (statement === undefined) {
      statement = this.database.prepare(sql)
      if (this.preparedByApplication.size >= preparedMax) this.preparedByApplication.clear()
      this.preparedByApplication.set(sql, statement)
    }
    statement.safeIntegers(form.bigints)
    if (!statement.reader) return statement.run(...params)
    return statement.raw(form.arrays).all(...params)
  }

  private statement(sql: string): Database.Statement {
    let statement = this.prepared.get(sql)
    if (statement === undefined) {
      statement = this.database.prepare(sql)
      if (statement.reader) statement.raw(true)
      if (this.prepared.size >= preparedMax) this.prepared.clear()
      this.prepared.set(sql, statement)
    }
    return statement
  }
}

/**
 * What a call of the session threw, as an error; a bug of our own is thrown on and becomes a defect.
 *
 * SQLite's errors have a class of their own. Of a closed connection the driver says so with a `TypeError`.
 */
export const asSqlError = (session: SqliteSession, cause: unknown): SqlError => {
  if (cause instanceof Database.SqliteError || !session.isOpen)
    return new SqlError({ cause, message: "Failed to execute statement" })
  throw cause
}
