import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { arrow, info, lancedb, ours } from '../lance/lancedb.mjs'
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'

const data = freshDir()
let server = await startServer(data)
const topics = 'river stone cloud engine garden mirror copper violin harbor lantern'.split(' ')
const texts = Array.from({ length: 3000 }, (_, i) => `${topics[i % 10]} ${topics[i % 7]} number${i}`)
const line = (id, text) => JSON.stringify({ id, text, even: id % 2 === 0 })
await call(server, 'POST', '/ingest/file?dataset=notes&format=ndjson', texts.map((text, i) => line(i, text)).join('\n'))
const search = (index, more) => call(server, 'POST', '/vectors/search', { index, rows: false, ...more })
const lance = (verb, what, body) => call(server, verb, `/vectors/lance/${what}`, body)
const stats = async (index = 'notes') => (await lance('GET', `stats/${index}`)).json
const ids = answer => { truth(answer.json?.hits, answer.text); return answer.json.hits.map(hit => hit.doc_id) }
const table = async (index = 'notes') => (await lancedb.connect(join(data, `primary/vectors/${index}`))).openTable('docs')

await check('an index of backend "lance" is a Lance table with IVF_PQ and a btree, searched like any other', async () => {
  const made = await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'notes', dataset: 'notes', text_column: 'text', vector_backend: 'lance' })
  same([made.status, made.json?.rows, made.json?.vector_backend], [201, 3000, 'lance'], made.text)
  truth(made.json.config.partitions === 55 && made.json.config.nprobes > 0 && made.json.config.refine === 10, made.text)
  const found = await search('notes', { query: texts[1234], k: 3 })
  same([found.json.backend, found.json.hits[0].doc_id, found.json.hits[0].text], ['lance', '1234', texts[1234]], found.text)
  truth(Math.abs(found.json.hits[0].score - 1) < 1e-4, found.text)
  same(ids(await search('notes', { query: 'number77' })).slice(0, 1), ['77'])
  const filtered = await search('notes', { query: texts[8], filter: 'NOT even', k: 5 })
  truth(filtered.json.hits.length === 5 && ids(filtered).every(id => id % 2 === 1), filtered.text)
  for (const mode of ['text', 'hybrid']) same(ids(await search('notes', { query: texts[99], mode, k: 1 })), ['99'])
  const shape = await stats()
  same([shape.rows, shape.fragments, shape.indexes.map(i => [i.name, i.type, i.rows_indexed, i.rows_unindexed])],
    [3000, 1, [['doc_id_idx', 'BTREE', 3000, 0], ['vector_idx', 'IVF_PQ', 3000, 0]]])
})

await check('the same search by its own route; another backend, index or configuration is refused', async () => {
  same(ids(await lance('POST', 'search/notes', { query: texts[5], k: 1, nprobes: 3, refine: 20, rows: false })), ['5'])
  await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'plain', dataset: 'notes', text_column: 'text' })
  for (const [verb, what, body] of [['POST', 'search/plain', { query: 'x' }], ['GET', 'stats/plain'], ['GET', 'doc/plain/5'],
    ['POST', 'append/plain', { rows: [{ doc_id: 'x', text: 'x' }] }], ['POST', 'index/plain?wait=true', {}]])
    problem(await lance(verb, what, body), 409, 'wrong_backend')
  problem(await lance('POST', 'migrate/notes?wait=true'), 409, 'already_lance')
  problem(await lance('GET', 'stats/none'), 404, 'index_not_found')
  problem(await lance('POST', 'search/notes', { query: 'x', nprobes: 0 }), 400, 'out_of_range')
  problem(await lance('POST', 'search/notes', { query: 'x', ef: 10 }), 400, 'unknown_field')
})

await check('a document is read by its id', async () => {
  const doc = (await lance('GET', 'doc/notes/1234')).json
  same([doc.doc_id, doc.chunks.length, doc.chunks[0].chunk, doc.chunks[0].text], ['1234', 1, 0, texts[1234]])
  same(ids(await search('notes', { vector: doc.chunks[0].vector, k: 1 })), ['1234'])
  problem(await lance('GET', 'doc/notes/nobody'), 404, 'document_not_found')
})

