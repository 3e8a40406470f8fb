import { parseDocument } from 'yaml'
import { ConfigError } from './config.ts'

export const MAX_CONFIG_BYTES = 1 << 20

/** One strict YAML document: no duplicate keys, aliases or unknown tags. Throws `ConfigError`. */
export function parseYaml(text: string): unknown {
  if (Buffer.byteLength(text) > MAX_CONFIG_BYTES) {
    throw new ConfigError([{ path: '', hint: 'the file is larger than 1 MiB' }])
  }
  const document = parseDocument(text, { prettyErrors: true, strict: true, logLevel: 'silent' })
  const problems = [...document.errors, ...document.warnings].map(({ code, linePos }) => ({
    path: linePos === undefined ? '' : `line ${linePos[0].line}`,
    hint: `not valid YAML (${code})`,
  }))
  if (problems.length > 0) throw new ConfigError(problems)
  return withoutAliases(document)
}

/** A few nested aliases can expand to gigabytes; a configuration needs none. */
function withoutAliases(document: ReturnType<typeof parseDocument>): unknown {
  try {
    const value: unknown = document.toJS({ maxAliasCount: 0 })
    return value
  } catch {
    throw new ConfigError([{ path: '', hint: 'aliases (*name) are not allowed' }])
  }
}
