import type { Clock, UnixSeconds } from '@vouchgate/attestation'
import { systemClock } from '../../enclave/index.ts'

/** A clock that stands still until it is told to move. */
export interface FakeClock extends Clock {
  /** Moves forward (or, with a negative number, back). */
  advance(seconds: number): void
  set(time: UnixSeconds): void
}

/** 2026-11-20T00:00:00Z: the time that the simulated vendor's evidence is valid around by default. */
export const TEST_TIME: UnixSeconds = 1_795_132_800

export function fakeClock(start: UnixSeconds = TEST_TIME): FakeClock {
  let time = start
  return {
    now: () => time,
    advance: (seconds) => {
      time += seconds
    },
    set: (to) => {
      time = to
    },
  }
}

/** The machine's clock, which can be moved: Node checks certificates against the machine's own. */
export function machineClock(): FakeClock {
  const start = systemClock.now()
  let moved = 0
  return {
    now: () => systemClock.now() + moved,
    advance: (seconds) => {
      moved += seconds
    },
    set: (time) => {
      moved = time - start
    },
  }
}