await check('raw floats are searched for with nprobes and refine of the query string', async () => {
  const { vector } = (await lance('GET', 'doc/notes/700')).json.chunks[0], wide = { k: 5, nprobes: 55, refine: 50 }
  const raw = await call(server, 'POST', `/vectors/search?index=notes&${new URLSearchParams(wide)}`,
    Buffer.from(new Float32Array(vector).buffer), { 'content-type': 'application/octet-stream' })
  same(raw.json.hits.map(hit => hit.doc_id), ids(await search('notes', { vector, ...wide })))
  problem(await call(server, 'POST', '/vectors/search?index=notes&nprobes=0', '', { 'content-type': 'application/octet-stream' }), 400, 'out_of_range')
})

await check('LanceDB opens the table, finds the same neighbours through our index, and its rows by the btree', async () => {
  const theirs = await table()
  same(await theirs.countRows(), 3000)
  for (const id of [3, 700, 2999]) {
    const { vector } = (await lance('GET', `doc/notes/${id}`)).json.chunks[0]
    const query = theirs.vectorSearch(vector).distanceType('cosine').nprobes(55).refineFactor(50).limit(5).select(['doc_id', '_distance'])
    truth(/ANN/.test(await query.explainPlan(true)), 'no index')
    const rows = await query.toArray(), hits = (await search('notes', { vector, k: 5, nprobes: 55, refine: 50 })).json.hits
    rows.forEach((row, i) => truth(Math.abs(1 - row._distance - hits[i].score) < 1e-5, `${row.doc_id} ${hits[i].doc_id}`))
    same(rows[0].doc_id, String(id))
  }
  truth(/ScalarIndexQuery/.test(await theirs.query().where("doc_id = '5'").explainPlan(true)), 'no btree')
})

await check('appended rows are found at once, nothing is rewritten, the index stays; a new build takes them in', async () => {
  const before = await stats()
  const added = await lance('POST', 'append/notes', { rows: [{ doc_id: 'new1', text: 'a submarine under the ice' }, { doc_id: 'new2', text: 'unheard zeppelins' }] })
  same([added.status, added.json?.appended, added.json?.rows], [200, 2, 3002], added.text)
  for (const mode of ['vector', 'text', 'hybrid']) same(ids(await search('notes', { query: 'submarine', k: 1, mode })), ['new1'], mode)
  same((await lance('GET', 'doc/notes/new2')).json.chunks[0].text, 'unheard zeppelins')
  const after = await stats()
  same([after.version, after.fragments], [before.version + 1, 2])
  same(after.indexes.map(i => [i.rows_indexed, i.rows_unindexed]), [[3000, 2], [3000, 2]])
  same(await (await table()).countRows(), 3002)
  for (const [rows, status, code] of [[[], 400, 'empty_list'], [[{ text: 'x' }], 400, 'missing_field'], [[{ doc_id: 'x' }], 400, 'missing_field'],
    [[{ doc_id: 'x', text: 'x', color: 1 }], 400, 'unknown_field'], [[{ doc_id: 'x', vector: [1] }], 422, 'wrong_dimension']])
    problem(await lance('POST', 'append/notes', { rows }), status, code)
  const built = await lance('POST', 'index/notes?wait=true', { num_partitions: 20, num_bits: 8, max_iters: 10 })
  same([built.status, built.json?.config.partitions], [200, 20], built.text)
  same((await stats()).indexes.map(i => [i.rows_indexed, i.rows_unindexed]), [[3002, 0], [3002, 0]])
  same(ids(await search('notes', { query: 'zeppelins', k: 1 })), ['new2'])
})

await check('many appends do not leave many fragments, nor many rows without an index', async () => {
  for (let i = 0; i < 70; i++)
    same((await lance('POST', 'append/notes', { rows: Array.from({ length: 50 }, (_, k) => ({ doc_id: `many${i * 50 + k}`, text: `many gooseberries ${i * 50 + k}` })) })).status, 200)
  const after = await stats()
  same(after.rows, 6502)
  truth(after.fragments < 64 && after.indexes.every(i => i.rows_unindexed < 2000), JSON.stringify(after))
  same(ids(await search('notes', { query: 'many gooseberries 3456', k: 1 })), ['many3456'])
  same(ids(await search('notes', { query: texts[2345], mode: 'hybrid', k: 1 })), ['2345'])
})

