import type { CanonicalEvent } from '../../src/dialects/canonical.ts'
import type { StreamDecoder, Target } from '../../src/dialects/dialect.ts'

/** The same random bytes and the same time for everyone who asks in the same order. */
export function target(model = 'asked/model'): Target {
  let count = 0
  return {
    model,
    random: (length) => new Uint8Array(length).fill(++count),
    now: () => 1_700_000_000,
  }
}

/** All events of a stream that arrives in the given pieces. */
export const decodeIn = (decoder: StreamDecoder, pieces: readonly Buffer[]): CanonicalEvent[] => [
  ...pieces.flatMap((piece) => decoder.push(piece)),
  ...decoder.end(),
]

/** Every event, with adjacent pieces of one text joined: cuts may not change more than where pieces end. */
export function joined(events: readonly CanonicalEvent[]): CanonicalEvent[] {
  const out: CanonicalEvent[] = []
  for (const event of events) {
    const last = out.at(-1)
    if (last !== undefined && 'text' in event && 'text' in last && sameText(last, event)) {
      out[out.length - 1] = { ...last, text: last.text + event.text }
    } else {
      out.push(event)
    }
  }
  return out
}

const sameText = (a: CanonicalEvent, b: CanonicalEvent): boolean =>
  key(a) === key(b) && !('logprobs' in a && a.logprobs !== null)

const key = (event: CanonicalEvent): string =>
  JSON.stringify({ ...event, text: null, logprobs: null })
