import type { Clock } from '@vouchgate/attestation'

/** The machine's clock. On TDX the host can move it: lifetimes are short and clients bring their own. */
export const systemClock: Clock = { now: () => Math.floor(Date.now() / 1000) }
