// benchmark: objects over HTTP, beside nginx on the same files
// GET is wrk against both, in alternating rounds; nginx has sendfile on, no access log, and as many
// workers as the server has event threads. PUT is wrk against nginx's WebDAV module, which does not
// fsync, while every PUT of ours is on the disk before it is answered; what that costs here is shown
// by the same writes without any server (objects_durable.c): the most that a durable PUT can reach.
import { spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startServer } from '../tests/kit/server.mjs'
import { build, cpuSeconds, freshDir, median, peakMib, printTable, quick, resetPeak, run } from './report.mjs'

const rounds = quick ? 1 : 3, seconds = quick ? 1 : 3, threads = 2, eventThreads = 2
const kib = 1024, mib = 1024 * kib
const sizes = { '1 KiB': kib, '1 MiB': mib, '100 MiB': 100 * mib }
const dir = freshDir()
const data = join(dir, 'data'), uploads = join(dir, 'nginx')

async function startNginx(port) {
  mkdirSync(uploads, { recursive: true })
  const config = join(dir, 'nginx.conf')
  writeFileSync(config, `
${process.getuid() === 0 ? 'user root;' : ''}
worker_processes ${eventThreads};
daemon off;
pid ${dir}/nginx.pid;
error_log stderr crit;
events { worker_connections 1024; }
http {
  access_log off;
  sendfile on;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  client_body_temp_path ${uploads}/incoming;
  server {
    listen 127.0.0.1:${port};
    location /get/ { alias ${data}/primary/; }
    location /put/ { alias ${uploads}/; dav_methods PUT; create_full_put_path on; }
  }
}
`)
  const child = spawn('nginx', ['-c', config, '-e', 'stderr'], { stdio: 'inherit' })
  for (let tries = 0; tries < 100; tries++) {
    if (await fetch(`http://127.0.0.1:${port}/get/x`).catch(() => null)) return child
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  throw new Error('nginx did not start')
}

// Requests are made once, so that the client spends nothing on them; each of its threads writes
// 64 keys of its own again and again, which takes turns of creating and replacing.
const putScript = join(dir, 'put.lua')
writeFileSync(putScript, `
local count = 0
function setup(thread) thread:set('id', count); count = count + 1 end
local requests, at = {}, 0
function init(args)
  local body = string.rep('x', tonumber(args[1]))
  for i = 1, tonumber(args[1]) > 65536 and 16 or 64 do
    requests[i] = wrk.format('PUT', wrk.path .. 'thread' .. id .. '/' .. i, nil, body)
  end
end
function request() at = at % #requests + 1; return requests[at] end
local failed = 0
function response(status) if status > 204 then failed = failed + 1; wrk.thread:set('failed', failed) end end
`)

async function wrk(url, connections, script = []) {
  const out = await run('wrk', [`-t${threads}`, `-c${connections}`, `-d${seconds}s`, ...script.slice(0, 1).flatMap(s => ['-s', s]), url,
    ...script.length > 1 ? ['--', ...script.slice(1)] : []])
  if (/Non-2xx|Socket errors/.test(out)) throw new Error(`${url}: ${out}`)
  return Number(/Requests\/sec:\s*([\d.]+)/.exec(out)[1])
}

// One round against one server: requests per second, its processor time for one, its peak memory.
async function round(peer, connections, script) {
  resetPeak(peer.pid)
  const before = cpuSeconds(peer.pid), began = Date.now()
  const rate = await wrk(peer.url, connections, script)
  const requests = rate * (Date.now() - began) / 1000
  return { rate, micros: (cpuSeconds(peer.pid) - before) / requests * 1e6, peak: peakMib(peer.pid) }
}

const middle = (found, field) => median(found.map(one => one[field]))

// Both in turn, and the other one first in every second round.
async function compare(ours, theirs, connections, script) {
  const found = new Map([[ours, []], [theirs, []]])
  for (let i = 0; i < rounds; i++)
    for (const peer of i % 2 ? [theirs, ours] : [ours, theirs])
      found.get(peer).push(await round(peer, connections, script))
  const [a, b] = [found.get(ours), found.get(theirs)]
  return { rate: middle(a, 'rate'), theirs: middle(b, 'rate'), micros: middle(a, 'micros'),
    theirMicros: middle(b, 'micros'), peak: Math.max(...a.map(x => x.peak)), theirPeak: Math.max(...b.map(x => x.peak)) }
}

const heads = ['', 'req/s', 'nginx', 'ratio', 'MB/s', 'CPU us/req', 'nginx', 'peak MiB', 'nginx']
const line = (label, size, r) => [label, r.rate, r.theirs, r.rate / r.theirs, r.rate * size / 1e6,
  r.micros, r.theirMicros, r.peak, r.theirPeak]

const server = await startServer(data)
const port = 18000 + process.pid % 2000
const nginx = await startNginx(port)
const objects = `${server.url}/storage/buckets/primary/objects`
const peers = (ours, theirs) => [{ pid: server.child.pid, url: `${objects}/${ours}` },
  { pid: nginx.pid, url: `http://127.0.0.1:${port}/${theirs}` }]

console.log(`${rounds} alternating rounds of ${seconds} s, medians; wrk with ${threads} threads on the same machine;`)
console.log(`${eventThreads} nginx workers, ${eventThreads} event threads; the bytes are in the page cache`)
console.log()
const table = []
for (const [label, connections] of [['1 KiB', 64], ['1 MiB', 16], ['100 MiB', 4]]) {
  const key = `bench/${label.replace(' ', '')}`
  const answer = await fetch(`${objects}/${key}`, { method: 'PUT', body: Buffer.alloc(sizes[label], label) })
  if (answer.status !== 201) throw new Error(await answer.text())
  table.push(line(`GET ${label}, ${connections} conn.`, sizes[label], await compare(...peers(key, `get/${key}`), connections)))
}
const durable = []
for (const [label, connections] of [['1 KiB', 16], ['1 MiB', 8]]) {
  const found = await compare(...peers('put/', 'put/'), connections, [putScript, String(sizes[label])])
  table.push(line(`PUT ${label}, ${connections} conn.`, sizes[label], found))
  const alone = []
  for (let i = 0; i < rounds; i++)
    alone.push(Number(await run(join(build, 'bench', 'objects_durable'),
      [join(dir, 'durable'), String(sizes[label]), String(connections), String(seconds)])))
  durable.push([`write ${label}, fsync, rename, fsync the folder: ${connections} threads`, median(alone), found.rate / median(alone)])
}
printTable(heads, table)
console.log()
console.log("nginx's PUT is not durable, ours is. The same durable writes without a server:")
printTable(['', 'writes/s', 'our PUT to that'], durable)

await server.stop()
nginx.kill('SIGTERM')
await new Promise(resolve => nginx.on('exit', resolve))
process.exit(0)
