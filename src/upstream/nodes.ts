/** Whether one origin may be several machines, each with a TLS key of its own, behind a load balancer. */
export type Nodes = 'one' | 'several'

/** How often a connection is opened until it ends in the attested key. */
export const connectAttempts = (nodes: Nodes): number => (nodes === 'several' ? 8 : 1)
