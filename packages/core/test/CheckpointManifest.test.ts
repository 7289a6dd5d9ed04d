/** Manifests as text: every form that was ever written is read, and what it lacks has its default. */
import { assert, describe, it } from "@effect/vitest"
import {
  decodeManifest,
  encodeManifest,
  manifestFault,
  manifestOf,
  needsSidecar
} from "@millrace/core/CheckpointManifest"
import type { CheckpointManifest, ManifestFields } from "@millrace/core/CheckpointManifest"
import * as Either from "effect/Either"
import { readdirSync, readFileSync } from "node:fs"

const folder = new URL("./fixtures/manifests/", import.meta.url)
const textOf = (name: string): string => readFileSync(new URL(name, folder), "utf8")
const read = (name: string): CheckpointManifest => Either.getOrThrow(decodeManifest(textOf(name)))
const id = (checkpointId: number) => manifestOf({ checkpointId, epoch: 1, timestampMs: 1 }).checkpointId

const first = { checkpointId: 7, epoch: 3, timestampMs: 1_700_000_000_000 }

/** What each of the files says. */
const expected: Readonly<Record<string, ManifestFields>> = {
  "v1-four-fields.json": first,
  "v0-table-offsets.json": {
    ...first,
    version: 0,
    sourceOffsets: { orders: { "0": "12" } },
    sourceNames: ["orders"],
    vnodeCount: 64
  },
  "v1-2026-11.json": {
    checkpointId: 12,
    epoch: 9,
    timestampMs: 1_700_000_000_000,
    sourceOffsets: { orders: { "0": "120", "1": "77" } },
    sinkEpochs: { table: 9, file: 9, mail: 9 },
    sinkCommitStatuses: {
      table: { _tag: "Committed" },
      file: { _tag: "Failed", reason: "disk full" },
      mail: { _tag: "Pending" }
    },
    operatorStates: {
      "count/3": { _tag: "Sidecar", offset: 100, length: 200 },
      "count/4": { _tag: "Sidecar", checkpointId: id(11), offset: 0, length: 50 },
      timers: { _tag: "Inline", data: Uint8Array.of(1, 2, 3) }
    },
    watermark: 1_699_999_999_000,
    sourceWatermarks: { orders: 1_700_000_000_000 },
    sourceNames: ["orders"],
    sinkNames: ["table", "file", "mail"],
    pipelineHash: "abc",
    stateLength: 300,
    stateChecksum: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    inlineChecksum: "1f0d6c9c1a0f4ee5d7f0d7a9c4d1b1d3b8c6c8f0c3a5c8d2a9b7e6f5d4c3b2a1",
    sidecars: [{ checkpointId: id(11), length: 50, checksum: "00ff" }],
    savepoint: "before the move"
  }
}

describe("manifests", () => {
  it("every file of the folder is expected, and every expected one is there", () => {
    assert.deepStrictEqual(readdirSync(folder).sort(), Object.keys(expected).sort())
  })

  for (const [name, fields] of Object.entries(expected))
    it(`${name} is read, and what it lacks has its default`, () => {
      assert.deepStrictEqual(read(name), manifestOf(fields))
      assert.deepStrictEqual(Either.getOrThrow(decodeManifest(encodeManifest(read(name)))), read(name))
    })

  it("what is written today is what was written when the newest file was made", () => {
    const text = textOf("v1-2026-11.json")
    assert.strictEqual(encodeManifest(read("v1-2026-11.json")), JSON.stringify(JSON.parse(text)))
  })

  it("equal manifests have equal texts, whatever order their names came in", () => {
    const names = ["b", "a", "c", "10", "9"]
    const offsets = (order: ReadonlyArray<string>) =>
      Object.fromEntries(order.map((name) => [name, { "0": name }]))
    const text = (order: ReadonlyArray<string>) =>
      encodeManifest(manifestOf({ ...first, sourceOffsets: offsets(order) }))
    assert.strictEqual(text(names), text(names.toReversed()))
  })

  it("what is wrong with one is said by the path of the field", () => {
    for (const [fields, path] of [
      [{ epoch: 1.5 }, "epoch"],
      [{ watermark: Number.NaN }, "watermark"],
      [{ operatorStates: { a: { _tag: "Sidecar", offset: -1, length: 1 } } }, "operatorStates.a.offset"]
    ] as const)
      assert.strictEqual(manifestFault(manifestOf({ ...first, ...fields }))?.path, path)
    assert.isUndefined(manifestFault(manifestOf(first)))
    assert.isTrue(Either.isLeft(decodeManifest("[]")))
    assert.match(String(Either.getLeft(decodeManifest(`{"version":1}`))), /checkpointId/)
  })

  it("a manifest needs its sidecar where a state is in it, or where it says how long it is", () => {
    assert.isTrue(needsSidecar(read("v1-2026-11.json")))
    assert.isFalse(needsSidecar(read("v1-four-fields.json")))
    assert.isFalse(needsSidecar(manifestOf({ ...first, stateLength: 0 })))
  })
})
