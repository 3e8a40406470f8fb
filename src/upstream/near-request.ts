import { GatewayError } from '../errors.ts'
import { isRecord, rules, type JsonRecord, type Rule, type Through } from './json-rules.ts'

/*
 * What NEAR AI's nodes decrypt of a chat completion request, with `X-Encrypt-All-Fields: true`. Members that they
 * read in clear alone may travel only where they say nothing of the content: numbers, switches, words of a closed
 * list. A node passes what it cannot decrypt on as it is, so nothing here may rely on it to refuse.
 */

const notEncryptable = (): GatewayError => new GatewayError('request_not_encryptable')
const { clear, either, list, record, text } = rules(notEncryptable)

const number = clear((value) => typeof value === 'number')
const flag = clear((value) => typeof value === 'boolean')
const oneOf = (...words: readonly string[]): Rule =>
  clear((value) => words.some((w) => w === value))

/** Ids come from a provider; a client that writes anything else into one would have it read in clear. */
const id = clear((value) => typeof value === 'string' && /^[A-Za-z0-9_.:-]{1,128}$/.test(value))

/** SDKs send `annotations: []` and members that are null; they say nothing and are left out. */
const leftOut: Rule = (value) => {
  if (value === null || (Array.isArray(value) && value.length === 0)) return undefined
  throw notEncryptable()
}

const isJsonList = (content: string): boolean => {
  if (!content.trimStart().startsWith('[')) return false
  try {
    return Array.isArray(JSON.parse(content))
  } catch {
    return false
  }
}

/** Text that happens to be a JSON list is taken for content parts by the node, so it is sent as one text part. */
const textContent: Rule = (value, through) =>
  typeof value === 'string' && isJsonList(value)
    ? through(JSON.stringify([{ type: 'text', text: value }]))
    : text(value, through)

/** Parts are encrypted as one string: a list would pass the node as it is, in clear. */
const partsContent: Rule = (value, through) => {
  if (!Array.isArray(value)) throw notEncryptable()
  return through(JSON.stringify(value))
}

/** A JSON value that the node restores from a string. */
const json: Rule = (value, through) => through(JSON.stringify(value))

const call = record({ name: text, arguments: text }, leftOut)

const message = record(
  {
    role: oneOf('system', 'developer', 'user', 'assistant', 'tool', 'function'),
    content: either(textContent, partsContent),
    name: text,
    refusal: text,
    reasoning: text,
    reasoning_content: text,
    audio: record({ id, data: text }, leftOut),
    tool_calls: list(
      record({ index: number, id, type: oneOf('function'), function: call }, leftOut),
    ),
    tool_call_id: id,
    function_call: call,
  },
  leftOut,
)

const tool = record(
  {
    type: oneOf('function'),
    function: record({ name: text, description: text, parameters: json, strict: flag }, leftOut),
  },
  leftOut,
)

const namedFunction = record({ name: text }, leftOut)

const request = record(
  {
    model: clear((value) => typeof value === 'string'),
    messages: list(message),
    tools: list(tool),
    tool_choice: either(
      oneOf('none', 'auto', 'required'),
      record({ type: oneOf('function'), function: namedFunction }, leftOut),
    ),
    function_call: either(oneOf('none', 'auto'), namedFunction),
    stream: flag,
    stream_options: record(
      { include_usage: flag, continuous_usage_stats: flag, include_obfuscation: flag },
      leftOut,
    ),
    // A schema is content; so are stop sequences, biased tokens, predictions, metadata and whatever is not named.
    response_format: record({ type: oneOf('text', 'json_object') }, leftOut),
    chat_template_kwargs: record({ enable_thinking: flag, thinking: flag }, leftOut),
    reasoning_effort: oneOf('none', 'minimal', 'low', 'medium', 'high', 'xhigh'),
    verbosity: oneOf('low', 'medium', 'high'),
    parallel_tool_calls: flag,
    logprobs: flag,
    top_logprobs: number,
    temperature: number,
    top_p: number,
    top_k: number,
    min_p: number,
    max_tokens: number,
    max_completion_tokens: number,
    min_tokens: number,
    n: number,
    seed: number,
    presence_penalty: number,
    frequency_penalty: number,
    repetition_penalty: number,
    // What is not to be kept; to ask that a prompt be kept is no business of this gateway.
    store: clear((value) => value === false),
  },
  leftOut,
)

/** Encrypts a chat completion request. Throws `request_not_encryptable` where content would stay in clear. */
export function sealRequest(body: Buffer, through: Through): Buffer {
  return Buffer.from(JSON.stringify(request(parsed(body), through)))
}

function parsed(body: Buffer): JsonRecord {
  try {
    const value: unknown = JSON.parse(body.toString())
    if (isRecord(value)) return value
  } catch {
    // The parser's error quotes the prompt.
    throw notEncryptable()
  }
  throw notEncryptable()
}
