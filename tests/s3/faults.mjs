// Every fault at every request that an operation sends to S3. Whatever happens: what was acknowledged
// is there, no half object is seen, each answer is right, the process lives. The same bucket is
// looked at through the proxy (`cloud`) and straight (`direct`).
import { randomBytes } from 'node:crypto'
import { call, check, freshDir, same, startServer, truth } from '../kit/server.mjs'
import { makeBucket, s3Bucket, s3Secret, s3cmd, startCeph, startFaults, writeConfig } from '../kit/services.mjs'

const ONCE = ['refuse', 'hang', 'slow_down', 'error', 'cut', 'reset', 'lose', 'silence', 'truncate', 'stall', 'etag', 'delay']
const LASTING = ['refuse', 'slow_down', 'lose']
const STEPS_MAX = 60
const few = process.env.FAULTS === 'few' // for builds that are slow: the first steps alone

const ceph = startCeph()
const faults = startFaults(ceph.endpoint)
const bucket = makeBucket(ceph)
const options = {
  sweep_age_s: 0, breaker_failures: 1000, rescue_bucket: '', s3_part_mib: 5, s3_parallel: 2, s3_connect_timeout_ms: 500,
  s3_answer_timeout_ms: 500, s3_stall_timeout_ms: 500, s3_retry_ms: 700,
}
const config = writeConfig({
  storage: options, 'secrets.ceph': s3Secret(ceph),
  'buckets.cloud': s3Bucket({ endpoint: faults.url }, bucket), 'buckets.direct': s3Bucket(ceph, bucket),
})
let server = await startServer(freshDir(), { args: ['--config', config] })
const path = (key, name = 'cloud') => `/storage/buckets/${name}/objects/${key}`
const put = (key, body, headers) => call(server, 'PUT', path(key), body, headers)

// What a step needs before its fault: a machine that is busy with other things may need a second try.
async function prepared(request) {
  let answer
  for (let tries = 0; tries < 5; tries++) {
    answer = await request()
    if (answer.status === 201) return answer
  }
  throw new Error(`${answer.status} ${answer.text}`)
}

async function direct(key) {
  const answer = await fetch(server.url + path(key, 'direct'))
  const bytes = Buffer.from(await answer.arrayBuffer())
  truth(answer.status === 200 || answer.status === 404, `straight from S3: ${answer.status} ${bytes.subarray(0, 200)}`)
  return answer.status === 200 ? bytes : null
}

// `operate(label)` under each fault at its first request, at its second, and so on until it sends no
// more; then each lasting one from its first request on, from its second on, and so on. `round` counts
// the faults.
async function eachFault(operate, { method, match } = {}) {
  let fired = 0, round = 0
  for (const [kinds, times] of [[ONCE, 1], [LASTING, 1e9]]) {
    for (const kind of kinds) {
      round++
      for (let at = 1; at <= STEPS_MAX; at++) {
        const arm = () => faults.arm({ kind, at, times, method, match })
        await operate(`${kind} ${times === 1 ? 'at' : 'from'} ${at}`, arm, round)
        await faults.arm()
        const state = await faults.state()
        if (state.fired === 0) break
        fired++
        if (few && at === 3) break
        truth(at < STEPS_MAX, 'the operation never ends')
      }
    }
  }
  same((await call(server, 'GET', '/health')).status, 200)
  return fired
}

let made = 0
const fresh = () => `k/${++made}`

await check('a small PUT', async () => {
  const fired = await eachFault(async (label, arm) => {
    const key = fresh(), body = randomBytes(1000)
    await arm()
    const answer = await put(key, body)
    await faults.arm()
    const there = await direct(key)
    truth(answer.status === 201 || answer.status === 503, `${label}: ${answer.status} ${answer.text}`)
    if (answer.status === 201) truth(there?.equals(body), `${label}: acknowledged and not there`)
    truth(there === null || there.equals(body), `${label}: a half object`)
  })
  truth(fired >= ONCE.length, `only ${fired} faults struck`)
})

await check('an overwrite: the old object or the new one', async () => {
  await eachFault(async (label, arm) => {
    const key = fresh(), old = randomBytes(500), body = randomBytes(1000)
    await prepared(() => put(key, old))
    await arm()
    const answer = await put(key, body)
    await faults.arm()
    const there = await direct(key)
    if (answer.status === 201) truth(there.equals(body), `${label}: acknowledged and not there`)
    truth(there.equals(old) || there.equals(body), `${label}: neither the old nor the new`)
  })
})

await check('a conditional PUT: told the truth about who won', async () => {
  await eachFault(async (label, arm) => {
    const key = fresh(), body = randomBytes(100)
    await arm()
    const answer = await put(key, body, { 'if-none-match': '*' })
    await faults.arm()
    const there = await direct(key)
    truth([201, 503].includes(answer.status), `${label}: ${answer.status} ${answer.text}`)
    if (answer.status === 201) truth(there?.equals(body), `${label}: acknowledged and not there`)
    truth(there === null || there.equals(body), `${label}: a half object`)
    same((await put(key, 'other', { 'if-none-match': '*' })).status, there ? 412 : 201, label)
  })
})

