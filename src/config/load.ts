import { readFileSync, statSync } from 'node:fs'
import { ConfigError, type Config } from './config.ts'
import { parseConfig } from './parse.ts'
import { MAX_CONFIG_BYTES } from './yaml.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Reads and parses the configuration at `path`. Throws `ConfigError`, also where it cannot be read. */
export function loadConfig(path: string, env: Environment): Config {
  return parseConfig(readText(path), env, (file) => readFileSync(file, 'utf8'))
}

/** Strict UTF-8, so that the digest of the text is the digest of the file's bytes. */
function readText(path: string): string {
  try {
    if (statSync(path).size > MAX_CONFIG_BYTES) throw new RangeError('too large')
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(readFileSync(path))
  } catch {
    throw new ConfigError([
      { path: '', hint: 'the file is missing, not UTF-8 or larger than 1 MiB' },
    ])
  }
}
