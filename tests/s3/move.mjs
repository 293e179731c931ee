// An index moves from a disk into an S3 bucket and back, and is killed half-way.
import { call, check, freshDir, same, startServer, truth } from '../kit/server.mjs'
import { makeBucket, s3Bucket, s3Secret, startCeph, startFaults, writeConfig } from '../kit/services.mjs'

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const ceph = startCeph()
const faults = startFaults(ceph.endpoint)
const config = writeConfig({
  'buckets.cloud': s3Bucket({ endpoint: faults.url }, makeBucket(ceph), { prefix: 'team/a' }), 'secrets.ceph': s3Secret(ceph),
  storage: { sweep_age_s: 0, s3_retry_ms: 300, breaker_failures: 1000 },
})
const data = freshDir()
let server = await startServer(data, { args: ['--config', config] })
const move = bucket => call(server, 'PATCH', '/vectors/indexes/notes?wait=true', { bucket })
const index = async () => (await call(server, 'GET', '/vectors/indexes/notes')).json
const objects = async bucket => (await call(server, 'GET', `/storage/buckets/${bucket}/objects?prefix=vectors/notes/`)).json.objects.map(object => object.key)
const find = async n => (await call(server, 'POST', '/vectors/search', { index: 'notes', query: `number${n}`, k: 1, exact: true })).json?.hits?.[0]?.doc_id
const rows = Array.from({ length: 2000 }, (_, i) => JSON.stringify({ id: i, text: `a note number${i}` }))
await call(server, 'POST', '/ingest/file?dataset=notes&format=ndjson', rows.join('\n'))
await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'notes', dataset: 'notes', text_column: 'text' })
await call(server, 'PUT', '/vectors/evals/notes/e', { sample: 5, seed: 1 })
await call(server, 'POST', '/vectors/trials/notes', { config: { ef_search: 64 }, eval: 'e', k: 10 })

await check('all of it goes to S3, is found there after a restart, and comes back', async () => {
  const before = await objects('primary')
  for (const [to, from] of [['cloud', 'primary'], ['primary', 'cloud']]) {
    const done = await move(to)
    same(done.status, 200, done.text)
    same([(await objects(to)).sort(), await objects(from)], [before.sort(), []])
    await server.stop()
    server = await startServer(data, { args: ['--config', config] })
    same([(await index()).bucket, (await index()).error, await find(77)], [to, null, '77'])
    same((await call(server, 'GET', '/vectors/trials/notes')).json.length, 1)
  }
})

await check('killed at any moment it is wholly on the disk or wholly in S3', async () => {
  const seen = new Set()
  for (let i = 0; i < 12; i++) {
    const home = (await index()).bucket, away = home === 'cloud' ? 'primary' : 'cloud'
    const moving = move(away).catch(() => {})
    await sleep(i * 40)
    await server.stop('SIGKILL')
    await moving
    server = await startServer(data, { args: ['--config', config] })
    const now = await index()
    seen.add(now.bucket === home)
    same([now.error, now.rows, await find(i), (await call(server, 'GET', '/vectors/trials/notes')).json.length], [null, 2000, `${i}`, 1])
    truth(!(await objects(now.bucket === 'cloud' ? 'primary' : 'cloud')).includes('vectors/notes/meta.json'), 'two are left')
  }
  truth(seen.size === 2, 'the kills all came on one side')
})

// The target's meta.json is written twice: the claim, and the index.
await check('a move whose new meta.json is not written, for all that is known, is taken back: rows put since stay', async () => {
  if ((await index()).bucket !== 'primary') same((await move('primary')).status, 200)
  const put = id => call(server, 'PUT', '/vectors/indexes/notes/rows', { rows: [{ doc_id: id, text: `by hand number7700${id}` }] })
  same((await put('1')).status, 200)
  await faults.arm({ kind: 'error', method: 'PUT', match: 'notes.meta.json', at: 2, times: 1e9 })
  const failed = await move('cloud')
  truth(failed.status >= 500 && (await faults.state()).fired > 0, failed.text)
  await faults.arm()
  same([(await index()).bucket, (await put('2')).status], ['primary', 200])
  await server.stop('SIGKILL')
  server = await startServer(data, { args: ['--config', config] })
  same([(await index()).bucket, (await index()).error, await find(77001), await find(77002)], ['primary', null, '1', '2'])
  const again = await move('cloud')
  same([again.status, await find(77002)], [200, '2'], again.text)
})

// The source's: that it is about to go, and that it has gone.
await check('a move is done when the old place has given way, though no answer says so', async () => {
  same((await index()).bucket, 'cloud')
  await faults.arm({ kind: 'reset', method: 'PUT', match: 'notes.meta.json', at: 2, times: 1 })
  const moved = await move('primary')
  same([moved.status, (await faults.state()).fired, (await index()).bucket, await find(77002)], [200, 1, 'primary', '2'], moved.text)
  await faults.arm()
  same(await objects('cloud'), [])
})
await server.stop()
