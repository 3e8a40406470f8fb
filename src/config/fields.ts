import { z } from 'zod'
import { isKeyId, isModelName, isProviderId, isTeamName } from '../ids.ts'
import { isSafeUrl } from '../safe-url.ts'

export const providerId = z
  .string()
  .refine(isProviderId, 'lower-case letters, digits and dashes, at most 31')
export const keyId = z.string().refine(isKeyId, 'lower-case letters, digits and dashes, at most 31')
export const teamName = z
  .string()
  .refine(isTeamName, 'lower-case letters, digits and dashes, at most 31')
export const modelName = z
  .string()
  .refine(isModelName, 'letters, digits and . _ : / @ -, at most 128')
export const host = z.string().regex(/^[A-Za-z0-9.:-]{1,253}$/)
export const seconds = (min: number, max: number, fallback: number) =>
  z.number().int().min(min).max(max).default(fallback)

/** A secret is never in the file: the file's digest is attested and may be published. */
export const secretRef = z.union(
  [
    z.strictObject({ env: z.string().regex(/^[A-Z][A-Z0-9_]{0,127}$/) }),
    z.strictObject({ file: z.string().min(1).max(1024) }),
  ],
  'a reference: {env: NAME} or {file: PATH}, never the secret itself',
)

export const safeUrl = z.string().refine(isSafeUrl, 'https, or http on loopback, without query')
