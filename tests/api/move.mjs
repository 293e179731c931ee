// An index moves to another bucket with all that belongs to it, while it is searched and written to, and through kills.
import { cpSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const data = freshDir(), other = freshDir()
const env = { LAKEHOUSE_STORAGE_SWEEP_AGE_S: '0' }
let server = await startServer(data, { env })
const roots = { primary: join(data, 'primary'), other }
// A folder that goes while it is listed is listed again.
const files = bucket => {
  const root = join(roots[bucket], 'vectors/notes')
  try {
    return existsSync(root) ? readdirSync(root, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile()).map(entry => join(entry.parentPath ?? entry.path, entry.name).slice(root.length + 1)).sort() : []
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
    return files(bucket)
  }
}
const move = (bucket, wait = true) => call(server, 'PATCH', `/vectors/indexes/notes${wait ? '?wait=true' : ''}`, { bucket })
const index = async () => (await call(server, 'GET', '/vectors/indexes/notes')).json
const find = async n => (await call(server, 'POST', '/vectors/search', { index: 'notes', query: `number${n}`, k: 1, rows: false, exact: true })).json?.hits?.[0]?.doc_id
const trial = ef => call(server, 'POST', '/vectors/trials/notes', { config: { ef_search: ef }, eval: 'e', k: 10 })
const trials = async () => (await call(server, 'GET', '/vectors/trials/notes')).json.length

const rows = Array.from({ length: 3000 }, (_, i) => JSON.stringify({ id: i, text: `a note number${i} on topic${i % 19}` }))
await call(server, 'POST', '/ingest/file?dataset=notes&format=ndjson', rows.join('\n'))
await call(server, 'POST', '/storage/buckets', { name: 'other', backend: 'local', root: other })
same((await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'notes', dataset: 'notes', text_column: 'text' })).status, 201)
await call(server, 'PUT', '/vectors/evals/notes/e', { sample: 5, seed: 1 })
for (const ef of [32, 64]) same((await trial(ef)).status, 201)
same((await call(server, 'POST', '/vectors/promotions/notes', { trial: 1 })).status, 200)

await check('it moves whole: build, vectors, text, trials, eval sets, promotions; nothing stays behind', async () => {
  const before = files('primary')
  const done = await move('other')
  same([done.status, done.json.bucket, done.json.from, done.json.objects], [200, 'other', 'primary', before.length - 1], done.text)
  same([files('other'), files('primary')], [before, []])
  const now = await index()
  same([now.bucket, now.config.ef_search, now.promotion, now.error], ['other', 32, 2, null])
  same([await find(77), await trials(), (await call(server, 'GET', '/vectors/evals/notes')).json.length], ['77', 2, 1])
  same((await call(server, 'POST', '/vectors/promotions/notes/rollback')).status, 200)
  problem(await call(server, 'DELETE', '/storage/buckets/other'), 409, 'bucket_in_use')
})

await check('it is there after a restart, can be refreshed there, and moves back', async () => {
  await server.stop()
  server = await startServer(data, { env })
  same([(await index()).bucket, await find(78)], ['other', '78'])
  await call(server, 'POST', '/ingest/file?dataset=notes&format=ndjson&mode=append', JSON.stringify({ id: 9000, text: 'a submarine' }))
  same((await call(server, 'POST', '/vectors/indexes/notes/refresh?wait=true')).json.embedded, 1)
  same([(await move('primary')).status, (await move('primary')).json.objects, files('other')], [200, 0, []])
  same((await call(server, 'POST', '/vectors/search', { index: 'notes', query: 'submarine', k: 1 })).json.hits[0].doc_id, '9000')
})

await check('what is wrong is said: no such index, no such bucket, a change under way', async () => {
  problem(await call(server, 'PATCH', '/vectors/indexes/none', { bucket: 'other' }), 404, 'index_not_found')
  problem(await move('nowhere'), 404, 'bucket_not_found')
  problem(await call(server, 'PATCH', '/vectors/indexes/notes', { buckets: 'other' }), 400, 'unknown_field')
  const answers = await Promise.all([move('other'), move('other'), move('other')])
  truth(answers.some(answer => answer.status === 200), 'none moved')
  for (const answer of answers.filter(a => a.status !== 200)) problem(answer, 409, 'index_busy')
  await move('primary')
})

