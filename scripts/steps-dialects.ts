const ENDPOINTS = ['test/src/endpoints.test.ts']

/** As in `SUITES`. */
export const DIALECT_SUITES: readonly (readonly [prefix: string, suites: readonly string[]])[] = [
  ['src/dialects/cohere/openai.ts', ENDPOINTS],
  ['src/form.ts', ENDPOINTS],
  ['src/form-shape.ts', ENDPOINTS],
  ['src/whole-relay.ts', ENDPOINTS],
  ['src/routes/stateful.ts', ENDPOINTS],
  ['src/dialects/gemini', ['test/dialects/gemini', 'test/dialects/vendors-hostile.test.ts']],
  ['src/dialects/cohere', ['test/dialects/cohere', 'test/dialects/vendors-hostile.test.ts']],
  ['src/dialects/openai-chat', ['test/dialects/openai-chat']],
  ['src/dialects/openai-responses', ['test/dialects/openai-responses.test.ts']],
  ['src/dialects/anthropic', ['test/dialects/anthropic']],
]
