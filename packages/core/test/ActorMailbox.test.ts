/** The two parts of an actor that decide without doing: the line of messages, and what comes next. */
import { assert, describe, it } from "@effect/vitest"
import type { StopMode } from "@millrace/core/ActorStatus"
import * as FC from "effect/FastCheck"
import * as ActorControl from "../src/internal/ActorControl.js"
import type { Letter } from "../src/internal/ActorMailbox.js"
import { ActorMailbox } from "../src/internal/ActorMailbox.js"

const letterOf = (message: number): Letter<number> => ({
  message,
  place: "new",
  admit: undefined,
  refuse: undefined
})

/** `send` waits when there is no room, `own` goes ahead by one, `remove` takes back the nth that was ever sent. */
const step = FC.oneof(
  { weight: 8, arbitrary: FC.constant({ _tag: "send" as const }) },
  { weight: 1, arbitrary: FC.constant({ _tag: "own" as const }) },
  { weight: 6, arbitrary: FC.constant({ _tag: "take" as const }) },
  {
    weight: 3,
    arbitrary: FC.record({ _tag: FC.constant("remove" as const), index: FC.nat({ max: 400 }) })
  },
  { weight: 1, arbitrary: FC.constant({ _tag: "dismiss" as const }) }
)

describe("the mailbox", () => {
  it("behaves like two plain lists, whatever is sent, taken and taken back", () => {
    FC.assert(
      FC.property(
        FC.integer({ min: 1, max: 90 }),
        FC.array(step, { minLength: 1, maxLength: 800, size: "max" }),
        (capacity, steps) => {
          const admitted: Array<number> = []
          const mailbox = new ActorMailbox<number>(capacity, (letter) => void admitted.push(letter.message))
          const letters: Array<Letter<number>> = []
          let inside: ReadonlyArray<number> = []
          let waiting: ReadonlyArray<number> = []
          const expectedAdmitted: Array<number> = []
          const admit = (): void => {
            while (waiting.length > 0 && inside.length < capacity) {
              inside = [...inside, waiting[0]!]
              expectedAdmitted.push(waiting[0]!)
              waiting = waiting.slice(1)
            }
          }
          for (const next of steps) {
            if (next._tag === "send" || next._tag === "own") {
              const own = next._tag === "own"
              const hasRoom = inside.length < capacity + (own ? 1 : 0)
              assert.strictEqual(mailbox.hasRoom(own), hasRoom)
              if (own && !hasRoom) continue
              const letter = letterOf(letters.length)
              letters.push(letter)
              if (hasRoom) {
                mailbox.add(letter)
                inside = [...inside, letter.message]
              } else {
                mailbox.wait(letter)
                waiting = [...waiting, letter.message]
              }
            } else if (next._tag === "take") {
              assert.strictEqual(mailbox.take("received")?.message, inside[0])
              inside = inside.slice(1)
              admit()
            } else if (next._tag === "remove") {
              const letter = letters[next.index % Math.max(1, letters.length)]
              if (letter === undefined) continue
              const place = mailbox.remove(letter)
              assert.strictEqual(place === "mailbox", inside.includes(letter.message))
              assert.strictEqual(place === "waiting", waiting.includes(letter.message))
              inside = inside.filter((message) => message !== letter.message)
              waiting = waiting.filter((message) => message !== letter.message)
              admit()
            } else {
              assert.deepStrictEqual(
                mailbox.dismissSenders().map(({ message }) => message),
                waiting
              )
              waiting = []
            }
            assert.strictEqual(mailbox.size, inside.length)
            assert.strictEqual(mailbox.senders, waiting.length)
            assert.isTrue(mailbox.size <= capacity + 1)
            assert.isTrue(mailbox.senders === 0 || mailbox.size >= capacity)
          }
          mailbox.dismissSenders()
          assert.deepStrictEqual(
            mailbox.clear().map(({ message }) => message),
            inside
          )
          assert.deepStrictEqual(admitted, expectedAdmitted)
          assert.isUndefined(mailbox.take("received"))
        }
      )
    )
  })
})

const speeds: ReadonlyArray<StopMode> = ["drain", "finish", "interrupt"]

const input = FC.oneof(
  FC.constantFrom(
    "message" as const,
    "pause" as const,
    "resume" as const,
    "started" as const,
    "ended" as const
  ),
  FC.record({ stop: FC.constantFrom(...speeds) })
)

describe("the control", () => {
  it("keeps its invariants under every order of inputs", () => {
    FC.assert(
      FC.property(FC.array(FC.tuple(input, FC.nat({ max: 2 }), FC.boolean())), (inputs) => {
        let control = ActorControl.beginning
        for (const [next, size, loaded] of inputs) {
          const before = control
          if (next === "message") control = ActorControl.onMessage(control)
          else if (next === "pause") control = ActorControl.onPause(control)
          else if (next === "resume") control = ActorControl.onResume(control, size)
          else if (next === "started") control = ActorControl.onStarted(control)
          else if (next === "ended") control = ActorControl.onEnded(control)
          else control = ActorControl.onStop(control, next.stop)

          if (before.phase === "stopped") assert.strictEqual(control.phase, "stopped")
          if (before.phase === "stopping") assert.include(["stopping", "stopped"], control.phase)
          if (before.mode !== undefined) {
            assert.isAtLeast(speeds.indexOf(control.mode!), speeds.indexOf(before.mode))
          }
          const turn = ActorControl.turnOf(control, size, loaded)
          if (control.phase === "paused" || control.phase === "idle") assert.strictEqual(turn, "wait")
          if (!ActorControl.isOpen(control)) assert.notStrictEqual(turn, "wait")
          if (turn === "handle") assert.isTrue(loaded && size > 0)
          if (turn === "load") assert.isFalse(loaded)
        }
      })
    )
  })
})
