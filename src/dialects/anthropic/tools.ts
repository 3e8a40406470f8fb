import type { CanonicalRequest, JsonObject, ResponseFormat, Tool } from '../canonical.ts'
import { cacheControl } from './blocks.ts'
import type { ModelTraits } from './models.ts'
import { escapeName, JSON_TOOL } from './names.ts'

export interface ToolPlan {
  readonly tools: readonly JsonObject[]
  readonly choice: JsonObject | null
  /** Structured output that the model knows by itself. */
  readonly format: JsonObject | null
  /** The choice leaves the model no way but a tool, which excludes thinking. */
  readonly forced: boolean
}

const schemaOf = (schema: JsonObject | null): JsonObject => {
  if (schema === null) return { type: 'object', properties: {} }
  return schema['type'] === undefined ? { type: 'object', ...schema } : schema
}

const wireTool = (tool: Tool, traits: ModelTraits): JsonObject => ({
  name: escapeName(tool.name),
  ...(tool.description === null ? {} : { description: tool.description }),
  input_schema: schemaOf(tool.parameters),
  ...(tool.strict === true && traits.structured ? { strict: true } : {}),
  ...cacheControl(tool.cache),
})

const jsonTool = (format: ResponseFormat): JsonObject => ({
  name: JSON_TOOL,
  description:
    (format.type === 'json_schema' ? format.description : null) ??
    'Give the answer, as a JSON object, by calling this tool.',
  input_schema:
    format.type === 'json_schema'
      ? schemaOf(format.schema)
      : { type: 'object', additionalProperties: true },
})

/** Calls in the conversation need their tools declared, also where the client has none left. */
function recalledTools(request: CanonicalRequest): JsonObject[] {
  const names = new Set(
    request.messages.flatMap((message) =>
      message.role === 'assistant'
        ? message.parts.flatMap((part) => (part.type === 'tool_call' ? [part.name] : []))
        : [],
    ),
  )
  return Array.from(names, (name) => ({ name: escapeName(name), input_schema: schemaOf(null) }))
}

function choiceOf(request: CanonicalRequest): JsonObject | null {
  const { toolChoice, parallelToolCalls } = request
  const single = parallelToolCalls === false ? { disable_parallel_tool_use: true } : {}
  if (toolChoice === null) return parallelToolCalls === false ? { type: 'auto', ...single } : null
  switch (toolChoice.type) {
    case 'auto':
      return { type: 'auto', ...single }
    case 'required':
      return { type: 'any', ...single }
    case 'none':
      return { type: 'none' }
    case 'tool':
      return { type: 'tool', name: escapeName(toolChoice.name), ...single }
  }
}

const isForced = (choice: JsonObject | null): boolean =>
  choice?.['type'] === 'any' || choice?.['type'] === 'tool'

/** Asked for JSON where the model cannot be: it is made to call a tool that takes the answer. */
function jsonPlan(request: CanonicalRequest, tools: readonly JsonObject[]): ToolPlan | null {
  const { format } = request
  if (format === null) return null
  // With tools of its own the client gets either a call of one, or the answer.
  const free = tools.length > 0 && request.toolChoice?.type !== 'none'
  const choice = free
    ? { type: 'any', disable_parallel_tool_use: true }
    : { type: 'tool', name: JSON_TOOL }
  return { tools: [...tools, jsonTool(format)], choice, format: null, forced: true }
}

export function planTools(request: CanonicalRequest, traits: ModelTraits): ToolPlan {
  const { format } = request
  const tools = request.tools.map((tool) => wireTool(tool, traits))
  const choice = tools.length === 0 ? null : choiceOf(request)
  const forced = isForced(choice)
  const spoken = format?.type === 'json_schema' && traits.structured
  // A call that the client forces is the answer; there is no other to give a form to.
  const plan = spoken || forced ? null : jsonPlan(request, tools)
  if (plan !== null) return plan
  const wireFormat = spoken ? { type: 'json_schema', schema: format.schema } : null
  if (tools.length > 0) return { tools, choice, format: wireFormat, forced }
  const recalled = recalledTools(request)
  const none = recalled.length === 0 ? null : { type: 'none' }
  return { tools: recalled, choice: none, format: wireFormat, forced: false }
}
