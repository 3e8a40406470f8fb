import { connect, createServer, type Socket } from 'node:net'
import { listen, portOf, stop } from './ports.ts'

/** A TCP load balancer: each connection goes to the next of `targets`, TLS untouched. */
export interface Balancer {
  /** `https://127.0.0.1:port` */
  readonly origin: string
  /** From now on, beginning with the first of them: `https://host:port` of the nodes. Drops what is open by default. */
  point(targets: readonly string[], options?: { readonly drop: boolean }): void
  /** TCP connections ever accepted. */
  connections(): number
  /** Ends every open connection. */
  dropAll(): void
  close(): Promise<void>
}

export async function startBalancer(first: readonly string[]): Promise<Balancer> {
  const sockets = new Set<Socket>()
  let connections = 0
  let targets = first
  let turn = 0
  const server = createServer((client) => {
    const { hostname: host, port } = new URL(targets[turn % targets.length] ?? '')
    turn++
    connections++
    const node = connect({ host, port: Number(port) })
    const end = (): void => {
      client.destroy()
      node.destroy()
    }
    for (const socket of [client, node]) {
      sockets.add(socket)
      socket
        .once('close', () => sockets.delete(socket))
        .on('error', end)
        .on('close', end)
    }
    client.pipe(node)
    node.pipe(client)
  })
  await listen(server)
  const dropAll = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    origin: `https://127.0.0.1:${portOf(server)}`,
    point: (to, { drop } = { drop: true }) => {
      targets = to
      turn = 0
      if (drop) dropAll()
    },
    connections: () => connections,
    dropAll,
    close: () => {
      dropAll()
      return stop(server)
    },
  }
}
