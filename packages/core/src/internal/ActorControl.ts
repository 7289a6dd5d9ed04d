/**
 * What an actor does next, decided without doing it.
 *
 *            first message           pause
 *     idle ────────────────▶ running ─────▶ paused        pause of an idle one: paused, not started;
 *      │                      │     ◀─────    │           resume brings it back
 *      │ stop                 │ stop  resume  │ stop
 *      ▼                      ▼               │
 *   stopped ◀── ended ─── stopping ◀──────────┘           stop again: only ever quicker
 *
 * Invariants
 *   1. Nothing leads out of `stopped`, and from `stopping` only `stopped` does.
 *   2. While paused no turn is `load` or `handle`.
 *   3. While stopping no turn is `wait`: an actor that is told to stop comes to an end by itself.
 */
import type { ActorPhase, StopMode } from "../ActorStatus.js"

export interface ActorControl {
  readonly phase: ActorPhase
  /** Whether it has a fiber. */
  readonly started: boolean
  /** Set from `stopping` on. */
  readonly mode: StopMode | undefined
}

/** What the fiber does next: nothing, run `initial`, handle messages, or leave. */
export type Turn = "wait" | "load" | "handle" | "end"

export const beginning: ActorControl = { phase: "idle", started: false, mode: undefined }

/** Whether messages are taken. */
export const isOpen = ({ phase }: ActorControl): boolean => phase !== "stopping" && phase !== "stopped"

export const onMessage = (control: ActorControl): ActorControl =>
  control.phase === "idle" ? { ...control, phase: "running" } : control

export const onPause = (control: ActorControl): ActorControl =>
  control.phase === "idle" || control.phase === "running" ? { ...control, phase: "paused" } : control

/** `size`: messages in the mailbox. */
export const onResume = (control: ActorControl, size: number): ActorControl =>
  control.phase === "paused"
    ? { ...control, phase: control.started || size > 0 ? "running" : "idle" }
    : control

export const onStop = (control: ActorControl, mode: StopMode): ActorControl =>
  control.phase === "stopped"
    ? control
    : { ...control, phase: "stopping", mode: quicker(control.mode ?? mode, mode) }

export const onStarted = (control: ActorControl): ActorControl => ({ ...control, started: true })

export const onEnded = (control: ActorControl): ActorControl => ({ ...control, phase: "stopped" })

/** `size`: messages in the mailbox. `loaded`: whether there is a state. */
export function turnOf({ mode, phase }: ActorControl, size: number, loaded: boolean): Turn {
  switch (phase) {
    case "idle":
    case "paused":
      return "wait"
    case "running":
      return loaded ? (size > 0 ? "handle" : "wait") : "load"
    case "stopping":
      return mode === "drain" && size > 0 ? (loaded ? "handle" : "load") : "end"
    case "stopped":
      return "end"
  }
}

// ---- internal ----

const speeds: ReadonlyArray<StopMode> = ["drain", "finish", "interrupt"]

const quicker = (a: StopMode, b: StopMode): StopMode => (speeds.indexOf(a) > speeds.indexOf(b) ? a : b)
