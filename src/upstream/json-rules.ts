/** Carries one string across: encrypts it on the way out, decrypts it on the way back. */
export type Through = (text: string) => string

/** What becomes of one JSON value. Null says nothing and always stays null. */
export type Rule = (value: unknown, through: Through) => unknown

export type JsonRecord = Readonly<Record<string, unknown>>

export const isRecord = (value: unknown): value is JsonRecord =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const isEmpty = (value: unknown): boolean =>
  value === null ||
  value === '' ||
  (Array.isArray(value) && value.length === 0) ||
  (isRecord(value) && Object.keys(value).length === 0)

/**
 * Rules for a document of which some strings are encrypted. Whatever no rule names is refused, so that a member
 * that a later version of the API adds cannot travel in clear unnoticed.
 */
export interface Rules {
  /** An encrypted string. */
  readonly text: Rule
  /** In clear, where it satisfies `allows`. */
  readonly clear: (allows: (value: unknown) => boolean) => Rule
  readonly list: (each: Rule) => Rule
  /** An object; a member without a rule goes to `unknown`, and a member that becomes undefined is left out. */
  readonly record: (members: Readonly<Record<string, Rule>>, unknown: Rule) => Rule
  /** The first of the rules that fits the kind of value. */
  readonly either: (forString: Rule, forOther: Rule) => Rule
}

/** `refused` makes the error for a value that no rule accepts. */
export function rules(refused: () => Error): Rules {
  const clear: Rules['clear'] = (allows) => (value) => {
    if (!allows(value)) throw refused()
    return value
  }
  return {
    clear,
    text: (value, through) => {
      if (typeof value !== 'string') throw refused()
      return value === '' ? '' : through(value)
    },
    list: (each) => (value, through) => {
      if (!Array.isArray(value)) throw refused()
      return value.map((item: unknown) => (item === null ? null : each(item, through)))
    },
    record: (members, unknown) => {
      const known = new Map(Object.entries(members))
      return (value, through) => {
        if (!isRecord(value)) throw refused()
        const entries = Object.entries(value).map(([name, member]): [string, unknown] => {
          const rule = known.get(name)
          if (rule === undefined) return [name, unknown(member, through)]
          return [name, member === null ? null : rule(member, through)]
        })
        return Object.fromEntries(entries.filter(([, member]) => member !== undefined))
      }
    },
    either: (forString, forOther) => (value, through) =>
      (typeof value === 'string' ? forString : forOther)(value, through),
  }
}
