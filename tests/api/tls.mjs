// HTTPS: what holds over plain HTTP holds over TLS, and what only TLS can get wrong. The certificate is
// signed by an authority below another, which alone is trusted.
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { appendFileSync, chmodSync, copyFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import https from 'node:https'
import net from 'node:net'
import { join, resolve } from 'node:path'
import tls from 'node:tls'
import { commandsOf, runCommands } from '../kit/documents.mjs'
import { binary, call, check, freshDir, same, startServer, truth } from '../kit/server.mjs'

const dir = freshDir(), at = name => join(dir, name)
const openssl = (...args) => execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' })
const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
openssl('req', '-x509', ...newKey, '-keyout', 'root.key', '-out', 'root.pem', '-days', '2', '-subj', '/CN=root')
const issue = (name, by, extension, subject = `/CN=${name}`, days = 2) => {
  writeFileSync(at('extension'), extension)
  openssl('req', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', subject)
  openssl('x509', '-req', '-in', `${name}.csr`, '-CA', `${by}.pem`, '-CAkey', `${by}.key`, '-CAcreateserial', '-days', String(days),
    '-extfile', 'extension', '-out', `${name}.pem`)
}
const leaf = (name, days) => {
  issue(name, 'middle', 'subjectAltName=IP:127.0.0.1', undefined, days)
  appendFileSync(at(`${name}.pem`), readFileSync(at('middle.pem')))
}
issue('middle', 'root', 'basicConstraints=critical,CA:true')
for (const name of ['first', 'second']) leaf(name)
const use = (name, what = ['pem', 'key']) => { // as a tool that renews does: a new file in the place of the old one
  for (const kind of what) {
    copyFileSync(at(`${name}.${kind}`), at('new'))
    chmodSync(at('new'), 0o600)
    renameSync(at('new'), at(`used.${kind}`))
  }
}
use('first')

const ca = readFileSync(at('root.pem'))
const settings = { LAKEHOUSE_GATEWAY_TLS_CERT: at('used.pem'), LAKEHOUSE_GATEWAY_TLS_KEY: at('used.key') }
const serve = (env = {}, more = {}) => startServer(freshDir(), { env: { ...settings, ...env }, ...more })
const server = await serve(), port = Number(new URL(server.url).port)
const pause = ms => new Promise(done => setTimeout(done, ms))

// {status, headers, bytes, text, json, subject} over a connection of the agent's, or one of its own.
function ask(to, method, path, { body, headers = {}, agent = false } = {}) {
  return new Promise((done, fail) => {
    const request = https.request(to.url + path, { method, headers, agent, ca }, async answer => {
      const subject = answer.socket.getPeerCertificate().subject?.CN, parts = []
      try { for await (const part of answer) parts.push(part) } catch (error) { return fail(error) }
      const bytes = Buffer.concat(parts)
      let json
      try { json = JSON.parse(bytes) } catch { /* not JSON */ }
      done({ status: answer.statusCode, headers: answer.headers, bytes, text: String(bytes), json, subject })
    })
    request.on('error', fail)
    if (body?.pipe) body.pipe(request)
    else request.end(body)
  })
}
const connect = (to, options = {}) => new Promise((done, fail) => {
  const socket = tls.connect({ host: '127.0.0.1', port: Number(new URL(to.url).port), ca, ...options }, () => done(socket))
  socket.on('error', fail)
})
const refused = promise => promise.then(() => { throw new Error('it was taken') }, error => error)
// All that a raw TCP connection gets for these bytes, until the server closes.
const rawly = (to, bytes) => new Promise(done => {
  const socket = net.connect(Number(new URL(to.url).port), '127.0.0.1', () => socket.write(bytes)), parts = []
  socket.on('data', part => parts.push(part)).on('error', () => {}).on('close', () => done(Buffer.concat(parts)))
})
const hello = () => new Promise(done => { // what a client begins with
  const listener = net.createServer(socket => socket.once('data', bytes => { done(bytes); socket.destroy(); listener.close() }))
  listener.listen(0, '127.0.0.1', () => tls.connect({ port: listener.address().port, host: '127.0.0.1' }).on('error', () => {}))
})
const until = async (what, holds) => {
  for (let i = 0; i < 100; i++) { if (await holds()) return; await pause(50) }
  throw new Error(`${what} did not happen`)
}

await check('the line at the start says https, and the log warns of nothing', () => {
  truth(/^lakehouse \S+ listening on https:\/\/127\.0\.0\.1:\d+\n$/.test(server.out), server.out)
  truth(!/ warn /i.test(server.log), server.log)
})

await check('TLS 1.2 and 1.3 are spoken, older versions and other protocols than HTTP/1.1 are not', async () => {
  for (const version of ['TLSv1.2', 'TLSv1.3']) {
    const socket = await connect(server, { minVersion: version, maxVersion: version, ALPNProtocols: ['h2', 'http/1.1'] })
    same([socket.getProtocol(), socket.alpnProtocol], [version, 'http/1.1'])
    truth(/GCM|CHACHA20/.test(socket.getCipher().name), socket.getCipher().name)
    socket.destroy()
  }
  truth(/protocol|version/.test((await refused(connect(server, { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }))).message), 'version')
  truth(/no application protocol/.test((await refused(connect(server, { ALPNProtocols: ['h2'] }))).message), 'ALPN')
  truth(/cipher|handshake/i.test((await refused(connect(server, { maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA' }))).message), 'cipher')
})

await check('one connection carries many requests, one after the other and without waiting', async () => {
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1, ca })
  const before = (await ask(server, 'GET', '/metrics')).text
  for (let i = 0; i < 20; i++) same((await ask(server, 'GET', '/health', { agent })).status, 200)
  const connections = text => Number(/^lakehouse_connections_total (\d+)$/m.exec(text)?.[1])
  const after = (await ask(server, 'GET', '/metrics')).text
  same(connections(after) - connections(before), 2)
  agent.destroy()
  const socket = await connect(server)
  let text = ''
  socket.on('data', part => { text += part })
  const one = 'GET /health HTTP/1.1\r\nHost: a\r\n\r\n'
  socket.write(one.repeat(499) + one.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))
  await new Promise(done => socket.on('close', done))
  same(text.split('HTTP/1.1 200 OK').length - 1, 500)
})

const large = randomBytes(40 << 20), sum = bytes => createHash('sha256').update(bytes).digest('hex')
await check('a large object goes up, and comes back whole and by ranges, all bytes as they were', async () => {
  const path = '/storage/buckets/primary/objects/large'
  same((await ask(server, 'PUT', path, { body: large, headers: { 'content-length': large.length } })).status, 201)
  const whole = await ask(server, 'GET', path)
  same([whole.status, sum(whole.bytes)], [200, sum(large)])
  for (const [from, to] of [[0, 0], [16383, 16384], [5, 20000], [1 << 20, (9 << 20) + 7], [large.length - 3, large.length - 1]]) {
    const part = await ask(server, 'GET', path, { headers: { range: `bytes=${from}-${to}` } })
    same([part.status, sum(part.bytes)], [206, sum(large.subarray(from, to + 1))], `${from}-${to}`)
  }
})

await check('a chunked body, and one that waits for 100 Continue, arrive whole', async () => {
  const path = '/storage/buckets/primary/objects/chunked', body = large.subarray(0, 3 << 20)
  same((await ask(server, 'PUT', path, { body, headers: { 'transfer-encoding': 'chunked' } })).status, 201)
  same(sum((await ask(server, 'GET', path)).bytes), sum(body))
  const answer = await new Promise((done, fail) => {
    const request = https.request(`${server.url}${path}`, { method: 'PUT', ca, agent: false,
      headers: { expect: '100-continue', 'content-length': body.length } }, done)
    request.on('continue', () => request.end(body)).on('error', fail)
    request.flushHeaders()
  })
  same(answer.statusCode, 201)
  answer.resume()
})

const sql = 'SELECT range AS n, repeat(\'x\', 50) AS text FROM range(300000)'
await check('a streamed result comes whole, to a client that stops reading for a while too', async () => {
  const query = { method: 'POST', path: '/query', headers: { 'content-type': 'application/json' } }
  const body = JSON.stringify({ sql, format: 'ndjson', limit: 1000000 })
  const lines = (await ask(server, 'POST', '/query', { ...query, body })).text.trim().split('\n')
  same([lines.length, JSON.parse(lines[299999]).n], [300000, 299999])
  const slow = await new Promise((done, fail) => https.request({ ...query, port, host: '127.0.0.1', ca, agent: false }, done)
    .on('error', fail).end(body))
  await pause(500)
  let size = 0
  for await (const part of slow) { size += part.length; if (size < 1 << 20) await pause(5) }
  same(size, lines.join('\n').length + 1)
})

await check('50 connections at once are all answered', async () => {
  const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => i % 2
    ? ask(server, 'GET', '/storage/buckets/primary/objects/large', { headers: { range: `bytes=${i}-${i + 500000}` } })
    : ask(server, 'POST', '/query', { body: JSON.stringify({ sql: `SELECT ${i} AS i` }), headers: { 'content-type': 'application/json' } })))
  answers.forEach((answer, i) => i % 2 ? same(sum(answer.bytes), sum(large.subarray(i, i + 500001))) : same(answer.json.rows, [[i]]))
})

await check('plain HTTP gets a 400 that says https, whatever the method', async () => {
  for (const method of ['GET', 'DELETE', 'PATCH']) {
    const answer = await call({ url: server.url.replace('https', 'http') }, method, '/health')
    same([answer.status, answer.headers.get('connection')], [400, 'close'])
    truth(answer.json.detail.includes('https://'), answer.text)
  }
  const large = await rawly(server, `PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n${'y'.repeat(100000)}`)
  truth(String(large).startsWith('HTTP/1.1 400 '), String(large))
})

await check('garbage, a hello that is cut short and a client that leaves at once do no harm', async () => {
  const bytes = await hello(), broken = Buffer.from(bytes)
  broken.fill(0xff, 40)
  for (const sent of [randomBytes(3000), Buffer.alloc(3000), broken, Buffer.from([22, 3, 1, 0xff, 0xff])]) {
    if (sent[0] >= 65 && sent[0] <= 90) sent[0] = 0
    truth(!String(await Promise.race([rawly(server, sent), pause(300).then(() => '')])).includes('HTTP'), 'an answer')
  }
  for (const size of [0, 1, 5, 100, bytes.length])
    await new Promise(done => { const socket = net.connect(port, '127.0.0.1', () => socket.end(bytes.subarray(0, size))); socket.on('error', done).on('close', done).resume() })
  same((await ask(server, 'GET', '/health')).status, 200)
})

await check('who shakes hands too slowly is cut in time, and nobody waits for it', async () => {
  const quick = await serve({ LAKEHOUSE_GATEWAY_HEAD_TIMEOUT_MS: '600', LAKEHOUSE_GATEWAY_EVENT_THREADS: '1' })
  const bytes = await hello(), began = Date.now()
  const trickle = async () => {
    const socket = net.connect(Number(new URL(quick.url).port), '127.0.0.1').on('error', () => {}).resume()
    let open = true
    socket.on('close', () => { open = false })
    for (let i = 0; open && i < bytes.length; i++) { socket.write(bytes.subarray(i, i + 1)); await pause(25) }
    truth(!open, 'the whole hello was taken')
    return Date.now() - began
  }
  const cut = Promise.all(Array.from({ length: 10 }, trickle))
  for (let i = 0; i < 10; i++) same((await ask(quick, 'GET', '/health')).status, 200)
  for (const after of await cut) truth(after > 500 && after < 3000, `${after} ms`)
  await quick.stop()
})

await check('a client that does not read its answer keeps no event thread', async () => {
  const single = await serve({ LAKEHOUSE_GATEWAY_EVENT_THREADS: '1', LAKEHOUSE_GATEWAY_STALL_TIMEOUT_MS: '1000' })
  const path = '/storage/buckets/primary/objects/large'
  same((await ask(single, 'PUT', path, { body: large, headers: { 'content-length': large.length } })).status, 201)
  const lazy = await connect(single)
  lazy.pause()
  const ended = new Promise(done => lazy.on('error', done).on('close', done))
  lazy.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
  const chatter = setInterval(() => lazy.writable && lazy.write('G'), 100) // which is no reading
  await pause(200)
  for (let i = 0; i < 20; i++) same((await ask(single, 'GET', '/health')).status, 200)
  await pause(2500)
  lazy.resume() // it was cut meanwhile
  await ended
  clearInterval(chatter)
  truth(lazy.bytesRead < large.length, 'it got all')
  await single.stop()
})

await check('a connection too many is told so', async () => {
  const small = await serve({ LAKEHOUSE_GATEWAY_CONNECTIONS_MAX: '2' })
  const held = [await connect(small), await connect(small)]
  const answer = await ask(small, 'GET', '/health')
  same([answer.status, answer.headers.connection], [503, 'close'])
  for (const socket of held) socket.destroy()
  await until('room', async () => (await ask(small, 'GET', '/health')).status === 200)
  await small.stop()
})

await check('a renewed certificate is used without a restart, by new connections; half a renewal is not', async () => {
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1, ca }), before = server.log.length
  same((await ask(server, 'GET', '/health', { agent })).subject, 'first')
  use('second', ['pem'])
  await pause(1100)
  for (let i = 0; i < 2; i++) { same((await ask(server, 'GET', '/health')).subject, 'first'); await pause(1100) }
  const said = server.log.slice(before)
  same(said.split('does not fit').length, 2, said)
  use('second', ['key'])
  await pause(1100)
  same((await ask(server, 'GET', '/health')).subject, 'second')
  truth(/used\.pem' was renewed/.test(server.log.slice(before)), server.log)
  same((await ask(server, 'GET', '/health', { agent })).subject, 'first')
  agent.destroy()
})

const program = resolve(binary) // the command line is run in the folder
const cli = (args, env = {}) => spawnSync(program, args, { encoding: 'utf8', cwd: dir,
  env: { ...process.env, LAKEHOUSE_URL: server.url, SSL_CERT_FILE: at('root.pem'), ...env } })
const done = (args, env) => { const ran = cli(args, env); same(ran.status, 0, ran.stderr); return ran.stdout }
const failed = (args, env, says) => { const ran = cli(args, env); same(ran.status, 1, ran.stdout); truth(ran.stderr.includes(says), ran.stderr) }

await check('the command line works over https, by LAKEHOUSE_URL and by --url', () => {
  writeFileSync(at('people.csv'), 'id,name\n1,Ada\n2,Grace\n')
  writeFileSync(at('large'), large)
  truth(done(['ingest', 'people.csv', '--dataset', 'people']).includes('people'), 'ingest')
  truth(done(['sql', 'SELECT name FROM people WHERE id = 2']).includes('Grace'), 'sql')
  done(['put', 'large', 'primary/by-cli', '--url', `${server.url}/`], { LAKEHOUSE_URL: '' })
  done(['get', 'primary/by-cli', 'back'])
  same(sum(readFileSync(at('back'))), sum(large))
})

await check('the command line says why a certificate is not trusted, and that an address wants https', async () => {
  failed(['datasets'], { SSL_CERT_FILE: '/etc/ssl/certs/ca-certificates.crt' }, 'SSL_CERT_FILE may name')
  failed(['datasets'], { SSL_CERT_FILE: at('nothing') }, at('nothing'))
  failed(['datasets'], { LAKEHOUSE_URL: server.url.replace('127.0.0.1', 'localhost') }, 'is not trusted')
  failed(['datasets'], { LAKEHOUSE_URL: server.url.replace('https', 'http') }, 'https://')
  const plain = await startServer(freshDir())
  failed(['datasets'], { LAKEHOUSE_URL: plain.url.replace('http', 'https') }, 'TLS with')
  await plain.stop()
})

await check('the commands of docs/tls.md make a certificate that works, and talk to a server that has it', async () => {
  const folder = freshDir(), here = { 'DNS:lake.example.org': 'IP:127.0.0.1' }, [make] = commandsOf('docs/tls.md')
  execFileSync('bash', ['-c', make.replaceAll(...Object.entries(here)[0])], { cwd: folder, stdio: 'ignore' })
  const lake = await serve({ LAKEHOUSE_GATEWAY_TLS_CERT: join(folder, 'lake.pem'), LAKEHOUSE_GATEWAY_TLS_KEY: join(folder, 'lake.key') })
  const written = { ...here, '-keyout lake.key -out lake.pem': '-keyout more.key -out more.pem', 'https://lake.example.org:3100': lake.url }
  truth(await runCommands(['docs/tls.md'], lake, written, folder) >= 3, 'too few commands were found')
  await lake.stop()
})

await check('what is wrong with the certificate or its key is said at the start, by the setting\'s name', async () => {
  leaf('other')
  openssl('rsa', '-aes256', '-passout', 'pass:secret', '-in', execFileSync('openssl', ['genrsa', '-out', at('rsa.key'), '2048']) && at('rsa.key'), '-out', 'locked.key')
  writeFileSync(at('text'), 'no certificate\n')
  const cases = [
    [{ LAKEHOUSE_GATEWAY_TLS_KEY: '' }, /tls_key is not set/],
    [{ LAKEHOUSE_GATEWAY_TLS_CERT: '' }, /tls_cert is not set/],
    [{ LAKEHOUSE_GATEWAY_TLS_CERT: at('none.pem') }, /tls_cert '.*none\.pem': No such file/],
    [{ LAKEHOUSE_GATEWAY_TLS_KEY: at('none.key') }, /tls_key '.*none\.key': No such file/],
    [{ LAKEHOUSE_GATEWAY_TLS_CERT: at('text') }, /tls_cert '.*text' holds no certificate/],
    [{ LAKEHOUSE_GATEWAY_TLS_KEY: at('text') }, /tls_key '.*text' holds no private key/],
    [{ LAKEHOUSE_GATEWAY_TLS_KEY: at('other.key') }, /tls_key '.*other\.key' does not fit tls_cert/],
    [{ LAKEHOUSE_GATEWAY_TLS_KEY: at('rsa.key') }, /tls_key '.*rsa\.key' does not fit tls_cert/],
    [{ LAKEHOUSE_GATEWAY_TLS_KEY: at('locked.key') }, /tls_key '.*locked\.key' is locked by a password/],
  ]
  for (const [env, says] of cases) {
    const { message } = await refused(serve(env))
    truth(message.includes('[gateway]') && says.test(message), message)
    const checked = spawnSync(binary, ['check', '--data', freshDir()], { encoding: 'utf8', env: { ...process.env, ...settings, ...env } })
    same(checked.status, 1)
    truth(says.test(checked.stdout + checked.stderr), checked.stdout + checked.stderr)
  }
})

await check('lakehouse check tells that the certificate and its key are fine', () => {
  const checked = spawnSync(binary, ['check', '--data', freshDir()], { encoding: 'utf8', env: { ...process.env, ...settings } })
  same([checked.status, /^tls +ok$/m.test(checked.stdout)], [0, true], checked.stdout)
})

await check('a key that everybody may read and a certificate that has expired are warned of', async () => {
  leaf('expired', -1)
  copyFileSync(at('expired.key'), at('open.key'))
  chmodSync(at('open.key'), 0o644)
  const open = await serve({ LAKEHOUSE_GATEWAY_TLS_CERT: at('expired.pem'), LAKEHOUSE_GATEWAY_TLS_KEY: at('open.key') })
  truth(/everybody on this machine may read tls_key '.*open\.key'/.test(open.log), open.log)
  truth(/tls_cert '.*expired\.pem' has expired/.test(open.log), open.log)
  truth(/expired/.test((await refused(ask(open, 'GET', '/health'))).message), 'a client took it')
  await open.stop()
})

await check('with TLS and keys the server listens beyond this machine without a warning; without keys it does not', async () => {
  const key = execFileSync(binary, ['key', 'new', '--name', 'k', '--scopes', 'read'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  const sha256 = /sha256 = "(\w+)"/.exec(key)[1], args = ['--listen', '0.0.0.0:0']
  const keys = { LAKEHOUSE_AUTH_KEYS: JSON.stringify([{ name: 'k', sha256, scopes: ['read'] }]) }
  const open = await serve(keys, { args })
  truth(!open.log.includes('without TLS'), open.log)
  const url = open.url.replace('0.0.0.0', '127.0.0.1'), authorization = `Bearer ${key.split('\n')[0]}`
  same((await ask({ url }, 'GET', '/catalog/datasets')).status, 401)
  same((await ask({ url }, 'GET', '/catalog/datasets', { headers: { authorization } })).status, 200)
  await open.stop()
  truth((await refused(serve({}, { args }))).message.includes('no access keys are configured'), 'it listened')
  const bare = await startServer(freshDir(), { env: keys, args })
  truth(/without TLS.*tls_cert/.test(bare.log), bare.log)
  await bare.stop()
})

await check('a stop waits for no client that is idle or amid its handshake, and ends with status 0', async () => {
  const bytes = await hello()
  await ask(server, 'GET', '/health', { agent: new https.Agent({ keepAlive: true, ca }) })
  for (const size of [0, 100]) net.connect(port, '127.0.0.1', function () { this.write(bytes.subarray(0, size)) }).on('error', () => {})
  await pause(200)
  const began = Date.now()
  same(await server.stop(), { code: 0, signal: null })
  truth(Date.now() - began < 5000, `${Date.now() - began} ms`)
})
