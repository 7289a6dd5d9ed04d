/**
 * One short conversation with a server as its administrator, outside every pool, and without a word of the
 * url in what goes wrong: it holds the password.
 */
import pg from "pg"

/** Longest wait for a connection. A server under full load on two cores took 0.4 s. */
const connectMaxMs = 10_000

/** Connects, runs `use`, and disconnects. Rejects with the driver's error. */
export const withClient = async <A>(url: string, use: (client: pg.Client) => Promise<A>): Promise<A> => {
  const client = new pg.Client({
    connectionString: url,
    application_name: "millrace-testkit",
    connectionTimeoutMillis: connectMaxMs
  })
  // A server that goes down in between also fails the query, which is where it is reported.
  client.on("error", () => undefined)
  try {
    await client.connect()
    return await use(client)
  } finally {
    await client.end().catch(() => undefined)
  }
}

/** Host, port and database of a url, for messages. */
export const place = (url: string): string => {
  try {
    const { host, pathname } = new URL(url)
    return `${host}${pathname}`
  } catch {
    return "(not a url)"
  }
}

/** What the driver said. Several addresses of one host fail as an error without a text of its own. */
export const reason = (cause: unknown): string => {
  if (cause instanceof AggregateError) return cause.errors.map(reason).join("; ")
  return cause instanceof Error ? cause.message : String(cause)
}

/** SQLSTATE of an error that the server reported. */
export const sqlState = (cause: unknown): string | undefined =>
  cause instanceof pg.DatabaseError ? cause.code : undefined
