import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, startProgram, YOUNG, type Started } from './processes.ts'

/** What of others stands beside the gateway in a run; null where it cannot be had here. */
type Peer = Promise<Started<{ origin: string }> | null>

const note = (line: string): boolean => process.stderr.write(`${line}\n`)
const folders: string[] = []

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'vouchgate-bench-'))
  folders.push(folder)
  return folder
}

export function removeFolders(): void {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
}

/** A proxy in C, with one worker and nothing buffered. */
export async function nginx(upstream: string): Peer {
  try {
    execFileSync('nginx', ['-v'], { stdio: 'ignore' })
  } catch {
    note('SKIPPED: nginx is not installed')
    return null
  }
  const folder = newFolder()
  const port = await freePort()
  const file = join(folder, 'nginx.conf')
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${folder}/${name};`)
    .join(' ')
  writeFileSync(
    file,
    `daemon off; master_process off; pid ${folder}/pid; error_log /dev/null;
events { worker_connections 8192; }
http { access_log off; ${paths} client_max_body_size 16m; client_body_buffer_size 1m;
  keepalive_requests 10000000;
  upstream up { server ${new URL(upstream).host}; keepalive 1024; keepalive_requests 10000000; }
  server { listen 127.0.0.1:${port} backlog=4096; location / { proxy_pass http://up; proxy_buffering off;
    proxy_http_version 1.1; proxy_set_header Connection ""; } } }
`,
  )
  return startProgram(['nginx', '-e', '/dev/null', '-c', file], port)
}

/** Newer versions of these break its streams: https://github.com/Portkey-AI/gateway, package-lock.json. */
const PORTKEY = {
  name: 'bench-peer',
  private: true,
  dependencies: { '@portkey-ai/gateway': '1.15.2' },
  overrides: { '@hono/node-server': '1.13.5', hono: '4.9.7', '@hono/node-ws': '1.2.0' },
}

/** The gateway in TypeScript that most people know, in one process. */
export async function portkey(): Peer {
  const folder = newFolder()
  writeFileSync(join(folder, 'package.json'), JSON.stringify(PORTKEY))
  try {
    const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--silent']
    execFileSync('npm', ['install', ...options], { cwd: folder, stdio: 'ignore', timeout: 120_000 })
  } catch {
    note('SKIPPED: @portkey-ai/gateway could not be installed')
    return null
  }
  const port = await freePort()
  const file = join(folder, 'node_modules/@portkey-ai/gateway/build/start-server.js')
  return startProgram([process.execPath, YOUNG, file, `--port=${port}`, '--headless'], port)
}
