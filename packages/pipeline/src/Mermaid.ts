/** A pipeline as a drawing, in Mermaid's language. */
import type { Plan, PlanNode } from "./runtime/Plan.js"

/**
 * The graph, one box for each operator, tasks as frames around those that work together. Paste it into anything that
 * draws Mermaid.
 */
export const draw = ({ edges, nodes, tasks }: Plan): string => {
  const names = new Map(nodes.map(({ id }, i) => [id, `n${i}`]))
  const lines = ["flowchart LR"]
  for (const [i, task] of tasks.entries()) {
    const boxes = task.nodes.map((node) => `${names.get(node.id)!}${box(node)}`)
    if (task.nodes.length === 1) lines.push(`  ${boxes[0]!}`)
    else lines.push(`  subgraph t${i}[" "]`, ...boxes.map((drawn) => `    ${drawn}`), "  end")
  }
  for (const { from, kind, side, to } of edges) {
    const label = [...(side === undefined ? [] : [side.name]), ...(kind === "exchange" ? ["by key"] : [])]
    const arrow = kind === "direct" ? "-->" : "==>"
    lines.push(
      `  ${names.get(from.id)!} ${arrow}${label.length === 0 ? "" : `|"${escaped(label.join(", "))}"|`} ${names.get(to.id)!}`
    )
  }
  return lines.join("\n")
}

// ---- internal ----

const box = ({ id, node: { kind }, parallelism }: PlanNode): string => {
  const times = parallelism > 1 ? ` × ${parallelism}` : ""
  const text = `"${escaped(id)}${kind === id ? "" : `<br/>${kind}`}${times}"`
  if (kind === "source") return `([${text}])`
  return kind === "sink" ? `[(${text})]` : `[${text}]`
}

/** Mermaid's own marks as entities, so that any name may stand in a box. */
const escaped = (text: string): string =>
  text.replaceAll(/[#&<>"\n]/g, (mark) => (mark === "\n" ? " " : `#${mark.codePointAt(0)!};`))
