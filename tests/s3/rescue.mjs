// An S3 bucket that goes away: reads come from rescue and say so, writes never do, the breaker opens
// and closes, and nothing that was deleted comes back.
import { setTimeout as sleep } from 'node:timers/promises'
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'
import { makeBucket, s3Bucket, s3Secret, startCeph, startFaults, writeConfig } from '../kit/services.mjs'

const ceph = startCeph()
const faults = startFaults(ceph.endpoint)
const bucket = makeBucket(ceph)
const config = writeConfig({
  storage: {
    sweep_age_s: 0, breaker_failures: 3, breaker_probe_ms: 200, s3_connect_timeout_ms: 500, s3_answer_timeout_ms: 500,
    s3_stall_timeout_ms: 500, s3_retry_ms: 300,
  },
  'buckets.cloud': s3Bucket({ endpoint: faults.url }, bucket), 'secrets.ceph': s3Secret(ceph),
})
const data = freshDir()
let server = await startServer(data, { args: ['--config', config] })
const path = (key, name = 'cloud') => `/storage/buckets/${name}/objects/${key}`
const down = () => faults.arm({ kind: 'refuse', times: 1e9 })
const up = () => faults.arm()
const health = async name => (await call(server, 'GET', '/storage/bucket-health?minutes=5')).json
  .buckets.find(one => one.bucket === name)
const listed = async name => (await call(server, 'GET', '/storage/buckets')).json.find(one => one.name === name)
async function until(what, test, ms = 5000) {
  for (const end = Date.now() + ms; !(await test()); await sleep(50))
    truth(Date.now() < end, `${what} did not happen within ${ms} ms`)
}

for (const key of ['both', 'deleted', 'again']) {
  await call(server, 'PUT', path(key), `cloud's ${key}`)
  await call(server, 'PUT', path(key, 'rescue'), `rescue's ${key}`)
}
await call(server, 'PUT', path('only', 'rescue'), 'rescue alone')

await check('a key that the bucket lacks is read from rescue, unless the client says not to', async () => {
  const answer = await call(server, 'GET', path('only'))
  same([answer.status, answer.text], [200, 'rescue alone'])
  same(['rescue-used', 'original-bucket', 'served-by'].map(name => answer.headers.get(`x-lakehouse-${name}`)),
    ['true', 'cloud', 'rescue'])
  problem(await call(server, 'GET', `${path('only')}?rescue=never`), 404, 'object_not_found')
  problem(await call(server, 'GET', `${path('only')}?rescue=unreachable`), 404, 'object_not_found')
  same((await call(server, 'HEAD', path('only'))).headers.get('x-lakehouse-served-by'), 'rescue')
  same((await call(server, 'GET', path('both'))).text, "cloud's both")
})

await check('what was deleted through us does not come back from rescue, until it is written again', async () => {
  same((await call(server, 'DELETE', path('deleted'))).status, 204)
  same((await call(server, 'DELETE', path('again'))).status, 204)
  problem(await call(server, 'GET', path('deleted')), 404, 'object_not_found')
  same((await call(server, 'GET', path('deleted', 'rescue'))).text, "rescue's deleted")
  same((await call(server, 'PUT', path('again'), 'second life')).status, 201)
})

await check('a bucket out of reach: reads come from rescue, writes are 503, and each is an event', async () => {
  await down()
  const answer = await call(server, 'GET', path('both'))
  same([answer.status, answer.text, answer.headers.get('x-lakehouse-served-by')], [200, "rescue's both", 'rescue'])
  same((await call(server, 'GET', `${path('both')}?rescue=unreachable`)).status, 200)
  same((await call(server, 'GET', `${path('both')}?rescue=never`)).status, 503)
  same((await call(server, 'PUT', path('new'), 'x')).status, 503)
  same((await call(server, 'DELETE', path('both'))).status, 503)
  same((await call(server, 'GET', path('none'))).status, 503)
  same((await call(server, 'GET', path('deleted'))).status, 503)
  same((await call(server, 'GET', path('again'))).text, "rescue's again")
  same((await call(server, 'GET', path('new', 'rescue'))).status, 404)
  const events = (await call(server, 'GET', '/storage/errors?bucket=cloud&limit=100')).json
  truth(events.some(e => e.op === 'get' && e.key === 'both' && e.rescued), 'no event of a rescued read')
  truth(events.some(e => e.op === 'put' && e.key === 'new' && !e.rescued), 'no event of a failed write')
  same(events.filter(e => e.op === 'get' && e.key === 'again').length, 1)
  same((await health('cloud')).status, 'down')
})

