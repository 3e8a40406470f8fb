import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError } from '../../errors.ts'
import type { CanonicalEvent, CanonicalUsage } from '../canonical.ts'
import type { StreamDecoder, Target } from '../dialect.ts'
import { makeId } from '../ids.ts'
import { countAt, listAt, readJson, textAt } from '../loose.ts'
import { lastFrame } from '../last-frame.ts'
import { SseParser } from '../sse.ts'
import { Candidate } from './candidate.ts'
import { geminiFailure } from './failure.ts'
import { isObject, member } from '../json.ts'

const MAX_CANDIDATES = 64

/** The prompt's count includes what was cached and excludes what tools put in; the candidates' excludes thoughts. */
function geminiUsage(value: JsonValue | undefined): CanonicalUsage | null {
  const prompt = countAt(value, 'promptTokenCount')
  if (prompt === null) return null
  const cacheRead = countAt(value, 'cachedContentTokenCount') ?? 0
  const tools = countAt(value, 'toolUsePromptTokenCount') ?? 0
  return {
    uncachedInput: Math.max(0, prompt + tools - cacheRead),
    cacheRead,
    cacheWrite: 0,
    output: countAt(value, 'candidatesTokenCount') ?? 0,
    reasoning: countAt(value, 'thoughtsTokenCount') ?? 0,
  }
}

/** Reads `GenerateContentResponse` after `GenerateContentResponse`; a whole answer is one of them. */
export class GeminiReader {
  readonly #target: Target
  readonly #candidates = new Map<number, Candidate>()
  #started = false
  #failed = false

  constructor(target: Target) {
    this.#target = target
  }

  get failed(): boolean {
    return this.#failed
  }

  chunk(value: JsonValue | undefined): CanonicalEvent[] {
    if (!isObject(value)) throw new GatewayError('upstream_malformed')
    const error = member(value, 'error')
    if (error !== undefined) {
      this.#failed = true
      return [{ type: 'failure', failure: geminiFailure(error, 200) }]
    }
    const events: CanonicalEvent[] = []
    const usage = geminiUsage(member(value, 'usageMetadata'))
    this.#start(value, usage, events)
    for (const [position, candidate] of listAt(value, 'candidates').entries())
      this.#candidate(countAt(candidate, 'index') ?? position).read(candidate, events)
    const blocked = textAt(member(value, 'promptFeedback'), 'blockReason') !== null
    if (blocked && this.#candidates.size === 0) this.#candidate(0).block()
    if (usage !== null) events.push({ type: 'usage', usage })
    return events
  }

  /** Throws `upstream_broken` where a candidate has no reason to have ended. */
  end(): CanonicalEvent[] {
    const candidates = [...this.#candidates].toSorted(([a], [b]) => a - b).map(([, one]) => one)
    if (candidates.length === 0 || candidates.some((one) => !one.finished))
      throw new GatewayError('upstream_broken')
    const events: CanonicalEvent[] = []
    for (const candidate of candidates) candidate.end(events)
    return events
  }

  #start(value: JsonValue, usage: CanonicalUsage | null, events: CanonicalEvent[]): void {
    if (this.#started) return
    this.#started = true
    events.push({
      type: 'start',
      id: textAt(value, 'responseId') ?? makeId('gen-', this.#target),
      model: textAt(value, 'modelVersion') ?? this.#target.model,
      created: this.#target.now(),
      usage,
    })
  }

  #candidate(index: number): Candidate {
    const known = this.#candidates.get(index)
    if (known !== undefined) return known
    if (index >= MAX_CANDIDATES) throw new GatewayError('upstream_malformed')
    const made = new Candidate(index, this.#target)
    this.#candidates.set(index, made)
    return made
  }
}

/** Server-sent events without a final mark: only a candidate's finish reason says that it is complete. */
export class GeminiStream implements StreamDecoder {
  readonly #sse = new SseParser()
  readonly #reader: GeminiReader

  constructor(target: Target) {
    this.#reader = new GeminiReader(target)
  }

  push(chunk: Buffer): CanonicalEvent[] {
    return this.#read(this.#sse.push(chunk))
  }

  end(): CanonicalEvent[] {
    const events = this.#read(lastFrame(this.#sse))
    return this.#reader.failed ? events : [...events, ...this.#reader.end()]
  }

  #read(frames: readonly { readonly data: string }[]): CanonicalEvent[] {
    const events: CanonicalEvent[] = []
    for (const { data } of frames) {
      if (this.#reader.failed) break
      events.push(...this.#reader.chunk(readJson(data)))
    }
    return events
  }
}
