import type { FinishReason } from '../canonical.ts'

const FINISH: ReadonlyMap<string, FinishReason> = new Map<string, FinishReason>([
  ['end_turn', 'stop'],
  ['stop_sequence', 'stop'],
  ['tool_use', 'tool_calls'],
  ['max_tokens', 'length'],
  ['model_context_window_exceeded', 'length'],
  ['refusal', 'content_filter'],
  // The client has to send the answer back for the model to go on: the native name says so.
  ['pause_turn', 'stop'],
])

/** Reasons that the canonical ones do not tell apart. */
const NATIVE: ReadonlySet<string> = new Set(['pause_turn', 'model_context_window_exceeded'])

export interface Finish {
  readonly reason: FinishReason
  readonly stopSequence: string | null
  readonly nativeFinish?: string
}

/** `calls`: whether the answer has any, which the reason must agree with. */
export function finishOf(stopReason: string, stopSequence: string | null, calls: boolean): Finish {
  const named = FINISH.get(stopReason) ?? (calls ? 'tool_calls' : 'stop')
  const reason = named === 'tool_calls' && !calls ? 'stop' : named
  return NATIVE.has(stopReason)
    ? { reason, stopSequence, nativeFinish: stopReason }
    : { reason, stopSequence }
}

const STOP: Readonly<Record<FinishReason, string>> = {
  stop: 'end_turn',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  content_filter: 'refusal',
  // Encoders raise an error instead of writing it.
  error: 'end_turn',
}

export function stopReasonOf(finish: Finish): string {
  const { reason, stopSequence, nativeFinish } = finish
  if (nativeFinish !== undefined && NATIVE.has(nativeFinish)) return nativeFinish
  return reason === 'stop' && stopSequence !== null ? 'stop_sequence' : STOP[reason]
}
