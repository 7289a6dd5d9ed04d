import * as ActorRegistry from "@millrace/core/ActorRegistry"
import * as Aggregates from "@millrace/pipeline/Aggregates"
import * as Pipeline from "@millrace/pipeline/Pipeline"
import * as Windows from "@millrace/pipeline/Windows"
import * as IterableSource from "@millrace/pipeline/sources/IterableSource"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { it } from "vitest"
const rt = ManagedRuntime.make(ActorRegistry.layer)
const src = (n: number, batchSize: number) => IterableSource.fromIterable("s", Array.from({length:n},(_, i) => i), {batchSize, timestamp: (x) => x})
it("cost", async () => {
  for (const [n, b, par, flows] of [[10,10,1,1],[10,1,1,1],[10,3,1,1],[10,10,4,1],[10,3,4,1],[10,3,1,8],[10,3,3,8]] as const) {
    const t = performance.now()
    for (let i = 0; i < 200; i++) {
      const s = Pipeline.from(src(n, b)).pipe(Pipeline.keyBy((x) => x % 3))
      const f = Array.from({length: flows}, () => s.pipe(Pipeline.window(Windows.tumbling(3)), Pipeline.aggregate(Aggregates.count())))
      const u = flows === 1 ? f[0]! : Pipeline.union(...(f as any))
      await rt.runPromise(Pipeline.collect(u as any, { parallelism: par }) as any)
    }
    console.log(n, b, par, flows, (performance.now() - t) / 200, "ms")
  }
})
it("bad", async () => {
  const s = IterableSource.fromIterable("s", [1, 2, 3])
  const show = async (name: string, f: any) => {
    const exit = await Effect.runPromiseExit(Effect.provide(Pipeline.collect(f) as any, ActorRegistry.layer).pipe(Effect.timeout("3 seconds")) as any)
    console.log(name, Exit.isFailure(exit) ? String(JSON.stringify(exit.cause)).slice(0, 500) : JSON.stringify(exit.value))
  }
  await show("nan", Pipeline.from(s, { timestamp: () => NaN }))
  await show("throwing timestamp", Pipeline.from(s, { timestamp: () => { throw new Error("x") } }))
  await show("map", Pipeline.from(s).pipe(Pipeline.map(() => { throw new Error("x") }, { id: "m" })))
  await show("async", Pipeline.from(s).pipe(Pipeline.async(() => { throw new Error("x") }, { id: "m" })))
  await show("async die", Pipeline.from(s).pipe(Pipeline.async(() => Effect.die(new Error("x")), { id: "m" })))
  await show("key", Pipeline.from(s).pipe(Pipeline.keyBy((() => undefined) as any, { id: "m" }), Pipeline.window(Windows.global), Pipeline.aggregate(Aggregates.count())))
})
