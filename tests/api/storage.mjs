import { readdirSync, symlinkSync, writeFileSync, mkdirSync, existsSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'

const data = freshDir()
let server = await startServer(data)
const objects = '/storage/buckets/primary/objects'
const put = (key, body, headers) => call(server, 'PUT', `${objects}/${key}`, body, headers)
const get = (key, headers) => call(server, 'GET', `${objects}/${key}`, undefined, headers)

// fetch() tidies paths up; this sends them as they are.
function raw(method, path) {
  const { hostname, port } = new URL(server.url)
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, method, path }, answer => {
      let text = ''
      answer.on('data', part => { text += part })
      answer.on('end', () => resolve({ status: answer.statusCode, text }))
    })
    sent.on('error', reject)
    sent.end()
  })
}

await check('an object is written, read, headed, listed and deleted', async () => {
  const written = await put('raw/a.txt', 'hello')
  same(written.status, 201)
  same([written.json.bucket, written.json.key, written.json.size], ['primary', 'raw/a.txt', 5])
  const read = await get('raw/a.txt')
  same([read.status, read.text], [200, 'hello'])
  same(read.headers.get('etag'), `"${written.json.etag}"`)
  truth(read.headers.get('last-modified') && read.headers.get('accept-ranges') === 'bytes', 'headers')
  truth(read.headers.get('x-request-id'), 'a request id')
  const head = await call(server, 'HEAD', `${objects}/raw/a.txt`)
  same([head.status, head.headers.get('content-length'), head.text], [200, '5', ''])
  const list = await call(server, 'GET', `${objects}?prefix=raw/`)
  same(list.json.objects.map(o => [o.key, o.size]), [['raw/a.txt', 5]])
  same((await call(server, 'DELETE', `${objects}/raw/a.txt`)).status, 204)
  same((await call(server, 'DELETE', `${objects}/raw/a.txt`)).status, 204, 'twice')
  problem(await get('raw/a.txt'), 404, 'object_not_found')
})

await check('ranges: first bytes, last bytes, open ends, and those that lie outside', async () => {
  await put('digits', '0123456789')
  for (const [range, status, text] of [['bytes=0-3', 206, '0123'], ['bytes=-3', 206, '789'],
    ['bytes=7-', 206, '789'], ['bytes=5-100', 206, '56789'], ['bytes=3-2', 200, '0123456789'],
    ['items=0-3', 200, '0123456789'], ['bytes=0-1,4-5', 200, '0123456789']]) {
    const part = await get('digits', { range })
    same([part.status, part.text], [status, text], range)
  }
  same((await get('digits', { range: 'bytes=2-4' })).headers.get('content-range'), 'bytes 2-4/10')
  const outside = await get('digits', { range: 'bytes=10-' })
  problem(outside, 416, 'range_not_satisfiable')
  same(outside.headers.get('content-range'), 'bytes */10')
})

await check('conditions: If-None-Match and If-Match on reads and writes', async () => {
  const { json: { etag } } = await put('c', 'one')
  same((await get('c', { 'if-none-match': `"${etag}"` })).status, 304)
  same((await get('c', { 'if-none-match': '"other"' })).status, 200)
  problem(await put('c', 'two', { 'if-none-match': '*' }), 412, 'precondition_failed')
  problem(await put('c', 'two', { 'if-match': '"other"' }), 412, 'precondition_failed')
  same((await put('c', 'two', { 'if-match': `"${etag}"` })).status, 201)
  same((await get('c')).text, 'two')
})

await check('of twenty writers that create one key, one wins', async () => {
  const answers = await Promise.all(Array.from({ length: 20 }, (_, i) =>
    put('race', `writer ${i}`, { 'if-none-match': '*' })))
  same(answers.filter(a => a.status === 201).length, 1)
  same(answers.filter(a => a.status === 412).length, 19)
})

await check('keys that would leave the bucket are refused however they are spelled', async () => {
  for (const key of ['../x', '%2e%2e/x', '%2e%2e%2fx', 'a/../../x', 'a/%2E%2E/x', './x', 'a//b',
    'a/./b', '', 'a%00b', 'a%0ab', '..', 'a/..', '%ff', 'a%zz']) {
    const answer = await raw('GET', `${objects}/${key}`)
    truth(answer.status === 400 || (key === '' && answer.status === 404), `${key}: ${answer.status} ${answer.text}`)
  }
  same((await put('x'.repeat(1025), 'x')).status, 400)
  same((await put('a/b c+ü%25', 'odd')).status, 201)
  same((await get('a/b%20c+%C3%BC%25')).text, 'odd')
})

await check('a symbolic link in a bucket is not followed', async () => {
  const outside = freshDir()
  writeFileSync(join(outside, 'secret'), 'secret')
  symlinkSync(outside, join(data, 'primary', 'link'))
  symlinkSync(join(outside, 'secret'), join(data, 'primary', 'link-to-file'))
  for (const key of ['link/secret', 'link-to-file']) truth((await get(key)).status >= 400, key)
  truth((await put('link/new', 'x')).status >= 400, 'a write through a link')
  truth(!existsSync(join(outside, 'new')), 'nothing is written outside')
})

