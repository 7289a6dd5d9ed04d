/** Texts that a careless store loses, changes or takes for something else. */

/** All of them may be stored, and come back as they went in. */
export const oddTexts: ReadonlyArray<readonly [what: string, text: string]> = [
  ["a single quote", "it's"],
  ["two single quotes", "''"],
  ["double quotes", `say "hi"`],
  ["a percent sign", "100%"],
  ["an underscore", "a_b"],
  ["a backslash", "a\\b"],
  ["a backslash at the end", "ends with \\"],
  ["an escape as letters", "\\u0000\\n\\x41"],
  ["a statement", "'; DROP TABLE events; --"],
  ["a parameter", "$1 :a ? @p"],
  ["an array literal", `{a,"b",NULL}`],
  ["a comma", "a,b"],
  ["the word NULL", "NULL"],
  ["JSON", `{"a":[1,null]}`],
  ["blanks around", "  a  "],
  ["control characters", "a\tb\nc\r\u0001\u007f"],
  ["an emoji", "🦄"],
  ["a joined emoji", "👩‍👩‍👧‍👦"],
  ["a composed letter", "é"],
  ["a letter and its accent", "e\u0301"],
  ["letters without a lower case of one unit", "İSTANBUL ß"],
  ["another script", "日本語 עברית"],
  ["the last character of the first plane", "\uffff"],
  ["the first private character", "\ue000"],
  ["the greatest code point", "\u{10ffff}"],
  ["line separators", "a\u2028b\u2029c"],
  ["a byte order mark", "\ufeffa"]
]

/** Must be refused everywhere: no store keeps them. */
export const refusedTexts: ReadonlyArray<readonly [what: string, text: string]> = [
  ["NUL", "a\u0000b"],
  ["a lone high surrogate", "a\ud800b"],
  ["a lone low surrogate", "a\udc00b"],
  ["a high surrogate at the end", "a\ud83e"]
]

/** `count` code points, each of two UTF-16 units and four bytes. */
export const astral = (count: number): string => "🦄".repeat(count)

/** What is no name, type, tag or key: texts that no store keeps, texts that are too long, and what is no text. */
export const badTexts: ReadonlyArray<unknown> = [
  ...refusedTexts.map(([, text]) => text),
  "",
  "x".repeat(256),
  astral(256),
  null,
  5,
  {},
  Object.create(null)
]
