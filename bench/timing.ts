export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

/** Wall-clock time of one run. */
export async function milliseconds(run: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await run()
  return performance.now() - begun
}

/** Counts every `crypto.subtle.verify` while `run` runs, and the time in which at least one was computed. */
export async function signaturesOf(
  run: () => Promise<unknown>,
): Promise<{ count: number; spent: number }> {
  const { subtle } = crypto
  const verify = subtle.verify.bind(subtle)
  const seen = { count: 0, spent: 0 }
  let pending = 0
  let begun = 0
  subtle.verify = async (...given) => {
    if (pending++ === 0) begun = performance.now()
    try {
      return await verify(...given)
    } finally {
      seen.count++
      if (--pending === 0) seen.spent += performance.now() - begun
    }
  }
  try {
    await run()
  } finally {
    subtle.verify = verify
  }
  return seen
}
