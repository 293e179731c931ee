// A proxy between the server under test and S3 that breaks the n-th request from now on, in a way
// of one's choice. usage: node tests/kit/fault_proxy.mjs http://HOST:PORT [FILE]
// prints its own address (into FILE too). It is told what to do at its own path:
//
//   POST /__fault {"kind":"reset","at":3,"times":1,"method":"PUT","match":"regular expression"}
//   POST /__fault {}                            no more faults; the counts stay
//   GET  /__fault                               {"seen":n,"fired":n}: requests since it was told
//
// A kind acts before S3 has seen the request, or after it has, which is what makes outcomes unknown:
//
//   refuse, hang, slow_down (503), error (500)         before
//   reset, lose (500), silence, truncate, stall, etag  after: the connection is reset, the answer
//       is a 500, none comes, half a body comes and the connection breaks, half comes and nothing
//       more, the answer has another ETag
//   delay                                              1 s before, then as usual
//   cut    the request's body is cut half-way: S3 sees a broken request
import { Agent, createServer, request as send } from 'node:http'
import { writeFileSync } from 'node:fs'

const target = new URL(process.argv[2])
const agent = new Agent({ keepAlive: true })
let rule = null, seen = 0, fired = 0
const BEFORE = new Set(['refuse', 'hang', 'slow_down', 'error', 'cut'])

function matches(request) {
  if (!rule?.kind) return false
  if (rule.method && rule.method !== request.method) return false
  if (rule.match && !new RegExp(rule.match).test(request.url)) return false
  return true
}

// Which fault strikes this request, if any.
function strike(request) {
  if (!matches(request)) return null
  seen++
  const at = rule.at ?? 1
  if (seen < at || seen >= at + (rule.times ?? 1)) return null
  fired++
  return rule.kind
}

function say(response, status, code) {
  const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code></Error>`
  response.writeHead(status, { 'content-type': 'application/xml', 'content-length': body.length })
  response.end(body)
}

function before(kind, request, response) {
  switch (kind) {
    case 'refuse': return request.socket.resetAndDestroy()
    case 'hang': return request.resume()
    case 'slow_down': request.resume(); return say(response, 503, 'SlowDown')
    case 'error': request.resume(); return say(response, 500, 'InternalError')
    case 'cut': return cut(request, response)
  }
}

function upstream(request, answered) {
  return send({
    agent, host: target.hostname, port: target.port, method: request.method, path: request.url,
    headers: request.rawHeaders, setHost: false,
  }, answered)
}

function cut(request, response) {
  const onward = upstream(request, () => {})
  onward.on('error', () => {})
  const half = Math.floor(Number(request.headers['content-length'] ?? 0) / 2)
  let sent = 0
  request.on('data', part => {
    if (sent < half) onward.write(part.subarray(0, half - sent))
    sent += part.length
  })
  request.on('end', () => { onward.destroy(); request.socket.resetAndDestroy() })
}

function pass(kind, answer, response, socket) {
  const headers = [...answer.rawHeaders]
  if (kind === 'etag')
    for (let i = 0; i < headers.length; i += 2)
      if (/^etag$/i.test(headers[i])) headers[i + 1] = '"0123456789abcdef0123456789abcdef"'
  if (kind === 'reset') { answer.resume(); return socket.resetAndDestroy() }
  if (kind === 'lose') { answer.resume(); return say(response, 500, 'InternalError') }
  if (kind === 'silence') return answer.resume()
  response.writeHead(answer.statusCode, headers)
  if (kind !== 'truncate' && kind !== 'stall') return answer.pipe(response)
  const half = Math.floor(Number(answer.headers['content-length'] ?? 0) / 2)
  let sent = 0
  response.flushHeaders()
  answer.on('data', part => {
    if (sent < half) response.write(part.subarray(0, half - sent))
    sent += part.length
  })
  if (kind === 'truncate') answer.on('end', () => setTimeout(() => socket.resetAndDestroy(), 20))
}

function forward(kind, request, response) {
  const onward = upstream(request, answer => {
    answer.on('error', () => request.socket.destroy())
    pass(kind, answer, response, request.socket)
  })
  onward.on('error', () => request.socket.destroy())
  response.on('close', () => { if (!response.writableFinished) onward.destroy() })
  request.pipe(onward)
}

function control(request, response) {
  let body = ''
  request.on('data', part => { body += part })
  request.on('end', () => {
    if (request.method === 'POST') {
      rule = JSON.parse(body)
      if (rule.kind) seen = fired = 0
    }
    const text = JSON.stringify({ seen, fired })
    response.writeHead(200, { 'content-length': text.length })
    response.end(text)
  })
}

const server = createServer((request, response) => {
  if (request.url === '/__fault') return control(request, response)
  const kind = strike(request)
  response.on('error', () => {})
  if (BEFORE.has(kind)) return before(kind, request, response)
  if (kind === 'delay') return setTimeout(() => forward(kind, request, response), 1000)
  forward(kind, request, response)
})
server.keepAliveTimeout = 60000
server.requestTimeout = 0
server.on('clientError', (error, socket) => socket.destroy())
server.listen(0, '127.0.0.1', () => {
  const line = `http://127.0.0.1:${server.address().port}`
  if (process.argv[3]) writeFileSync(process.argv[3], line)
  console.log(line)
})
