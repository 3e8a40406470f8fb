import type { Effort } from '../canonical.ts'

export type WireEffort = Exclude<Effort, 'none' | 'minimal'>

/**
 * What a model of Anthropic takes. Effort of Opus 4.6 is as it was recorded; the rest is common knowledge, not measured,
 * and errs towards less: a limit too low shortens an answer, one too high is refused.
 */
export interface ModelTraits {
  /** Output tokens where the client gives no limit: at most what the model can. */
  readonly maxOutput: number
  /** `manual`: thinks only with a budget. `adaptive`: decides itself, guided by an effort. */
  readonly thinking: 'none' | 'manual' | 'adaptive'
  /** From weak to strong. */
  readonly efforts: readonly WireEffort[]
  /** Knows `output_config.format` and strict tools. */
  readonly structured: boolean
  /** Which of temperature, top_p and top_k it takes. */
  readonly sampling: 'all' | 'one' | 'none'
}

const NEWEST = 99_99
const FAMILY_FIRST = /claude-(opus|sonnet|haiku|fable|mythos)-(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)/
const VERSION_FIRST = /claude-(\d)(?:[-.](\d))?-(opus|sonnet|haiku)/

interface Version {
  readonly family: string
  /** Major × 100 + minor. */
  readonly number: number
}

function versionOf(model: string): Version | null {
  const name = model.toLowerCase()
  const newer = FAMILY_FIRST.exec(name)
  if (newer !== null) {
    const [, family = '', major, minor = '0'] = newer
    return { family, number: Number(major) * 100 + Number(minor) }
  }
  const older = VERSION_FIRST.exec(name)
  if (older !== null) {
    const [, major, minor = '0', family = ''] = older
    return { family, number: Number(major) * 100 + Number(minor) }
  }
  if (/claude-(?:fable|mythos)/.test(name)) return { family: '', number: NEWEST }
  return /claude/.test(name) ? { family: '', number: 200 } : null
}

function efforts({ family, number }: Version): readonly WireEffort[] {
  if (number >= 407) return ['low', 'medium', 'high', 'xhigh', 'max']
  // "Supported levels: high, low, max, medium", says Opus 4.6 of `xhigh`.
  if (number >= 406) return ['low', 'medium', 'high', 'max']
  return number === 405 && family === 'opus' ? ['low', 'medium', 'high'] : []
}

function maxOutput({ family, number }: Version): number {
  if (number < 305) return 4096
  if (number < 307) return 8192
  return family === 'opus' && number <= 401 ? 32_000 : 64_000
}

function sampling({ family, number }: Version): ModelTraits['sampling'] {
  if (number >= 407) return 'none'
  return number >= (family === 'opus' ? 401 : 405) ? 'one' : 'all'
}

/** Another vendor's model behind this dialect: what every implementation of it knows. */
const FOREIGN: ModelTraits = {
  maxOutput: 8192,
  thinking: 'manual',
  efforts: [],
  structured: false,
  sampling: 'all',
}

export function traitsOf(model: string): ModelTraits {
  const version = versionOf(model)
  if (version === null) return FOREIGN
  const { family, number } = version
  const thinks = number >= 406 ? 'adaptive' : 'manual'
  return {
    maxOutput: maxOutput(version),
    thinking: number < 307 ? 'none' : thinks,
    efforts: efforts(version),
    structured: number >= (family === 'opus' ? 401 : 405),
    sampling: sampling(version),
  }
}