await check('words find their rows after appends so large that the small ones before them cannot be joined alone', async () => {
  await call(server, 'POST', '/ingest/file?dataset=few&format=ndjson', Array.from({ length: 300 }, (_, i) => line(i, `few words number${i}`)).join('\n'))
  same((await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'few', dataset: 'few', text_column: 'text', vector_backend: 'lance' })).status, 201)
  const append = (name, count, row) => lance('POST', 'append/few', { rows: Array.from({ length: count }, (_, i) => ({ doc_id: `${name}.${i}`, ...row })) })
  for (let i = 0; i < 5; i++) same((await append(`a${i}`, 1, { text: 'small' })).status, 200)
  for (const name of ['b', 'c', 'e']) same((await append(name, 9000, { text: 'large' })).status, 200)
  for (let i = 0; i < 60; i++) same((await append(`d${i}`, 1, { text: 'small' })).status, 200)
  same((await stats('few')).rows, 300 + 5 + 27000 + 60)
  for (const id of [7, 299]) same(ids(await search('few', { query: `number${id}`, mode: 'text', k: 1 })), [`${id}`])
  await call(server, 'DELETE', '/vectors/indexes/few')
})

await check('trials measure other partitions and probes, leave the table alone, and can be promoted and rolled back', async () => {
  same((await call(server, 'PUT', '/vectors/evals/notes/s', { sample: 60, seed: 3 })).status, 201)
  const before = await stats(), trial = config => call(server, 'POST', '/vectors/trials/notes', { config, eval: 's' })
  const few = (await trial({ nprobes: 1, refine: 1 })).json, many = (await trial({ partitions: 40, sub_vectors: 64, nprobes: 40, refine: 20 })).json
  truth(many.recall > 0.95 && few.recall < many.recall && many.build_ms > 0 && many.config.partitions === 40, JSON.stringify([few, many]))
  same(await stats(), before)
  problem(await trial({ ef_search: 10 }), 400, 'unknown_field')
  const promoted = await call(server, 'POST', '/vectors/promotions/notes', { trial: 2 })
  same([promoted.status, promoted.json?.config.partitions], [200, 40], promoted.text)
  truth((await stats()).version > before.version, 'no new version')
  same((await call(server, 'POST', '/vectors/promotions/notes/rollback')).json.config.partitions, 20)
  const tuned = await call(server, 'POST', '/vectors/autotune/notes?wait=true', { grid: { nprobes: [2, 20], refine: [4, 20] }, eval: 's', min_recall: 0.9, promote: true })
  same(tuned.status, 200, tuned.text)
})

await check('a refresh takes the dataset\'s rows, embedding what is new, and keeps what was appended', async () => {
  await call(server, 'POST', '/ingest/file?dataset=notes&format=ndjson&mode=append', line(9000, 'a glacier calves'))
  const done = (await call(server, 'POST', '/vectors/indexes/notes/refresh?wait=true')).json
  same([done.rows, done.embedded, done.reused], [6503, 1, 3000], JSON.stringify(done))
  same(ids(await search('notes', { query: 'glacier', k: 1 })), ['9000'])
  same(ids(await search('notes', { query: 'submarine', k: 1, exact: true })), ['new1'])
  same((await stats()).rows, 6503)
})

await check('an append of a document that is there replaces it; rows are put and deleted as in any index', async () => {
  const rows = (verb, body) => call(server, verb, '/vectors/indexes/notes/rows', body)
  same((await lance('POST', 'append/notes', { rows: [{ doc_id: 'new1', text: 'a bathyscaphe' }] })).json.rows, 6503)
  same((await lance('GET', 'doc/notes/new1')).json.chunks.map(chunk => chunk.text), ['a bathyscaphe'])
  for (const mode of ['vector', 'text', 'hybrid']) same(ids(await search('notes', { query: 'bathyscaphe', k: 1, mode })), ['new1'], mode)
  same((await rows('DELETE', { doc_ids: ['new2', 'many3', 'nobody'] })).json.deleted, 2)
  problem(await lance('GET', 'doc/notes/new2'), 404, 'document_not_found')
  same((await rows('PUT', { rows: [{ doc_id: '5', text: 'a theodolite' }] })).json.upserted, 1)
  same(ids(await search('notes', { query: 'theodolite', k: 1 })), ['5'])
  same((await call(server, 'POST', '/vectors/indexes/notes/compact?wait=true')).status, 200)
  same([(await stats()).rows, await (await table()).countRows("doc_id = 'new1'")], [6501, 1])
  same(ids(await search('notes', { query: 'bathyscaphe', k: 1 })), ['new1'])
})

