/** A plan at work: the tasks with their operators, and the channels between them. Nothing runs yet. */
import type { SinkWriter } from "@millrace/core/Sink"
import type { SinkSpec, SourceSpec } from "../Graph.js"
import { Channel, Entry } from "./Channel.js"
import type { Operator, OperatorContext } from "./Operator.js"
import { Outlet } from "./Outlet.js"
import type { Plan, PlanEdge, PlanNode } from "./Plan.js"
import { SinkOperator } from "./SinkOperator.js"
import { SourceOperator } from "./SourceOperator.js"
import type { TaskReport } from "./Task.js"
import { Task } from "./Task.js"

/** What a topology is made of. */
export interface TopologyOptions {
  readonly plan: Plan
  readonly channelCapacity: number
  readonly nowMs: () => number
  readonly report: (report: TaskReport) => void
  /** Of the sinks, by name. Filled when they are opened. */
  readonly writers: ReadonlyMap<string, SinkWriter<unknown, unknown, unknown>>
  readonly onSinkEnded: () => void
}

/** A source's task. */
export interface SourcePart {
  readonly id: string
  readonly spec: SourceSpec
  readonly operator: SourceOperator
  readonly task: Task
}

/** Everything that is to run. */
export interface Topology {
  readonly sources: ReadonlyArray<SourcePart>
  /** All others. */
  readonly tasks: ReadonlyArray<Task>
  /** Instances by id, of all nodes. */
  readonly operators: ReadonlyMap<string, ReadonlyArray<Operator>>
  readonly channels: ReadonlyMap<string, ReadonlyArray<Channel>>
}

/** Makes it. */
export const make = (options: TopologyOptions): Topology => {
  const { channelCapacity, nowMs, plan, report } = options
  const operators = new Map<string, Array<Operator>>()
  const channels = new Map<string, Array<Channel>>()
  const taskOf = new Map<Operator, Task>()
  const tasks: Array<Task> = []
  const sources: Array<SourcePart> = []

  for (const { name, nodes, parallelism } of plan.tasks) {
    for (let subtask = 0; subtask < parallelism; subtask++) {
      const task = new Task(`${name}/${subtask}`, report, nowMs)
      const [first] = nodes
      if (first!.node.spec._tag !== "Source") tasks.push(task)
      for (const node of nodes) {
        const context = contextOf(node.id, Math.max(1, node.node.inputs.length), options, task)
        const operator = makeOperator(node, context, options)
        task.operators.push(operator)
        taskOf.set(operator, task)
        operators.set(node.id, [...(operators.get(node.id) ?? []), operator])
        if (operator instanceof SourceOperator)
          sources.push({ id: node.id, spec: node.node.spec as SourceSpec, operator, task })
      }
    }
  }

  for (const edge of plan.edges) {
    const to = operators.get(edge.to.id)!
    if (edge.kind === "direct") {
      for (const [i, from] of operators.get(edge.from.id)!.entries())
        from.connect({ operator: to[i]!, port: edge.port }, edge.side)
      continue
    }
    const entries = to.map((operator) => new Entry(operator, edge.port))
    for (const [i, from] of operators.get(edge.from.id)!.entries()) {
      const task = taskOf.get(from)!
      const outlet = new Outlet(contextOf(`${edge.from.id} → ${edge.to.id}`, 1, options, task), edge.kind)
      task.outlets.push(outlet)
      from.connect({ operator: outlet, port: 0 }, edge.side)
      for (const entry of entriesFor(edge, entries, i)) {
        const receiver = taskOf.get(entry.operator)!
        const channel = new Channel(entry, channelCapacity, receiver.deliver)
        receiver.channels.push(channel)
        outlet.addChannel(channel)
        channels.set(edge.to.id, [...(channels.get(edge.to.id) ?? []), channel])
      }
    }
  }
  return { sources, tasks, operators, channels }
}

// ---- internal ----

const makeOperator = (
  { id, node: { spec } }: PlanNode,
  context: OperatorContext,
  { onSinkEnded, writers }: TopologyOptions
): Operator => {
  switch (spec._tag) {
    case "Source":
      return new SourceOperator(context, spec)
    case "Sink":
      return new SinkOperator(context, () => writers.get((spec satisfies SinkSpec).sink.name)!, onSinkEnded)
    case "Operator": {
      const operator = spec.make(context)
      if (operator.id !== id) throw new Error(`operator ${id} has another id`)
      return operator
    }
  }
}

const contextOf = (
  id: string,
  ports: number,
  { nowMs, plan }: TopologyOptions,
  task: Task
): OperatorContext => ({
  id,
  ports,
  hasMarks: plan.hasMarks,
  nowMs,
  wakeAt: task.wakeAt,
  unfinished: task.addUnfinished
})

const entriesFor = (
  { kind }: PlanEdge,
  entries: ReadonlyArray<Entry>,
  from: number
): ReadonlyArray<Entry> => {
  switch (kind) {
    case "exchange":
      return entries
    case "forward":
      return [entries[from]!]
    default:
      return [entries[0]!]
  }
}
