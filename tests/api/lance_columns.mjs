// A Lance index whose dataset gets vectors of another dimension.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { lancedb } from '../lance/lancedb.mjs'
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'

const data = freshDir(), rows = 1500
let server = await startServer(data)
const vector = (i, n) => Array.from({ length: n }, (_, k) => (Math.sin(i * 12.9898 + k * 78.233 + n) * 43758.5453) % 1)
const ingest = async n => same((await call(server, 'POST', '/ingest/file?dataset=points&format=ndjson&mode=replace',
  Array.from({ length: rows }, (_, i) => JSON.stringify({ id: i, v: vector(i, n) })).join('\n'))).status, 201)
const search = (i, n) => call(server, 'POST', '/vectors/search', { index: 'points', vector: vector(i, n), k: 1, rows: false })
const about = async () => (await call(server, 'GET', '/vectors/indexes/points')).json
const refresh = wait => call(server, 'POST', `/vectors/indexes/points/refresh?wait=${wait}`)
const folder = join(data, 'primary/vectors/points')
const versions = () => readdirSync(join(folder, 'docs.lance/_versions')).length
const meta = () => JSON.parse(readFileSync(join(folder, 'meta.json'), 'utf8'))
const found = async (i, n) => { const answer = await search(i, n); same([answer.status, answer.json?.hits?.[0]?.doc_id], [200, String(i)], answer.text) }

await ingest(8)
same((await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'points', dataset: 'points', vector_column: 'v', vector_backend: 'lance' })).status, 201)

await check('a refresh takes vectors of another dimension, in the same table, whose version before goes on answering', async () => {
  const reader = await (await lancedb.connect(folder)).openTable('docs'), before = await reader.version()
  await ingest(12)
  const done = await refresh(true)
  same([done.status, done.json?.rows], [200, rows], done.text)
  same((await about()).dimensions, 12)
  await found(77, 12)
  problem(await search(77, 8), 422, 'wrong_dimension')
  const theirs = await (await lancedb.connect(folder)).openTable('docs')
  same([await theirs.countRows(), (await theirs.query().limit(1).toArray())[0].vector.length], [rows, 12])
  const [hit] = await theirs.vectorSearch(vector(5, 12)).distanceType('cosine').nprobes(60).limit(1).toArray()
  same(hit.doc_id, '5')
  await theirs.checkout(before)
  same([await theirs.countRows(), (await theirs.query().limit(1).toArray())[0].vector.length], [rows, 8])
})

// Killed once so many versions more are there, which the next meta.json shall name, and at random.
async function killed(n, more) {
  const named = meta(), there = versions()
  await ingest(n)
  const pending = refresh(true).catch(() => {})
  const until = Date.now() + (more ? 20000 : Math.random() * 150)
  while (Date.now() < until && !(more && versions() >= there + more)) await new Promise(resolve => setTimeout(resolve, 1))
  await server.stop('SIGKILL')
  await pending
  const cut = meta().build === named.build
  server = await startServer(data)
  return cut
}

await check('killed between the table\'s new version and its publication, the index answers as before, and the next refresh ends it', async () => {
  let cut = 0
  for (let round = 0; round < 12; round++) {
    const old = (await about()).dimensions, n = old === 12 ? 8 : 12
    cut += await killed(n, round % 4)
    const now = (await about()).dimensions
    truth(now === old || now === n, `${now} dimensions`)
    for (const i of [3, 900, rows - 1]) await found(i, now)
    same((await refresh(true)).status, 200)
    for (const i of [3, 900, rows - 1]) await found(i, n)
  }
  truth(cut > 2, `only ${cut} kills came before the publication`)
})

await check('rows put while the table is ahead are kept; building its indexes anew says what stands against it', async () => {
  const old = (await about()).dimensions, n = old === 12 ? 8 : 12
  for (let tries = 0; !await killed(n, 1); tries++) {
    truth(tries < 10, 'never killed in between')
    await ingest(old)
    same((await refresh(true)).status, 200)
  }
  same((await about()).dimensions, old)
  const put = await call(server, 'POST', '/vectors/lance/append/points', { rows: [{ doc_id: 'x', vector: vector(-1, old) }] })
  same(put.status, 200, put.text)
  const [hit] = (await search(-1, old)).json.hits
  same(hit.doc_id, 'x')
  problem(await call(server, 'POST', '/vectors/lance/index/points?wait=true', {}), 409, 'table_changed')
  await found(77, old)
  problem(await refresh(true), 422, 'wrong_dimension')
  same((await call(server, 'DELETE', '/vectors/indexes/points/rows', { doc_ids: ['x'] })).status, 200)
  same((await refresh(true)).status, 200)
  await found(77, n)
  truth(existsSync(join(folder, 'docs.lance')), 'the table is gone')
})
await server.stop()
