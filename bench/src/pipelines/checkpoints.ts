/**
 * The checkpoint cases: a pipeline with a small state for each of a million keys (`--quick`: 200 000), into files and
 * back. What is measured is a checkpoint of a pipeline that runs, from asking for it until it is durable and committed;
 * beside it, in another checkpoint that is not timed, how long the event loop was held.
 */
import { vnodeCount } from "@millrace/core/Vnode"
import { Packr } from "msgpackr"
import { open, readFile } from "node:fs/promises"
import { join } from "node:path"
import type { Contestant, Outcome, Place, Role, Turn } from "../contestant.js"
import { driveCalls } from "../drive.js"
import { accountCount, accountMap, bookingsIn, fewVnodes, firstBookings, openAccounts } from "./accounts.js"
import type { Accounts } from "./accounts.js"
import { longestTurn } from "./blocking.js"
import { files } from "./windowing.js"

/** A checkpoint of which every vnode has changed. */
export const fullCheckpoints: ReadonlyArray<Contestant> = [
  checkpointing({ name: "ours", role: "ours", vnodes: vnodeCount, isProbed: true })
]

/** One of which hardly any has, and one of which every one has. */
export const incrementalCheckpoints: ReadonlyArray<Contestant> = [
  checkpointing({ name: "ours", role: "ours", vnodes: fewVnodes, isProbed: false }),
  checkpointing({ name: "full", role: "reference", vnodes: vnodeCount, isProbed: false })
]

/** From starting the pipeline until it asks its source for records. */
export const restoring: ReadonlyArray<Contestant> = [
  {
    name: "ours",
    role: "ours",
    open: async (place) => {
      const count = accountCount(place.quick)
      const storage = await files(place)
      const filled = await openAccounts(storage)
      await filled.book(firstBookings(count))
      await filled.checkpoint()
      await filled.close()
      return {
        drive: async (turn) => {
          let accounts: Accounts | undefined
          const timed = timing()
          do {
            await timed.during(async () => {
              accounts = await openAccounts(storage)
            })
            const size = await accounts!.size()
            await accounts!.close()
            if (size !== count)
              throw new Error(`the checkpoint has other keys. keys=${size} expected=${count}`)
          } while (timed.goesOn(turn))
          return timed.outcome(count)
        },
        close: async () => {}
      }
    }
  }
]

/** The same state as a map, encoded at once, written, and flushed to the disk. */
export const bareEncode: Contestant = {
  name: "limit",
  role: "limit",
  open: async (place) => {
    const count = accountCount(place.quick)
    const accounts = accountMap(count)
    const file = join(await place.folder(), "state.bin")
    return {
      drive: driveCalls(
        async () => {
          await writeFlushed(file, packr.pack(accounts))
          return count
        },
        { callers: 1 }
      ),
      close: async () => {}
    }
  }
}

/** The file read at once, and decoded to a map. */
export const bareDecode: Contestant = {
  name: "limit",
  role: "limit",
  open: async (place) => {
    const count = accountCount(place.quick)
    const file = join(await place.folder(), "state.bin")
    await writeFlushed(file, packr.pack(accountMap(count)))
    return {
      drive: driveCalls(
        async () => {
          const { size } = packr.unpack(await readFile(file)) as ReadonlyMap<string, unknown>
          if (size !== count) throw new Error(`the file has other keys. keys=${size} expected=${count}`)
          return count
        },
        { callers: 1 }
      ),
      close: async () => {}
    }
  }
}

// ---- internal ----

/** As the pipeline has it. */
const packr = new Packr({ useBigIntExtension: true, moreTypes: true })

const writeFlushed = async (file: string, bytes: Uint8Array): Promise<void> => {
  const handle = await open(file, "w")
  try {
    await handle.writeFile(bytes)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

interface Checkpointing {
  readonly name: string
  readonly role: Role
  /** How many have changed since the checkpoint before. */
  readonly vnodes: number
  /** Whether it is looked how long the event loop is held. */
  readonly isProbed: boolean
}

function checkpointing({ isProbed, name, role, vnodes }: Checkpointing): Contestant {
  return {
    name,
    role,
    open: async (place: Place) => {
      const count = accountCount(place.quick)
      const accounts = await openAccounts(await files(place))
      await accounts.book(firstBookings(count))
      const wholeBytes = await accounts.checkpoint()
      const bookings = bookingsIn(vnodes)
      // What a checkpoint writes must be the share of the state that has changed.
      const share = vnodes / vnodeCount
      const check = (bytes: number): void => {
        if (bytes < wholeBytes * share * 0.8 || bytes > wholeBytes * share * 1.2 + 100_000)
          throw new Error(`${name} wrote other state than has changed. bytes=${bytes} whole=${wholeBytes}`)
      }
      return {
        drive: async (turn) => {
          const timed = timing()
          do {
            await accounts.book(bookings)
            check(await timed.during(accounts.checkpoint))
          } while (timed.goesOn(turn))
          if (!isProbed) return timed.outcome(count)
          await accounts.book(bookings)
          return timed.outcome(count, [await longestTurn(accounts.checkpoint)])
        },
        close: accounts.close
      }
    }
  }
}

/** Adds up the time that something took again and again, while what lies between does not count. */
const timing = () => {
  let tookMs = 0
  let times = 0
  return {
    during: async <A>(work: () => Promise<A>): Promise<A> => {
      const beganMs = performance.now()
      const done = await work()
      tookMs += performance.now() - beganMs
      times++
      return done
    },
    goesOn: ({ seconds }: Turn): boolean => tookMs < seconds * 1_000,
    outcome: (each: number, latenciesMs: ReadonlyArray<number> = []): Outcome => ({
      value: (each * times) / (tookMs / 1_000),
      events: each * times,
      latenciesMs
    })
  }
}
