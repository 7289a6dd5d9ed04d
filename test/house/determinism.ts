/**
 * Finds reads of the machine's clock that no lint rule finds: `new Date()` and `Date()` without arguments. A
 * `new Date(value)` only converts and is fine. What can be forbidden by name is in `.oxlintrc.json`.
 */
import ts from "typescript"

/** Lines, counted from 1, on which a source reads the clock through `Date`. */
export const clockReads = (source: string): ReadonlyArray<number> => {
  const file = ts.createSourceFile("source.ts", source, ts.ScriptTarget.ES2022)
  const lines: Array<number> = []
  const visit = (node: ts.Node): void => {
    const isDate =
      (ts.isNewExpression(node) || ts.isCallExpression(node)) &&
      ts.isIdentifier(node.expression) &&
      node.expression.text === "Date"
    // As a function, `Date` ignores its arguments and always reads the clock.
    if (isDate && (ts.isCallExpression(node) || (node.arguments ?? []).length === 0)) {
      lines.push(file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1)
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
  return lines
}
