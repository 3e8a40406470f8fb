/** Who made the model: decides what Converse leaves to its own parameters. An ARN of a profile does not say. */
export type Family = 'anthropic' | 'nova' | 'gpt-oss' | 'profile' | 'other'

export function familyOf(model: string): Family {
  if (/(?:^|[./])anthropic\./.test(model)) return 'anthropic'
  if (/(?:^|[./])amazon\.nova/.test(model)) return 'nova'
  if (/(?:^|[./])openai\.gpt-oss/.test(model)) return 'gpt-oss'
  return model.startsWith('arn:') ? 'profile' : 'other'
}

/** 405 of Claude Sonnet 4.5; 0 where the name does not say. */
function claudeVersion(model: string): number {
  const [, major, minor] = /claude-(?:[a-z]+-)(\d{1,2})(?:-(\d{1,2}))?(?!\d)/.exec(model) ?? []
  return Number(major ?? 0) * 100 + Number(minor ?? 0)
}

/** Claude from 4.6 on decides itself how much to think and is told an effort. */
export const thinksAdaptively = (model: string): boolean => claudeVersion(model) >= 406

/** Others refuse the member; without it a schema is followed as well as the model can. */
export const takesStrictTools = (model: string): boolean => claudeVersion(model) >= 405