await check('its breaker is open: answers are quick, and /ready, /metrics and the list say so', async () => {
  await faults.arm({ kind: 'hang', times: 1e9 })
  const started = Date.now()
  for (let i = 0; i < 20; i++) same((await call(server, 'GET', `${path('both')}?rescue=never`)).status, 503)
  truth(Date.now() - started < 1000, `20 answers took ${Date.now() - started} ms`)
  same((await listed('cloud')).breaker, 'open')
  const ready = await call(server, 'GET', '/ready')
  same([ready.status, ready.json.buckets_unreachable], [200, ['cloud']])
  const metrics = (await call(server, 'GET', '/metrics')).text
  truth(/lakehouse_bucket_breaker_open\{bucket="cloud"\} 1/.test(metrics), metrics)
  truth(/lakehouse_bucket_rescues_total\{bucket="cloud"\} [1-9]/.test(metrics), metrics)
})

await check('a restart while it is down works, its datasets are 503, and the deleted stays deleted', async () => {
  await up()
  await until('the breaker to close', async () => (await listed('cloud')).breaker === 'closed')
  same((await call(server, 'POST', '/ingest/file?dataset=d&bucket=cloud&format=csv', 'id\n1\n')).status, 201)
  await down()
  await server.stop()
  server = await startServer(data, { args: ['--config', config] })
  same((await call(server, 'POST', '/query', { sql: 'SELECT * FROM d' })).status, 503)
  same((await call(server, 'GET', '/catalog/datasets/d')).status, 503)
  same((await call(server, 'GET', path('deleted'))).status, 503)
  same((await call(server, 'GET', path('both'))).text, "rescue's both")
  const made = await call(server, 'POST', '/ingest/file?dataset=local&format=csv', 'id\n1\n')
  same(made.status, 201, made.text)
})

await check('it serves again when it is back, with nothing lost', async () => {
  await up()
  await until('the breaker to close', async () => (await listed('cloud')).breaker === 'closed')
  same((await call(server, 'GET', path('both'))).text, "cloud's both")
  same((await call(server, 'GET', path('again'))).text, 'second life')
  same((await call(server, 'POST', '/query', { sql: 'SELECT count(*) FROM d' })).json.rows, [[1]])
  same((await call(server, 'GET', '/ready')).json.buckets_unreachable, [])
  problem(await call(server, 'GET', path('deleted')), 404, 'object_not_found')
})

await check('a body that breaks half-way is cut, not finished with bytes of rescue', async () => {
  const bytes = Buffer.alloc(24 << 20, 'c')
  same((await call(server, 'PUT', path('long'), bytes)).status, 201)
  same((await call(server, 'PUT', path('long', 'rescue'), Buffer.alloc(24 << 20, 'r'))).status, 201)
  await faults.arm({ kind: 'truncate', at: 2, times: 1e9, method: 'GET' })
  let got = Buffer.alloc(0), cut = false
  try {
    const answer = await fetch(server.url + path('long'))
    for await (const part of answer.body) got = Buffer.concat([got, part])
  } catch { cut = true }
  await up()
  truth(cut && got.length < bytes.length, `${got.length} bytes came, cut: ${cut}`)
  truth(!got.includes('r'), 'bytes of rescue are among them')
})

await check('the journal keeps its events over a restart and a compaction', async () => {
  const before = (await call(server, 'GET', '/storage/errors?limit=1000')).json.length
  same((await call(server, 'POST', '/storage/errors/flush')).status, 200)
  same((await call(server, 'POST', '/storage/errors/compact')).json.events >= before, true)
  await server.stop('SIGKILL')
  server = await startServer(data, { args: ['--config', config] })
  truth((await call(server, 'GET', '/storage/errors?limit=1000')).json.length >= before, 'events are lost')
})
await server.stop()
ceph.stop()
