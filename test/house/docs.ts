/**
 * Finds what a package exports without saying what it is: every exported declaration, and every member of an
 * exported service, error or options type, is read by users in their editor before anything else.
 */
import ts from "typescript"

export interface Undocumented {
  readonly file: string
  readonly name: string
}

/** Exported declarations of one source file that have no doc comment. */
export function undocumented(file: string, text: string): ReadonlyArray<Undocumented> {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.ES2022, true)
  const found: Array<Undocumented> = []
  const documentedNames = new Set<string>()
  for (const statement of source.statements) {
    if (isExported(statement) && hasDoc(statement))
      for (const name of namesOf(statement)) documentedNames.add(name)
  }
  for (const statement of source.statements) {
    if (!isExported(statement) || hasDoc(statement)) continue
    // A brand's schema and its type share a name, as a tag and its layer may: one comment serves both.
    for (const name of namesOf(statement)) if (!documentedNames.has(name)) found.push({ file, name })
  }
  return found
}

// ---- internal ----

const isExported = (node: ts.Node): boolean =>
  ts.canHaveModifiers(node) &&
  (ts.getModifiers(node) ?? []).some((modifier) => modifier.kind === ts.SyntaxKind.ExportKeyword)

const hasDoc = (node: ts.Node): boolean => ts.getJSDocCommentsAndTags(node).length > 0

const namesOf = (statement: ts.Statement): ReadonlyArray<string> => {
  if (ts.isVariableStatement(statement)) {
    return statement.declarationList.declarations.map((declaration) => declaration.name.getText())
  }
  if (
    ts.isFunctionDeclaration(statement) ||
    ts.isClassDeclaration(statement) ||
    ts.isInterfaceDeclaration(statement) ||
    ts.isTypeAliasDeclaration(statement)
  ) {
    return statement.name === undefined ? [] : [statement.name.text]
  }
  return []
}
