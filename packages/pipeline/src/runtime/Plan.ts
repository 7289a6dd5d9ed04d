/**
 * How a graph is laid out: which operators work together in one task, how often each task is there, and how records
 * get from one task to another.
 *
 *     source ══▶ [ map · filter · keyBy ] ══▶ [ window · map ] ══▶ sink          ══ records in batches, bounded
 *        1                 1              by key     n       all to one   1
 *
 * Operators that take records from one another directly are one task: they call one another, nothing waits in between.
 * A task ends at a source, before a sink or an effect, and where records go to the owner of their key. A node's level
 * is the number of such ends on the longest way to it; directly connected nodes of one level are one task, so that
 * tasks are never in a circle.
 */
import { invalid } from "@millrace/core/InvalidArgument"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import { textFault } from "@millrace/core/Text"
import type { Node } from "../Graph.js"
import type { Side } from "../SideOutput.js"

/** A node with its place. */
export interface PlanNode {
  readonly node: Node
  readonly id: string
  readonly parallelism: number
  readonly level: number
}

/** How records get from a node to one that takes them. */
export interface PlanEdge {
  readonly from: PlanNode
  readonly to: PlanNode
  readonly port: number
  readonly side: Side | undefined
  /**
   * - `direct`: by a call, within a task.
   * - `exchange`: to the owner of the key.
   * - `gather`: all to one.
   * - `forward`: each to the one of the same number.
   */
  readonly kind: "direct" | "exchange" | "gather" | "forward"
}

/** Operators that work together. */
export interface PlanTask {
  readonly name: string
  readonly nodes: ReadonlyArray<PlanNode>
  readonly parallelism: number
}

/** A layout. Nodes come before those that take from them. */
export interface Plan {
  readonly nodes: ReadonlyArray<PlanNode>
  readonly edges: ReadonlyArray<PlanEdge>
  readonly tasks: ReadonlyArray<PlanTask>
  /** Whether records carry the watermark before each of them. */
  readonly hasMarks: boolean
  /** Why the same input may give another output; empty: it may not. */
  readonly chances: ReadonlyArray<string>
}

/** Longest id of an operator: a checkpoint adds to it. Unit: code points. */
const idCodePointsMax = 200

/** The layout of all nodes above the sinks, or what is wrong with them. */
export const planOf = (sinks: ReadonlyArray<Node>, parallelism: number): Plan | InvalidArgument => {
  const ordered = inOrder(sinks)
  const ids = idsOf(ordered)
  if (!(ids instanceof Map)) return ids
  const placed = new Map<Node, PlanNode>()
  const edges: Array<PlanEdge> = []
  for (const node of ordered) {
    const inputs = node.inputs.map((input) => ({ ...input, from: placed.get(input.node)! }))
    const wide = parallelismOf(
      node,
      inputs.map(({ from }) => from),
      parallelism
    )
    const kinds = inputs.map(({ from }) => kindOf(from, node, wide))
    const level = Math.max(0, ...inputs.map(({ from }, i) => from.level + (kinds[i] === "direct" ? 0 : 1)))
    const to: PlanNode = { node, id: ids.get(node)!, parallelism: wide, level }
    placed.set(node, to)
    for (const [port, { from, side }] of inputs.entries()) {
      // A level may be reached by a direct way and by a longer one: then the direct one is none.
      const kind =
        kinds[port] === "direct" && from.level < level ? (wide === 1 ? "gather" : "forward") : kinds[port]!
      edges.push({ from, to, port, side, kind })
    }
  }
  const nodes = [...placed.values()]
  return {
    nodes,
    edges,
    tasks: tasksOf(nodes, edges),
    hasMarks: nodes.some(({ node: { spec } }) => spec._tag === "Operator" && spec.needsMarks),
    chances: [
      ...nodes.flatMap(({ id, node: { spec } }) => chancesOf(id, spec)),
      ...orderChances(nodes, edges)
    ]
  }
}

// ---- internal ----

/** All nodes, each behind those that it takes from, in an order that the graph alone decides. */
const inOrder = (sinks: ReadonlyArray<Node>): ReadonlyArray<Node> => {
  const ordered = new Set<Node>()
  const visit = (node: Node): void => {
    if (ordered.has(node)) return
    for (const input of node.inputs) visit(input.node)
    ordered.add(node)
  }
  for (const sink of sinks) visit(sink)
  return [...ordered]
}

