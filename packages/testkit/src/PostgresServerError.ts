/**
 * The one way in which a server for tests fails. It carries what initdb or postgres wrote, because without
 * those lines nobody can tell a full disk from a missing library.
 */
import * as Schema from "effect/Schema"

/** What to do next; ends every message. */
const advice = (step: PostgresServerError["step"]): string =>
  step === "connect"
    ? "let MILLRACE_TEST_PG_URL be the url of a running PostgreSQL and of a user who may create databases, or unset it, and the test set-up starts a server of its own"
    : "set MILLRACE_TEST_PG_URL to the url of a running PostgreSQL and of a user who may create databases, and that server is used instead"

/**
 * No PostgreSQL server for tests. Not worth a retry: read `output`, mend the machine, or point
 * `MILLRACE_TEST_PG_URL` at a server that runs already.
 */
export class PostgresServerError extends Schema.TaggedError<PostgresServerError>()("PostgresServerError", {
  /**
   * - `binaries`: none for this platform, or they do not run for the account that has to run them.
   * - `initdb`, `start`: the program ended or did not become ready; `output` holds its last lines.
   * - `stop`: the server is still there after SIGKILL.
   * - `connect`: a server was named, and does not answer or refuses.
   */
  step: Schema.Literal("binaries", "initdb", "start", "stop", "connect"),
  /** The program's last lines, or the driver's message. Never holds a password. */
  output: Schema.String
}) {
  override get message(): string {
    return `no PostgreSQL server for tests. step=${this.step}\n${this.output.trim()}\nWhat to do: ${advice(this.step)}`
  }
}
