/** Who made the model: decides what Converse leaves to its own parameters. An ARN of a profile does not say. */
export type Family = 'anthropic' | 'nova' | 'gpt-oss' | 'profile' | 'other'

export function familyOf(model: string): Family {
  if (/(?:^|[./])anthropic\./.test(model)) return 'anthropic'
  if (/(?:^|[./])amazon\.nova/.test(model)) return 'nova'
  if (/(?:^|[./])openai\.gpt-oss/.test(model)) return 'gpt-oss'
  return model.startsWith('arn:') ? 'profile' : 'other'
}

/** Claude from 4.6 on decides itself how much to think and is told an effort. */
export function thinksAdaptively(model: string): boolean {
  const [, major, minor] = /claude-(?:[a-z]+-)(\d{1,2})(?:-(\d{1,2}))?(?!\d)/.exec(model) ?? []
  const version = Number(major ?? 0) * 100 + Number(minor ?? 0)
  return version >= 406
}