await check('searches go on, trials and rows that are put are kept while it moves to and fro', async () => {
  let ended = false, asked = 0, made = await trials(), put = 0
  const searches = [1, 2, 3].map(async n => { for (; !ended; asked++) { const wanted = n * 100 + asked % 90; same(await find(wanted), `${wanted}`) } })
  const tuning = (async () => { for (let ef = 20; !ended; ef++) { same((await trial(ef)).status, 201); made++ } })()
  const rowsOf = body => call(server, body.rows ? 'PUT' : 'DELETE', '/vectors/indexes/notes/rows', body)
  const putting = (async () => { for (; !ended; put++) same((await rowsOf({ rows: [{ doc_id: `hand${put}`, text: `by hand number${20000 + put}` }] })).status, 200) })()
  for (let i = 0; i < 12; i++) same((await move(i % 2 ? 'primary' : 'other')).status, 200)
  ended = true
  await Promise.all([...searches, tuning, putting])
  await server.stop('SIGKILL')
  server = await startServer(data, { env })
  truth(put > 20, `${put} puts alone`)
  for (let i = 0; i < put; i++) same(await find(20000 + i), `hand${i}`)
  same((await rowsOf({ doc_ids: Array.from({ length: put }, (_, i) => `hand${i}`) })).json, { index: 'notes', deleted: put })
  const compacted = await call(server, 'POST', '/vectors/indexes/notes/compact?wait=true')
  same(compacted.status, 200, compacted.text)
  truth(asked > 20, `${asked} searches alone`)
  same(await trials(), made)
})

await check('a move that is cancelled leaves it where it was, and no copies', async () => {
  const big = new Uint8Array(200 << 20)
  same((await call(server, 'PUT', '/storage/buckets/primary/objects/vectors/notes/evals/big.bin', big)).status, 201)
  const started = await move('other', false)
  await call(server, 'DELETE', `/jobs/${started.json.job}`)
  let job
  do { await sleep(20); job = (await call(server, 'GET', `/jobs/${started.json.job}`)).json } while (['queued', 'running'].includes(job.state))
  same([job.state, (await index()).bucket, files('other'), await find(5)], ['cancelled', 'primary', [], '5'], JSON.stringify(job))
  await call(server, 'DELETE', '/storage/buckets/primary/objects/vectors/notes/evals/big.bin')
})

await check('killed at any moment it is wholly here or wholly there', async () => {
  const seen = { primary: 0, other: 0 }
  const kept = await trials()
  for (let i = 0; i < 40; i++) {
    const home = (await index()).bucket
    const moving = move(home === 'primary' ? 'other' : 'primary').catch(() => {})
    await sleep(i * 4)
    await server.stop('SIGKILL')
    await moving
    server = await startServer(data, { env })
    const now = await index()
    seen[now.bucket === home ? 'primary' : 'other']++
    same([now.error, now.rows, await find(i), await trials()], [null, 3001, `${i}`, kept], now.bucket)
    truth(!existsSync(join(roots[now.bucket === 'primary' ? 'other' : 'primary'], 'vectors/notes/meta.json')), 'two are left')
    same((await call(server, 'GET', '/vectors/evals/notes/e')).json.queries.length, 5)
  }
  console.log(`     stayed ${seen.primary} times, moved ${seen.other} times`)
  truth(seen.primary > 0 && seen.other > 0, 'the kills all came on one side')
})

await check('found in two buckets it is the copy that moved last, and the other is no index any more', async () => {
  const home = (await index()).bucket, away = home === 'primary' ? 'other' : 'primary'
  for (const [moves, winner] of [[-1, home], [1, away]]) {
    await server.stop()
    cpSync(join(roots[home], 'vectors/notes'), join(roots[away], 'vectors/notes'), { recursive: true })
    const meta = JSON.parse(readFileSync(join(roots[home], 'vectors/notes/meta.json')))
    writeFileSync(join(roots[away], 'vectors/notes/meta.json'), JSON.stringify({ ...meta, bucket: away, moves: meta.moves + moves }))
    server = await startServer(data, { env })
    same([(await index()).bucket, (await index()).error, await find(8)], [winner, null, '8'])
    same([home, away].filter(bucket => files(bucket).includes('meta.json')), [winner])
  }
})

await check('a copy that is damaged does not win, and what is whole is kept', async () => {
  const home = (await index()).bucket, away = home === 'primary' ? 'other' : 'primary'
  await server.stop()
  cpSync(join(roots[home], 'vectors/notes'), join(roots[away], 'vectors/notes'), { recursive: true })
  const meta = JSON.parse(readFileSync(join(roots[home], 'vectors/notes/meta.json')))
  writeFileSync(join(roots[away], 'vectors/notes/meta.json'), JSON.stringify({ ...meta, bucket: away, moves: meta.moves + 1 }))
  writeFileSync(join(roots[away], `vectors/notes/hnsw/${meta.build}.idx`), 'cut')
  server = await startServer(data, { env })
  same([(await index()).bucket, (await index()).error, await find(8)], [home, null, '8'])
  same([home, away].map(bucket => files(bucket).includes('meta.json')), [true, true])
  rmSync(join(roots[away], 'vectors/notes/meta.json'))
})

await check('what kills left behind is swept', async () => {
  await server.stop()
  await sleep(1100)
  server = await startServer(data, { env: { LAKEHOUSE_STORAGE_SWEEP_AGE_S: '1' } })
  const gone = (await index()).bucket === 'primary' ? 'other' : 'primary'
  for (let i = 0; i < 50 && files(gone).length; i++) await sleep(100)
  same([files(gone), await find(9)], [[], '9'])
})
await server.stop()
