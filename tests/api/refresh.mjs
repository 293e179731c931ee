// An index is brought to its dataset's version: what is the same keeps its vector, searches go on.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'

const data = freshDir()
let server = await startServer(data)
const line = (id, text) => JSON.stringify({ id, text })
const ingest = (lines, mode) => call(server, 'POST', `/ingest/file?dataset=notes&format=ndjson&mode=${mode}`, lines.join('\n'))
const refresh = () => call(server, 'POST', '/vectors/indexes/notes/refresh?wait=true')
const hits = async query => (await call(server, 'POST', '/vectors/search', { index: 'notes', query, k: 5 })).json.hits
const index = async () => (await call(server, 'GET', '/vectors/indexes/notes')).json
const topics = 'river stone cloud engine garden mirror copper violin harbor lantern'.split(' ')
const rows = Array.from({ length: 2000 }, (_, i) => line(i, `${topics[i % 10]} ${topics[i % 7]} number${i}`))
await ingest(rows, 'create')
same((await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'notes', dataset: 'notes', text_column: 'text' })).status, 201)

await check('appended rows are embedded alone, and found', async () => {
  const vector = (await hits('number7'))[0].score
  await ingest([line(5000, 'a submarine under the ice'), line(5001, 'ice cream')], 'append')
  same((await index()).stale, true)
  const done = await refresh()
  same([done.status, done.json?.embedded, done.json?.reused, done.json?.removed, done.json?.rows], [200, 2, 2000, 0, 2002], done.text)
  same([(await index()).stale, (await index()).rows, (await hits('submarine'))[0].doc_id], [false, 2002, '5000'])
  same((await hits('number7'))[0].score, vector)
  same((await hits('submarine'))[0].row.text, 'a submarine under the ice')
})

await check('changed and removed rows are embedded anew and gone; a second refresh has nothing to do', async () => {
  await ingest([...rows.slice(0, 1500), line(1600, 'a changed zeppelin')], 'replace')
  const done = (await refresh()).json
  same([done.embedded, done.reused, done.removed, done.rows], [1, 1500, 502, 1501])
  same((await hits('zeppelin'))[0].doc_id, '1600')
  truth((await hits('submarine')).every(hit => hit.doc_id !== '5000'), 'a removed row was found')
  const again = (await refresh()).json
  same([again.embedded, again.reused, again.removed], [0, 1501, 0])
})

await check('searches go on while it runs, and see the old rows or the new', async () => {
  await ingest([line(7000, 'a unicorn in the garden')], 'append')
  const done = refresh()
  let ended = false
  done.then(() => { ended = true })
  for (let asked = 0; !ended || asked < 5; asked++) {
    const found = await hits('zeppelin')
    same(found[0].doc_id, '1600')
  }
  same((await done).json.embedded, 1)
  same((await hits('unicorn'))[0].doc_id, '7000')
})

await check('it leaves one build, and is there after a kill', async () => {
  for (const folder of ['hnsw', 'vectors', 'text']) same(readdirSync(join(data, 'primary/vectors/notes', folder)).length, 1, folder)
  await server.stop('SIGKILL')
  server = await startServer(data)
  same((await hits('unicorn'))[0].doc_id, '7000')
})

await check('eval answers follow the rows', async () => {
  await call(server, 'PUT', '/vectors/evals/notes/e', { queries: ['walrus'] })
  await ingest([line(8000, 'walrus')], 'append')
  await refresh()
  const { queries } = (await call(server, 'GET', '/vectors/evals/notes/e')).json
  same(queries[0].answers[0].doc_id, '8000')
})

await check('vectors of the dataset are taken anew; an index that is not there is said', async () => {
  const vectors = (from, to) => Array.from({ length: to - from }, (_, i) => JSON.stringify({ id: from + i, v: [from + i, 1, 2] })).join('\n')
  await call(server, 'POST', '/ingest/file?dataset=points&format=ndjson', vectors(0, 10))
  await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'points', dataset: 'points', vector_column: 'v', metric: 'l2' })
  await call(server, 'POST', '/ingest/file?dataset=points&format=ndjson&mode=append', vectors(10, 20))
  same((await call(server, 'POST', '/vectors/indexes/points/refresh?wait=true')).json.rows, 20)
  same((await call(server, 'POST', '/vectors/search', { index: 'points', vector: [15, 1, 2], k: 1 })).json.hits[0].doc_id, '15')
  problem(await call(server, 'POST', '/vectors/indexes/none/refresh?wait=true'), 404, 'index_not_found')
})
await server.stop()
