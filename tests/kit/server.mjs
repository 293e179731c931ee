// A running server for tests in JavaScript, and their claims: `check('claim', async () => {...})`.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export const binary = join(process.env.BUILD ?? 'build', 'lakehouse')
let passed = 0, failed = 0
const dirs = [], children = new Set(), closers = []
process.on('exit', () => { for (const child of children) child.kill('SIGKILL') }) // also when a test breaks

export async function check(claim, run) {
  try {
    await run()
    passed++
    console.log(`ok   ${claim}`)
  } catch (error) {
    failed++
    console.log(`  ${error.stack ?? error}\nFAIL ${claim}`)
  }
}

// Runs before the folders go.
export const atFinish = close => closers.push(close)

export function finish() {
  for (const close of closers) close()
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true })
  console.log(`${passed} passed, ${failed} failed`)
  process.exit(failed ? 1 : 0)
}

export function freshDir() {
  const dir = mkdtempSync(join(tmpdir(), 'lakehouse-test-'))
  dirs.push(dir)
  return dir
}

// Resolves once the server said that it listens. stderr is kept for checks of the log. `under` is a
// command to run it with.
export function startServer(data, { args = [], env = {}, under = [] } = {}) {
  const command = [...under, binary, 'serve', '--data', data, '--listen', '127.0.0.1:0', ...args]
  const child = spawn(command[0], command.slice(1),
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
  const server = { child, data, log: '', out: '' }
  children.add(child)
  server.ended = new Promise(resolve => child.on('exit', (code, signal) => resolve({ code, signal })))
  child.stderr.on('data', part => { server.log += part })
  server.stop = async (signal = 'SIGTERM') => { child.kill(signal); return server.ended }
  return new Promise((resolve, reject) => {
    child.stdout.on('data', part => {
      server.out += part
      const match = /listening on (https?:\/\/\S+)/.exec(server.out)
      if (match) resolve(Object.assign(server, { url: match[1] }))
    })
    server.ended.then(end =>
      reject(new Error(`the server ended with ${JSON.stringify(end)}: ${server.log}`)))
  })
}

// {status, headers, text, json}; a plain object as body is sent as JSON.
export async function call(server, method, path, body, headers = {}) {
  const plain = body && Object.getPrototypeOf(body) === Object.prototype
  const response = await fetch(server.url + path, {
    method, headers: plain ? { 'content-type': 'application/json', ...headers } : headers,
    body: plain ? JSON.stringify(body) : body, duplex: 'half',
  })
  const text = await response.text()
  let json
  try { json = JSON.parse(text) } catch { /* not JSON */ }
  return { status: response.status, headers: response.headers, text, json }
}

export function same(actual, expected, what = '') {
  const [a, e] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (a !== e) throw new Error(`${what} ${a} is not ${e}`)
}

export function truth(value, what) {
  if (!value) throw new Error(what)
}

// An answer that is problem+json with this status and code; returns its detail.
export function problem(answer, status, code) {
  if (answer.status !== status || answer.json?.code !== code)
    throw new Error(`${answer.status} ${answer.text} is not ${status} ${code}`)
  same(answer.headers.get('content-type'), 'application/problem+json')
  same([answer.json.status, answer.json.type], [status, 'about:blank'])
  return answer.json.detail
}
