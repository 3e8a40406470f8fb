/** A member of what Fastify parsed out of a query or a path, whatever its type. */
export const member = (parsed: unknown, name: string): unknown =>
  typeof parsed === 'object' && parsed !== null && Object.hasOwn(parsed, name)
    ? Reflect.get(parsed, name)
    : undefined

/** A path parameter; empty where there is none, which names nothing. */
export function pathParameter(parsed: unknown, name: string): string {
  const value = member(parsed, name)
  return typeof value === 'string' ? value : ''
}