await check('appends side by side are all taken, and each is durable when it is answered', async () => {
  const before = (await stats()).rows
  const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => lance('POST', 'append/notes', { rows: [{ doc_id: `side${i}`, text: `sidecar number${5000 + i}` }] })))
  for (const answer of answers) same(answer.status, 200, answer.text)
  await server.stop('SIGKILL')
  server = await startServer(data)
  for (let i = 0; i < 40; i++) same((await lance('GET', `doc/notes/side${i}`)).json.chunks[0].text, `sidecar number${5000 + i}`)
  await lance('POST', 'append/notes', { rows: [{ doc_id: 'last', text: 'the last one' }] })
  same((await stats()).rows, before + 41)
})

await check('an index of the other backend becomes a Lance table, with the same vectors and no embedding', async () => {
  const query = { query: texts[42], k: 5, exact: true }, before = (await search('plain', query)).json.hits
  const done = await lance('POST', 'migrate/plain?wait=true')
  same([done.status, done.json?.vector_backend, done.json?.rows], [200, 'lance', 3000], done.text)
  const after = (await search('plain', query)).json
  same([after.backend, after.hits.map(h => [h.doc_id, h.text])], ['lance', before.map(h => [h.doc_id, h.text])])
  after.hits.forEach((hit, i) => truth(Math.abs(hit.score - before[i].score) < 1e-5, `${hit.score} ${before[i].score}`))
  same(await (await table('plain')).countRows(), 3000)
})

await check('and back again, with rows put meanwhile; the table goes', async () => {
  same((await call(server, 'PUT', '/vectors/indexes/plain/rows', { rows: [{ doc_id: 'p', text: 'a pantograph' }] })).status, 200)
  same((await call(server, 'DELETE', '/vectors/indexes/plain/rows', { doc_ids: ['0'] })).json.deleted, 1)
  const query = { query: texts[42], k: 5, exact: true }, before = (await search('plain', query)).json.hits
  const done = await lance('POST', 'migrate/plain?to=parquet&wait=true')
  same([done.status, done.json?.vector_backend, done.json?.rows, done.json?.config], [200, 'parquet', 3000, { m: 16, ef_construction: 200, ef_search: 256 }], done.text)
  const after = (await search('plain', query)).json
  same([after.backend, after.hits.map(h => [h.doc_id, h.text])], ['parquet', before.map(h => [h.doc_id, h.text])])
  after.hits.forEach((hit, i) => truth(Math.abs(hit.score - before[i].score) < 1e-5, `${hit.score} ${before[i].score}`))
  for (const mode of ['vector', 'text']) same(ids(await search('plain', { query: 'pantograph', k: 1, mode })), ['p'], mode)
  truth(!existsSync(join(data, 'primary/vectors/plain/docs.lance')), 'the table is still there')
  problem(await lance('POST', 'migrate/plain?to=parquet&wait=true'), 409, 'already_parquet')
  problem(await lance('POST', 'migrate/plain?to=hnsw'), 400, 'invalid_request')
  same((await lance('POST', 'migrate/plain?wait=true')).json.rows, 3000)
})