await check('a PUT in parts, which leaves no upload behind', async () => {
  const body = randomBytes(12 << 20)
  await eachFault(async (label, arm) => {
    const key = fresh()
    await arm()
    const answer = await put(key, body)
    await faults.arm()
    const there = await direct(key)
    truth(answer.status === 201 || answer.status === 503, `${label}: ${answer.status} ${answer.text}`)
    if (answer.status === 201) truth(there?.equals(body), `${label}: acknowledged and not there`)
    truth(there === null || there.equals(body), `${label}: a half object`)
    if (there) await call(server, 'DELETE', path(key, 'direct'))
  })
})

async function get(key, from = 0) {
  try {
    const answer = await fetch(server.url + path(key))
    return { status: answer.status, bytes: Buffer.from(await answer.arrayBuffer()) }
  } catch { return { cut: true } }
}

await check('a GET, small and in ranges: all of the right bytes, 503, or a cut body', async () => {
  const bodies = { 'g/small': randomBytes(3000), 'g/large': randomBytes(12 << 20) }
  for (const [key, body] of Object.entries(bodies)) {
    await prepared(() => put(key, body))
    await eachFault(async (label, arm) => {
      await arm()
      const answer = await get(key)
      if (answer.cut) return
      truth([200, 503].includes(answer.status), `${key}, ${label}: ${answer.status} ${answer.bytes.subarray(0, 300)}`)
      if (answer.status === 200) truth(answer.bytes.equals(body), `${key}, ${label}: other bytes`)
    })
  }
})

await check('a listing: whole and right, or 503', async () => {
  for (let i = 0; i < 25; i++) await prepared(() => put(`list/${String(i).padStart(2, '0')}`, 'x'))
  await eachFault(async (label, arm) => {
    await arm()
    const answer = await call(server, 'GET', '/storage/buckets/cloud/objects?prefix=list/&limit=1000')
    truth([200, 503].includes(answer.status), `${label}: ${answer.status} ${answer.text}`)
    if (answer.status === 200) same(answer.json.objects.length, 25, label)
  })
})

await check('a DELETE: gone when it is acknowledged', async () => {
  await eachFault(async (label, arm) => {
    const key = fresh()
    await prepared(() => put(key, 'x'))
    await arm()
    const answer = await call(server, 'DELETE', path(key))
    await faults.arm()
    truth([204, 503].includes(answer.status), `${label}: ${answer.status} ${answer.text}`)
    if (answer.status === 204) same(await direct(key), null, label)
  })
})

// Twice as many rows each time would hide a lost one: each commit adds one row with its own number.
await check('a commit: acknowledged rows are there once, the others all or not at all', async () => {
  const ingest = (id, name, mode) =>
    call(server, 'POST', `/ingest/file?dataset=${name}&mode=${mode}&format=csv&bucket=cloud`, `id\n${id}\n`)
  const sure = new Set(), unsure = new Set(), rows = []
  let id = 0, last = 0
  const collect = async round => rows.push(...(await call(server, 'POST', '/query', { sql: `SELECT id FROM t${round}`, limit: 10000 })).json.rows.flat())
  await eachFault(async (label, arm, round) => {
    if (round !== last) { // a dataset for each fault: one with many versions merges its manifests
      if (last) await collect(last)
      last = round
      await prepared(() => ingest(++id, `t${round}`, 'create'))
      sure.add(id)
    }
    await arm()
    const answer = await ingest(++id, `t${round}`, 'append')
    await faults.arm()
    if (answer.status === 201) return sure.add(id)
    truth(answer.status === 503, `${label}: ${answer.status} ${answer.text}`)
    if (answer.json.code === 'commit_unknown') unsure.add(id)
  })
  await collect(last)
  same(new Set(rows).size, rows.length, 'a row is there twice')
  for (const one of sure) truth(rows.includes(one), `row ${one} was acknowledged and is not there`)
  for (const one of rows) truth(sure.has(one) || unsure.has(one), `row ${one} was refused and is there`)
})

await check('no upload in parts is left in the bucket', async () => {
  const left = s3cmd(ceph, 'multipart', `s3://${bucket}`).toString().split('\n').filter(line => line.includes('s3://'))
  truth(left.length === 0, `${left.length} uploads are left:\n${left.join('\n')}`)
})
await server.stop()

await check('a flush of the error journal whose primary is in S3: each event once, after SIGKILL too', async () => {
  const home = makeBucket(ceph)
  const primary = writeConfig({
    storage: options, 'secrets.ceph': s3Secret(ceph),
    'buckets.primary': s3Bucket({ endpoint: faults.url }, home),
    'buckets.gone': { backend: 's3', bucket: 'nowhere', endpoint: 'http://127.0.0.1:9', secret_ref: 'ceph' },
  })
  const data = freshDir()
  server = await startServer(data, { args: ['--config', primary] })
  let events = 0
  await eachFault(async (label, arm) => {
    same((await call(server, 'GET', `/storage/buckets/gone/objects/e${++events}`)).status, 503)
    await arm()
    const answer = await call(server, 'POST', '/storage/errors/flush')
    await faults.arm()
    truth([200, 503].includes(answer.status), `${label}: ${answer.status} ${answer.text}`)
  })
  same((await call(server, 'POST', '/storage/errors/flush')).status, 200)
  await server.stop('SIGKILL')
  server = await startServer(data, { args: ['--config', primary] })
  const kept = (await call(server, 'GET', '/storage/errors?bucket=gone&limit=10000')).json
    .filter(event => event.op === 'get').map(event => event.key)
  same([kept.length, new Set(kept).size], [events, events])
  await server.stop()
})
ceph.stop()