await check('keys are listed in order, by prefix, delimiter and page', async () => {
  for (const key of ['l/b', 'l/a/2', 'l/a/1', 'l/c', 'l/a-b', 'l/é']) await put(key, 'x')
  const all = await call(server, 'GET', `${objects}?prefix=l/`)
  same(all.json.objects.map(o => o.key), ['l/a-b', 'l/a/1', 'l/a/2', 'l/b', 'l/c', 'l/é'])
  const top = await call(server, 'GET', `${objects}?prefix=l/&delimiter=/`)
  same(top.json.objects.map(o => o.key), ['l/a-b', 'l/b', 'l/c', 'l/é'])
  same(top.json.prefixes, ['l/a/'])
  let after = '', keys = []
  do {
    const page = await call(server, 'GET', `${objects}?prefix=l/&limit=2&after=${encodeURIComponent(after)}`)
    keys.push(...page.json.objects.map(o => o.key))
    after = page.json.next
  } while (after)
  same(keys, ['l/a-b', 'l/a/1', 'l/a/2', 'l/b', 'l/c', 'l/é'])
})

await check('what is missing here is read from rescue, says so, and is an event', async () => {
  await call(server, 'PUT', '/storage/buckets/rescue/objects/only/there', 'saved')
  const read = await get('only/there')
  same([read.status, read.text], [200, 'saved'])
  same(['rescue-used', 'original-bucket', 'served-by'].map(h => read.headers.get(`x-lakehouse-${h}`)),
    ['true', 'primary', 'rescue'])
  same((await call(server, 'POST', '/storage/errors/flush')).status, 200)
  const events = await call(server, 'GET', '/storage/errors?bucket=primary&limit=5')
  truth(events.json.some(e => e.key === 'only/there' && e.rescued && e.op === 'get'), events.text)
  const health = await call(server, 'GET', '/storage/bucket-health?minutes=5')
  truth(health.json.buckets.find(b => b.bucket === 'primary').rescues >= 1, health.text)
})

await check('a bucket is added while the server runs, survives a restart, and is removed', async () => {
  const root = join(freshDir(), 'made', 'by', 'lakehouse')
  const bucket = { name: 'extra', backend: 'local', root }
  same((await call(server, 'POST', '/storage/buckets', bucket)).status, 201)
  problem(await call(server, 'POST', '/storage/buckets', bucket), 409, 'bucket_exists')
  problem(await call(server, 'POST', '/storage/buckets', { name: 'x', backend: 'local', root: ' ' }), 400, 'missing_field')
  problem(await call(server, 'POST', '/storage/buckets', { name: 'x', backend: 'local', roots: '/' }), 400, 'unknown_field')
  same((await call(server, 'PUT', '/storage/buckets/extra/objects/k', 'v')).status, 201)
  await server.stop()
  server = await startServer(data)
  same((await call(server, 'GET', '/storage/buckets/extra/objects/k')).text, 'v')
  const list = await call(server, 'GET', '/storage/buckets')
  same(list.json.map(b => [b.name, b.role, b.reachable]),
    [['extra', null, true], ['primary', 'primary', true], ['rescue', 'rescue', true]])
  same((await call(server, 'DELETE', '/storage/buckets/primary')).status, 403)
  same((await call(server, 'DELETE', '/storage/buckets/extra')).status, 200)
  same((await call(server, 'GET', '/storage/buckets/extra/objects/k')).status, 404)
  same(readdirSync(root).includes('k'), true, 'its data stays')
})

await check('a bucket that does not exist is named, with a guess', async () => {
  const detail = problem(await call(server, 'GET', '/storage/buckets/primery/objects/a'), 404, 'bucket_not_found')
  truth(detail.includes('primary'), detail)
})

await check('what decides over datasets, indexes and the server itself is only read here', async () => {
  for (const key of ['_lakehouse/buckets.json', 'warehouse/main/t/pointer/1', 'warehouse/main/t/metadata/x.json', 'vectors/i/meta.json']) {
    problem(await put(key, 'x'), 403, 'managed_object')
    problem(await call(server, 'DELETE', `${objects}/${key}`), 403, 'managed_object')
  }
  same((await get('_lakehouse/format')).status, 200)
  same((await put('warehouse/notes.txt', 'mine')).status, 201)
})

await check('a 64 MiB body goes in and comes out, chunked and in ranges', async () => {
  const size = 64 << 20, block = Buffer.alloc(1 << 20, 'abcdefgh')
  async function* body() { for (let i = 0; i < size / block.length; i++) yield block }
  const written = await put('big', ReadableStream.from(body()))
  same([written.status, written.json.size], [201, size])
  const answer = await fetch(`${server.url}${objects}/big`, { headers: { range: `bytes=${size - 9}-` } })
  same(await answer.text(), 'habcdefgh')
  const whole = Buffer.from(await (await fetch(`${server.url}${objects}/big`)).arrayBuffer())
  same(whole.length, size)
  truth(whole.subarray(size - block.length).equals(block), 'the last MiB')
})

await check('an upload that breaks off leaves nothing', async () => {
  const { hostname, port } = new URL(server.url)
  await new Promise(resolve => {
    const sent = request({ hostname, port, method: 'PUT', path: `${objects}/broken`, headers: { 'content-length': 1000 } })
    sent.on('error', resolve)
    sent.write('some bytes', () => setTimeout(() => sent.destroy(), 50))
  })
  same((await get('broken')).status, 404)
})

await check('a second server on the same data is refused with a clear word', async () => {
  await startServer(data).then(() => { throw new Error('it started') }, error =>
    truth(/in use|another|already/.test(error.message), error.message))
})

await check('SIGTERM lets what is under way finish and ends with status 0', async () => {
  mkdirSync(join(data, 'x'), { recursive: true })
  const answer = fetch(`${server.url}${objects}/big`)
  const response = await answer
  const stopped = server.stop()
  same((await response.arrayBuffer()).byteLength, 64 << 20)
  same(await stopped, { code: 0, signal: null })
})