await check('a table of file version 2.2 keeps it through appends, deletes, a fold, a refresh, new indexes and a migration, and LanceDB reads it', async () => {
  const make = more => call(server, 'POST', '/vectors/indexes?wait=true', { index: 'modern', dataset: 'notes', text_column: 'text', vector_backend: 'lance', ...more })
  problem(await make({ lance_version: '2.3' }), 400, 'invalid_request')
  const made = await make({ lance_version: '2.2' })
  same([made.status, made.json?.lance_version], [201, '2.2'], made.text)
  let rows = made.json.rows
  const holds = async what => {
    const theirs = await table('modern')
    same([what, info(join(data, 'primary/vectors/modern'), 'docs.lance').files, await theirs.countRows()], [what, '2.2', rows])
    same((await theirs.query().where("doc_id = '1234'").select(['text']).toArray()).map(row => row.text), [texts[1234]], what)
    same(ids(await search('modern', { query: texts[1234], k: 1 })), ['1234'], what)
    same((await call(server, 'GET', '/vectors/indexes/modern')).json.lance_version, '2.2', what)
  }
  await holds('created')
  const done = async (verb, path, body) => { const answer = await call(server, verb, path, body); same(answer.status, 200, answer.text); return answer.json }
  for (let i = 0; i < 70; i++, rows++) await done('POST', '/vectors/lance/append/modern', { rows: [{ doc_id: `fresh${i}`, text: `fresh figs ${i}` }] })
  await holds('appended')
  await done('DELETE', '/vectors/indexes/modern/rows', { doc_ids: ['77', 'fresh3'] })
  rows = (await done('POST', '/vectors/indexes/modern/compact?wait=true')).rows
  await holds('folded')
  await call(server, 'POST', '/ingest/file?dataset=notes&format=ndjson&mode=append', line(9999, 'a refreshing lemonade'))
  rows = (await done('POST', '/vectors/indexes/modern/refresh?wait=true')).rows
  await holds('refreshed')
  await done('POST', '/vectors/lance/index/modern?wait=true', { num_partitions: 20 })
  await holds('indexed')
  same((await done('POST', '/vectors/lance/migrate/modern?to=parquet&wait=true')).lance_version, null)
  await done('POST', '/vectors/lance/migrate/modern?lance_version=2.2&wait=true')
  await holds('migrated')
  await done('DELETE', '/vectors/indexes/modern')
})

await check('what a build of another file version left behind is no hindrance', async () => {
  ours(join(data, 'primary/vectors/left'), 'create', 'docs.lance', '2.1', 'doc_id=string')
  const made = await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'left', dataset: 'notes', text_column: 'text', vector_backend: 'lance', lance_version: '2.2' })
  same([made.status, info(join(data, 'primary/vectors/left'), 'docs.lance').files], [201, '2.2'], made.text)
  await call(server, 'DELETE', '/vectors/indexes/left')
})

await check('what LanceDB does to the table does no harm: the index stays at its version until it is built anew', async () => {
  const theirs = await table()
  await theirs.delete("doc_id = '7'")
  await theirs.optimize()
  same(ids(await search('notes', { query: texts[7], k: 1 })), ['7'])
  same((await lance('POST', 'append/notes', { rows: [{ doc_id: 'x', text: 'a xylophone' }] })).status, 200)
  same([ids(await search('notes', { query: 'xylophone', k: 1 })), await (await table()).countRows("doc_id = 'x'")], [['x'], 0])
  same((await lance('POST', 'index/notes?wait=true', {})).status, 200)
  for (const mode of ['text', 'hybrid']) same(ids(await search('notes', { query: texts[2001], mode, k: 1 })), ['2001'])
  truth(!ids(await search('notes', { query: texts[7], k: 10 })).includes('7'), 'a deleted row was found')
  same(ids(await search('notes', { query: 'xylophone', k: 1 })), ['x'])
  await lance('POST', 'append/notes', { rows: [{ doc_id: 'y', text: 'yonder' }] })
  same(await (await table()).countRows("doc_id = 'x' OR doc_id = 'y'"), 2)
})

await check('all of it is there after a kill, and a deleted index leaves nothing', async () => {
  await server.stop('SIGKILL')
  server = await startServer(data)
  same(ids(await search('notes', { query: texts[8], k: 1 })), ['8'])
  same((await stats('plain')).indexes.length, 2)
  same((await call(server, 'DELETE', '/vectors/indexes/notes')).status, 200)
  let gone = false
  try { gone = (await (await table()).countRows()) < 0 } catch { gone = true }
  truth(gone, 'the table is still there')
})

