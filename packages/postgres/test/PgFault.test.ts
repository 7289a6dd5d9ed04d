/** What the driver's errors mean: whether trying again can help, and whether the statement may have taken effect. */
import { assert, describe, it } from "@effect/vitest"
import { isTransient, isUnknownOutcome, storeUnavailable } from "../src/PgFault.js"

const withCode = (code: string): Error => Object.assign(new Error("driver"), { code })

describe("PgFault", () => {
  it("an error of the socket is transient and leaves the outcome unknown, whatever its errno is called", () => {
    // EPIPE has five letters, as a SQLSTATE has: writing to a connection that the other side has closed.
    for (const errno of [
      "ECONNRESET",
      "ECONNREFUSED",
      "EPIPE",
      "ETIMEDOUT",
      "ENOTFOUND",
      "EHOSTUNREACH",
      "EAGAIN",
      "ENOBUFS"
    ]) {
      assert.isTrue(isTransient(withCode(errno)), errno)
      assert.isTrue(isUnknownOutcome(withCode(errno)), errno)
    }
  })

  it("errors of the server say themselves whether to try again", () => {
    for (const code of ["40001", "40P01", "53300", "55P03", "57P01", "57P03", "57014", "08006", "58030"])
      assert.isTrue(isTransient(withCode(code)), code)
    for (const code of [
      "23505",
      "23514",
      "28P01",
      "3D000",
      "42P01",
      "42501",
      "53100",
      "54001",
      "22P05",
      "25006"
    ])
      assert.isFalse(isTransient(withCode(code)), code)
  })

  it("an answer of the server means that nothing was written, an end of the connection does not", () => {
    for (const code of ["23505", "40P01", "55P03", "53300", "57014"])
      assert.isFalse(isUnknownOutcome(withCode(code)), code)
    for (const code of ["57P01", "57P02", "08006", "08003"])
      assert.isTrue(isUnknownOutcome(withCode(code)), code)
    assert.isTrue(isUnknownOutcome(new Error("Connection terminated unexpectedly")))
  })

  it("nothing of the driver's error but message and code is kept", () => {
    const cause = Object.assign(new Error("password authentication failed"), {
      code: "28P01",
      connectionString: "postgres://u:secret@h/d",
      parameters: ["secret"]
    })
    const error = storeUnavailable("connect")(cause)
    assert.notInclude(JSON.stringify(error), "secret")
    assert.notInclude(JSON.stringify(error.cause), "secret")
    assert.deepStrictEqual(Object.keys(error.cause as object).toSorted(), ["code", "name"])
  })
})
