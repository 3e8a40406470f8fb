import type { JsonValue } from '@vouchgate/attestation'
import type { AssistantPart, CanonicalAnswer, JsonObject } from '../canonical.ts'
import { ProviderError, type Target } from '../dialect.ts'
import { exactInputs } from './exact.ts'
import { failureWithin } from './failure.ts'
import { JSON_TOOL, unescapeName } from './names.ts'
import { membersOf, Must, parseShallow, textOf } from './read.ts'
import { finishOf } from './stop.ts'
import { UsageCounts } from './usage.ts'
import type { Json } from '../json.ts'

const must = new Must('upstream_malformed')

export const newId = (prefix: string, target: Target): string =>
  prefix + Buffer.from(target.random(12)).toString('hex')

/** Why the model refused, where Anthropic says so. */
export function refusalOf(details: Json): string {
  const { type, explanation } = membersOf(details)
  return type === 'refusal' ? textOf(explanation) : ''
}

function toolPart(block: JsonObject, input: string, target: Target): AssistantPart {
  must.object(block['input'])
  const name = must.text(block['name'])
  if (name === JSON_TOOL) return { type: 'text', text: input }
  const id = textOf(block['id']) || newId('toolu_', target)
  return { type: 'tool_call', id, name: unescapeName(name), arguments: input, signature: null }
}

/** Null: a block that only tools of Anthropic's own make, which no client can have asked for here. */
function partOf(block: JsonObject, input: string, target: Target): AssistantPart | null {
  switch (textOf(block['type'])) {
    case 'text':
      return { type: 'text', text: must.text(block['text']) }
    case 'thinking': {
      const text = must.text(block['thinking'])
      const signature = textOf(block['signature']) || null
      return { type: 'reasoning', text, signature, encrypted: null, id: null }
    }
    case 'redacted_thinking': {
      const encrypted = must.text(block['data'])
      return { type: 'reasoning', text: '', signature: null, encrypted, id: null }
    }
    case 'tool_use':
      return toolPart(block, input, target)
    default:
      return null
  }
}

function partsOf(message: JsonObject, text: string, target: Target): AssistantPart[] {
  const content = must.list(message['content']).map((block: JsonValue) => must.object(block))
  const inputs = content.some((block) => block['type'] === 'tool_use') ? exactInputs(text) : []
  const parts = content.flatMap((block, at) => partOf(block, inputs[at] ?? '{}', target) ?? [])
  const refusal = refusalOf(message['stop_details'])
  return refusal === '' ? parts : [...parts, { type: 'refusal', text: refusal }]
}

/** Throws `upstream_malformed`; an error in the place of a message as `ProviderError`. */
export function decodeAnswer(body: Buffer, target: Target): CanonicalAnswer {
  const text = body.toString('utf8')
  const message = must.object(parseShallow(text, must))
  if (message['type'] === 'error') throw new ProviderError(failureWithin(message['error']))
  const parts = partsOf(message, text, target)
  const calls = parts.some((part) => part.type === 'tool_call')
  const { reason, ...finish } = finishOf(
    textOf(message['stop_reason']),
    must.maybeText(message['stop_sequence']),
    calls,
  )
  return {
    id: textOf(message['id']) || newId('msg_', target),
    model: textOf(message['model']) || target.model,
    created: target.now(),
    choices: [{ index: 0, parts, finish: reason, ...finish, logprobs: null }],
    usage: new UsageCounts().read(message['usage']).canonical,
  }
}
