/** What a run shows of itself: filled in by the attempt that is under way, read by whoever asks for the status. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type { CheckpointStatus, OperatorStatus, PipelineStatus } from "../PipelineStatus.js"
import type { Channel } from "./Channel.js"
import type { CheckpointWriter } from "./CheckpointWriter.js"
import type { Operator } from "./Operator.js"
import type { Plan } from "./Plan.js"
import { WindowOperator } from "./WindowOperator.js"

/** The instances of a node, and how records come to them. */
export interface Instances {
  readonly operators: ReadonlyArray<Operator>
  readonly channels: ReadonlyArray<Channel>
}

/** Of one run. */
export class Board {
  instances: ReadonlyMap<string, Instances> = new Map()
  writer: CheckpointWriter | undefined = undefined
  lastCheckpoint: CheckpointStatus | undefined = undefined
  checkpoints = 0
  restarts = 0
  startedFrom = 0
  private former: { readonly atMs: number; readonly counts: ReadonlyMap<string, readonly [number, number]> }

  constructor(
    private readonly pipeline: string,
    private readonly plan: Plan,
    nowMs: number
  ) {
    this.former = { atMs: nowMs, counts: new Map() }
  }

  status(nowMs: number): PipelineStatus {
    const seconds = (nowMs - this.former.atMs) / 1_000
    const counts = new Map<string, readonly [number, number]>()
    const operators = this.plan.nodes.map(({ id, node, parallelism }): OperatorStatus => {
      const { channels, operators } = this.instances.get(id) ?? { channels: [], operators: [] }
      const recordsIn = total(operators, ({ recordsIn }) => recordsIn)
      const recordsOut = total(operators, ({ recordsOut }) => recordsOut)
      const [inBefore, outBefore] = this.former.counts.get(id) ?? [0, 0]
      counts.set(id, [recordsIn, recordsOut])
      const rate = (now: number, before: number) => (seconds > 0 ? Math.max(0, now - before) / seconds : 0)
      const watermark = Math.min(...operators.map(({ watermark }) => watermark))
      return {
        id,
        kind: node.kind,
        parallelism,
        recordsIn,
        recordsOut,
        rateIn: rate(recordsIn, inBefore),
        rateOut: rate(recordsOut, outBefore),
        queueDepth: channels.reduce((sum, { depth }) => sum + depth, 0),
        watermark: Number.isFinite(watermark) ? Option.some(watermark) : Option.none(),
        stateEntries: total(operators, ({ stateEntries }) => stateEntries),
        stateBytes: this.writer?.bytesOf(id) ?? 0,
        lateRecords: total(operators, (operator) =>
          operator instanceof WindowOperator ? operator.lateRecords : 0
        )
      }
    })
    this.former = { atMs: nowMs, counts }
    return {
      pipeline: this.pipeline,
      operators,
      lastCheckpoint: Option.fromNullable(this.lastCheckpoint),
      checkpoints: this.checkpoints,
      restarts: this.restarts,
      startedFrom: this.startedFrom,
      isDeterministic: this.plan.chances.length === 0,
      chances: this.plan.chances
    }
  }

  /** A checkpoint was made. */
  made(
    checkpointId: number,
    beganMs: number,
    alignedMs: number,
    doneMs: number,
    bytesWritten: number
  ): CheckpointStatus {
    this.checkpoints++
    this.lastCheckpoint = {
      checkpointId,
      duration: Duration.millis(doneMs - beganMs),
      alignment: Duration.millis(alignedMs - beganMs),
      bytesWritten
    }
    return this.lastCheckpoint
  }
}

// ---- internal ----

const total = (operators: ReadonlyArray<Operator>, of: (operator: Operator) => number): number =>
  operators.reduce((sum, operator) => sum + of(operator), 0)