const idsOf = (nodes: ReadonlyArray<Node>): Map<Node, string> | InvalidArgument => {
  const ids = new Map<Node, string>()
  const taken = new Set<string>()
  for (const node of nodes) {
    const given = givenIdOf(node)
    if (given === undefined) continue
    const fault = textFault(given, idCodePointsMax)
    if (fault !== undefined)
      return invalid(`id of a ${node.kind}`, `1 to ${idCodePointsMax} code points; this one ${fault}`, given)
    if (taken.has(given)) return invalid(`id of a ${node.kind}`, "unique in the pipeline", given)
    taken.add(given)
    ids.set(node, given)
  }
  const counts = new Map<string, number>()
  for (const node of nodes) {
    if (ids.has(node)) continue
    let id: string
    do {
      const count = (counts.get(node.kind) ?? 0) + 1
      counts.set(node.kind, count)
      id = count === 1 ? node.kind : `${node.kind}-${count}`
    } while (taken.has(id))
    taken.add(id)
    ids.set(node, id)
  }
  return ids
}

const givenIdOf = ({ id, spec }: Node): string | undefined => {
  switch (spec._tag) {
    case "Source":
      return spec.source.name
    case "Sink":
      return spec.sink.name
    case "Operator":
      return id
  }
}

const parallelismOf = ({ spec }: Node, inputs: ReadonlyArray<PlanNode>, parallelism: number): number => {
  if (spec._tag !== "Operator" || spec.role === "effect") return 1
  if (spec.role === "keyed") return parallelism
  const first = inputs[0]?.parallelism ?? 1
  return inputs.every((input) => input.parallelism === first) ? first : 1
}

const kindOf = (from: PlanNode, to: Node, parallelism: number): PlanEdge["kind"] => {
  if (to.spec._tag === "Operator" && to.spec.role === "keyed" && parallelism > 1) return "exchange"
  if (from.node.spec._tag === "Source" || to.spec._tag === "Sink" || from.parallelism !== parallelism)
    return "gather"
  return to.spec._tag === "Operator" && to.spec.role === "effect" ? "gather" : "direct"
}

const tasksOf = (nodes: ReadonlyArray<PlanNode>, edges: ReadonlyArray<PlanEdge>): ReadonlyArray<PlanTask> => {
  const groups = new Map<PlanNode, Array<PlanNode>>(nodes.map((node) => [node, [node]]))
  for (const { from, kind, to } of edges) {
    if (kind !== "direct") continue
    const a = groups.get(from)!
    const b = groups.get(to)!
    if (a === b) continue
    a.push(...b)
    for (const node of b) groups.set(node, a)
  }
  const order = new Map(nodes.map((node, i) => [node, i]))
  return [...new Set(groups.values())].map((group) => {
    const sorted = group.sort((a, b) => order.get(a)! - order.get(b)!)
    return { name: sorted[0]!.id, nodes: sorted, parallelism: sorted[0]!.parallelism }
  })
}

const chancesOf = (id: string, spec: Node["spec"]): ReadonlyArray<string> => {
  if (spec._tag === "Operator") return spec.chance === undefined ? [] : [`${id}: ${spec.chance}`]
  if (spec._tag === "Sink") return []
  const chances: Array<string> = []
  if (!spec.source.isReplayable) chances.push(`${id}: it does not give the same records again`)
  if (spec.watermarks.idleMs !== undefined)
    chances.push(`${id}: idle partitions are told by the machine's clock`)
  return chances
}

/**
 * Operators to whom the order of records matters, where that order is not the same each time: records of several
 * sources or shares come as they come, and what an operator gives for several keys at one moment comes in another
 * order after it was restored.
 */
const orderChances = (
  nodes: ReadonlyArray<PlanNode>,
  edges: ReadonlyArray<PlanEdge>
): ReadonlyArray<string> => {
  const sources = new Map<PlanNode, ReadonlySet<PlanNode>>()
  const mixed = new Map<PlanNode, string | undefined>()
  const chances: Array<string> = []
  for (const node of nodes) {
    const incoming = edges.filter(({ to }) => to === node)
    const above = new Set(incoming.flatMap(({ from }) => [...sources.get(from)!]))
    const { spec } = node.node
    sources.set(node, spec._tag === "Source" ? new Set([node]) : above)
    const reasons = incoming.flatMap(({ from, kind }) => [
      ...(from.parallelism > 1 && kind !== "direct" && kind !== "forward"
        ? [`of the shares of ${from.id}`]
        : []),
      ...(mixed.get(from) === undefined ? [] : [mixed.get(from)!])
    ])
    const reason = above.size > 1 ? "of several sources" : reasons[0]
    if (spec._tag === "Operator" && spec.needsMarks && reason !== undefined)
      chances.push(`${node.id}: the order of records ${reason} is not the same each time`)
    const isKeyed = spec._tag === "Operator" && spec.role === "keyed"
    mixed.set(node, reason ?? (isKeyed ? `of ${node.id}` : undefined))
  }
  return chances
}
