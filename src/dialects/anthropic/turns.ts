import type { CanonicalRequest, JsonObject, Message } from '../canonical.ts'
import { assistantBlocks, resultBlock, userBlocks, type Block } from './blocks.ts'
import { textOf } from './read.ts'

interface Turn {
  readonly role: 'user' | 'assistant' | 'system'
  readonly content: readonly Block[]
}

export interface Conversation {
  readonly system: readonly Block[]
  readonly turns: readonly Turn[]
}

const isSystem = (message: Message): boolean =>
  message.role === 'system' || message.role === 'developer'

/** A message in the midst of a conversation. `native`: the client speaks this dialect, so it knows where system turns may stand. */
function turnOf(message: Message, native: boolean): Turn {
  switch (message.role) {
    case 'system':
    case 'developer':
      return { role: native ? 'system' : 'user', content: message.parts.flatMap(userBlocks) }
    case 'user':
      return { role: 'user', content: message.parts.flatMap(userBlocks) }
    case 'assistant':
      return { role: 'assistant', content: message.parts.flatMap(assistantBlocks) }
    case 'tool':
      return { role: 'user', content: message.results.map(resultBlock) }
  }
}

/** Text of nothing but white space is refused in most places; a client that speaks this dialect knows which. */
const withoutBlanks = (content: readonly Block[], native: boolean): readonly Block[] =>
  native
    ? content
    : content.filter(({ type, text }) => type !== 'text' || textOf(text).trim() !== '')

/** One turn a side: an empty one is left out, and those of one role become one. */
function merge(turns: readonly Turn[]): Turn[] {
  const merged: Turn[] = []
  for (const turn of turns) {
    if (turn.content.length === 0) continue
    const last = merged.at(-1)
    if (last?.role !== turn.role) merged.push(turn)
    else merged[merged.length - 1] = { ...last, content: [...last.content, ...turn.content] }
  }
  return merged
}

/** Results stand first in the turn that answers calls, or Anthropic does not see them as answers. */
const resultsFirst = (turn: Turn): Turn => {
  const isResult = (block: Block): boolean => block['type'] === 'tool_result'
  return turn.role === 'user'
    ? {
        ...turn,
        content: [
          ...turn.content.filter(isResult),
          ...turn.content.filter((each) => !isResult(each)),
        ],
      }
    : turn
}

/** The last turn, where the model shall go on with it, may not end in white space. */
function withoutTrailingSpace(turns: readonly Turn[]): readonly Turn[] {
  const turn = turns.at(-1)
  const block = turn?.content.at(-1)
  if (turn?.role !== 'assistant' || block?.['type'] !== 'text') return turns
  const { text } = block
  if (typeof text !== 'string') return turns
  const trimmed: JsonObject = { ...block, text: text.trimEnd() }
  return [...turns.slice(0, -1), { ...turn, content: [...turn.content.slice(0, -1), trimmed] }]
}

export function conversationOf(request: CanonicalRequest): Conversation {
  const { messages } = request
  const native = request.dialect === 'anthropic-messages'
  const first = messages.findIndex((message) => !isSystem(message))
  const leading = first === -1 ? messages : messages.slice(0, first)
  const rest = first === -1 ? [] : messages.slice(first)
  const system = withoutBlanks(
    leading.flatMap((message) => turnOf(message, native).content),
    native,
  )
  const said = rest.map((message) => {
    const turn = turnOf(message, native)
    return { ...turn, content: withoutBlanks(turn.content, native) }
  })
  const turns = merge(said).map(resultsFirst)
  // Instructions alone, which OpenAI answers, are the user's turn here: there has to be one.
  if (turns.length === 0) return { system: [], turns: merge([{ role: 'user', content: system }]) }
  return { system, turns: withoutTrailingSpace(turns) }
}

const isProof = (block: Block | undefined): boolean =>
  block?.['type'] === 'thinking' || block?.['type'] === 'redacted_thinking'

/** Whether the conversation ends within a tool loop whose calls came without the thoughts before them. */
export function hasLostThoughts({ turns }: Conversation): boolean {
  const last = turns.findLast((turn) => turn.role === 'assistant')
  const calls = last?.content.some((block) => block['type'] === 'tool_use') ?? false
  return calls && !isProof(last?.content[0])
}
