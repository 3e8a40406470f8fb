import { fromBase64, isVerificationError, type JsonValue } from '@vouchgate/attestation'
import { z } from 'zod'
import { CliError } from '../errors.ts'
import type { Published } from './published.ts'

/** What a stage says on stdout: the members that its output schema knows, and no others. */
export type Verdict =
  | { readonly accepted: true; readonly outputs: object }
  | {
      readonly accepted: false
      readonly rejection: { readonly code: string; readonly stage?: string }
    }

/** What a verdict may rest on beside its input, and where that is said. */
export interface Beside {
  /** Tells a person what the verdict rests on beyond its input. */
  readonly note: (text: string) => void
  readonly published: Published
}

/** One stage of the conformance contract: a JSON document in, a verdict out. */
export interface Stage {
  readonly name: string
  /** Throws CliError `conformance_input_malformed` for a document that its schema does not allow. */
  readonly judge: (input: JsonValue, beside: Beside) => Promise<Verdict>
}

export const rejection = (code: string): Verdict => ({ accepted: false, rejection: { code } })

export const base64 = z.base64().transform(fromBase64)

/** PEM is ASCII; other text could not be handed on as a header. */
export const pem = z.string().regex(/^[\x20-\x7e\r\n\t]*$/)

/** Hex of this many bytes, in lower case. */
export const hex = (bytes: number) =>
  z
    .string()
    .regex(/^[0-9a-fA-F]+$/)
    .length(2 * bytes)
    .toLowerCase()

export function readInput<T>(schema: z.ZodType<T>, input: JsonValue): T {
  const parsed = schema.safeParse(input)
  if (!parsed.success) throw new CliError('conformance_input_malformed')
  return parsed.data
}

/** The verdict of `verify`, where an error of the library becomes the contract's code for it. */
export async function judged(
  verify: () => Promise<Verdict>,
  nameOf: (error: { readonly code: string; readonly step: string }) => string | Promise<string>,
): Promise<Verdict> {
  try {
    return await verify()
  } catch (error) {
    if (!isVerificationError(error)) throw error
    return rejection(await nameOf(error))
  }
}

/** The contract's word for a refusal that it has no code of its own for. */
export const UNSPECIFIED = 'QV_RESULT_TERMINAL_UNSPECIFIED'
