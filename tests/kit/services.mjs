// Real servers for tests in JavaScript, by the scripts of tests/kit: `start` and `stop` a folder.
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { atFinish, freshDir } from './server.mjs'

const running = new Set()
const stopAll = () => { for (const service of running) service.stop() }
atFinish(stopAll)
process.on('exit', stopAll) // when a test breaks

function run(script, verb, dir, env) {
  return execFileSync(join('tests/kit', script), [verb, dir],
    { env: { ...process.env, ...env }, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }).trim()
}

// {line, dir, again(verb), stop()}: `line` is what the script printed.
export function startService(script, env = {}) {
  const dir = freshDir()
  const service = { dir, line: run(script, 'start', dir, env) }
  service.again = verb => { service.line = run(script, verb, dir, env) }
  service.stop = () => { if (running.delete(service)) run(script, 'stop', dir, env) }
  running.add(service)
  return service
}

// {endpoints, endpoint, access, secret, dir, stop()}; env: OSDS, GATEWAYS, STORE, see tests/kit/ceph.
export function startCeph(env = {}) {
  const service = startService('ceph', { OWNER: String(process.pid), ...env })
  const [endpoints, access, secret] = service.line.split(' ')
  return Object.assign(service, { endpoints: endpoints.split(','), endpoint: endpoints.split(',')[0], access, secret })
}

export const startPostgres = () => startService('postgres').line

// A proxy in front of `target`: {url, arm(rule), state()}.
export function startFaults(target) {
  const url = startService('fault-proxy', { FAULT_TARGET: target }).line
  const ask = async (method, body) => (await fetch(`${url}/__fault`, { method, body })).json()
  return { url, arm: rule => ask('POST', JSON.stringify(rule ?? {})), state: () => ask('GET') }
}

// A file of configuration in TOML from {section: {key: value}}; returns its path.
export function writeConfig(sections) {
  const path = join(freshDir(), 'lakehouse.toml')
  const lines = []
  for (const [section, values] of Object.entries(sections)) {
    lines.push(`[${section}]`)
    for (const [key, value] of Object.entries(values)) lines.push(`${key} = ${JSON.stringify(value)}`)
  }
  writeFileSync(path, lines.join('\n') + '\n', { mode: 0o600 })
  return path
}

export const s3Bucket = (ceph, bucket, more = {}) =>
  ({ backend: 's3', bucket, endpoint: ceph.endpoint, secret_ref: 'ceph', ...more })
export const s3Secret = ceph => ({ access_key_id: ceph.access, secret_access_key: ceph.secret })

// A new S3 bucket on the server, by s3cmd.
let made = 0
export function makeBucket(ceph) {
  const name = `bucket-${process.pid}-${++made}`
  s3cmd(ceph, 'mb', `s3://${name}`)
  return name
}

export function s3cmd(ceph, ...args) {
  const host = new URL(ceph.endpoint).host
  return execFileSync('s3cmd', ['--config=/dev/null', `--access_key=${ceph.access}`,
    `--secret_key=${ceph.secret}`, `--host=${host}`, `--host-bucket=${host}`, '--no-ssl', '--no-progress',
    '--quiet', ...args], { encoding: 'buffer', maxBuffer: 1 << 30 })
}

export function rclone(ceph, ...args) {
  const remote = `:s3,provider=Ceph,access_key_id=${ceph.access},secret_access_key=${ceph.secret},` +
    `endpoint="${ceph.endpoint}",force_path_style=true:`
  const { AWS_CA_BUNDLE, ...env } = process.env // rclone refuses to start where one is set
  return execFileSync('rclone', ['--config', '/dev/null', ...args.map(arg =>
    typeof arg === 'string' ? arg : remote + arg.key)], { env, encoding: 'buffer', maxBuffer: 1 << 30 })
}
