/**
 * Every operator's example, as it stands in its doc comment, is run; its last line says what it gives.
 */
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import * as Aggregates from "@millrace/pipeline/Aggregates"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import * as SideOutput from "@millrace/pipeline/SideOutput"
import * as State from "@millrace/pipeline/State"
import * as Watermarks from "@millrace/pipeline/Watermarks"
import * as Windows from "@millrace/pipeline/Windows"
import * as IterableSource from "@millrace/pipeline/sources/IterableSource"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import ts from "typescript"
import { describe, expect, it } from "vitest"

const scope = { Pipeline, Windows, Aggregates, State, SideOutput, Watermarks, IterableSource, Schema, Effect }

const source = fileURLToPath(new URL("../src/", import.meta.url))
const files = [...readdirSync(`${source}operators`).map((name) => `operators/${name}`), "Pipeline.ts"]

/** The examples of a file that say what they give. */
const examplesOf = (file: string): ReadonlyArray<{ readonly code: string; readonly gives: unknown }> =>
  [...readFileSync(source + file, "utf8").matchAll(/\* ```ts\n([\s\S]*?)\* ```/g)].flatMap(([, block]) => {
    const code = block!.replaceAll(/^ \* ?/gm, "")
    const gives = /return yield\* [\s\S]*\n\/\/ (.*)\n|return [\s\S]*\n\/\/ (.*)\n/.exec(code)
    // What an example gives is written as JavaScript.
    return gives === null
      ? []
      : [{ code, gives: new Function(`return ${gives[1] ?? gives[2]}`)() as unknown }]
  })

const run = (code: string): Promise<unknown> => {
  const { outputText } = ts.transpileModule(`function* example() {\n${code}\n}`, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext }
  })
  const names = Object.keys(scope)
  const example = new Function(...names, `${outputText}\nreturn example`)(
    ...Object.values(scope)
  ) as () => Generator<never, unknown, never>
  return Effect.runPromise(Effect.provide(Effect.gen(example), ActorRegistry.layer))
}

describe("examples of operators", () => {
  for (const file of files) {
    const examples = examplesOf(file)
    for (const [i, { code, gives }] of examples.entries()) {
      it(`${file}, example ${i + 1} gives what it says`, async () => {
        expect(await run(code)).toEqual(gives)
      })
    }
    it(`${file} has an example`, () => expect(examples.length).toBeGreaterThan(0))
  }
})
