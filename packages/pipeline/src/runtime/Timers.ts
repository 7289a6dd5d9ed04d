/**
 * Times at which something is due, earliest first. What is due at one time is a list in order of arrival; the times
 * themselves are a binary heap, and there are usually few: all keys share the ends of their windows.
 */
export class Timers<T> {
  private readonly due = new Map<number, Array<T>>()
  private readonly heap: Array<number> = []
  /** How far the earliest list was taken. */
  private taken = 0

  /** Number of different times. */
  get size(): number {
    return this.heap.length
  }

  add(timeMs: number, item: T): void {
    const list = this.due.get(timeMs)
    if (list !== undefined) {
      list.push(item)
      return
    }
    this.due.set(timeMs, [item])
    this.insert(timeMs)
  }

  /** The earliest time; Infinity when there is none. */
  get earliest(): number {
    return this.heap[0] ?? Infinity
  }

  /** Takes the next item that is due at or before a time; undefined when there is none. Items are never undefined. */
  take(untilMs: number): T | undefined {
    for (;;) {
      const timeMs = this.heap[0]
      if (timeMs === undefined || timeMs > untilMs) return undefined
      const list = this.due.get(timeMs)!
      if (this.taken < list.length) return list[this.taken++]
      this.taken = 0
      this.due.delete(timeMs)
      this.removeFirst()
    }
  }

  private insert(timeMs: number): void {
    // The list under way is remembered by its place only.
    if (this.taken > 0 && timeMs < this.heap[0]!) {
      const list = this.due.get(this.heap[0]!)!
      list.splice(0, this.taken)
      this.taken = 0
    }
    const { heap } = this
    let at = heap.push(timeMs) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (heap[parent]! <= timeMs) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = timeMs
  }

  private removeFirst(): void {
    const { heap } = this
    const last = heap.pop()!
    const { length } = heap
    if (length === 0) return
    let at = 0
    for (;;) {
      let child = at * 2 + 1
      if (child >= length) break
      if (child + 1 < length && heap[child + 1]! < heap[child]!) child++
      if (heap[child]! >= last) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
  }
}
