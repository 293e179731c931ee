import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'

const data = freshDir()
let server = await startServer(data)
const animals = ['cat: a small domestic animal that purrs', 'dog: a loyal animal that barks at strangers',
  'eagle: a bird of prey with keen eyes', 'salmon: a fish that swims up rivers to spawn',
  'bee: an insect that makes honey and stings', 'horse: a large animal that people ride']
const ndjson = animals.map((text, i) => JSON.stringify({ id: i + 1, text, legs: [4, 4, 2, 0, 6, 4][i] })).join('\n')
await call(server, 'POST', '/ingest/file?dataset=animals&format=ndjson', ndjson)
const create = (spec, wait = true) => call(server, 'POST', `/vectors/indexes?wait=${wait}`, spec)
const search = (more, headers) => call(server, 'POST', '/vectors/search', { index: 'animals', ...more }, headers)

await check('an index is built as a job that reports progress and ends', async () => {
  const started = await create({ index: 'animals', dataset: 'animals', text_column: 'text' }, false)
  same([started.status, started.headers.get('location')], [202, `/jobs/${started.json.job}`])
  const events = await (await fetch(`${server.url}/jobs/${started.json.job}/events`)).text()
  const last = JSON.parse(events.trim().split('\n\n').filter(e => e.startsWith('data: ')).pop().slice(6))
  same([last.state, last.result.index, last.result.rows], ['succeeded', 'animals', 6], events)
  same((await call(server, 'GET', '/jobs')).json[0].job, started.json.job)
})

await check('a sentence finds the document that means it, with its score, text and row', async () => {
  const answer = await search({ query: 'an insect with honey', k: 3 })
  same(answer.status, 200, answer.text)
  const [hit] = answer.json.hits
  same([hit.doc_id, hit.row.legs, hit.text], ['5', 6, animals[4]])
  truth(hit.score > answer.json.hits[1].score && answer.json.hits.length === 3, answer.text)
  same(answer.json.backend, 'parquet')
})

await check('exact search agrees, a filter restricts, a wider k takes what there is', async () => {
  const [walked, exact] = await Promise.all([search({ query: 'a loyal animal' }), search({ query: 'a loyal animal', exact: true })])
  same(walked.json.hits.map(h => h.doc_id), exact.json.hits.map(h => h.doc_id))
  const four = await search({ query: 'animal', filter: 'legs = 4' })
  same(four.json.hits.map(h => h.doc_id).sort(), ['1', '2', '6'])
  same((await search({ query: 'animal', filter: 'legs > 100' })).json.hits, [])
  same((await search({ query: 'animal', k: 100 })).json.hits.length, 6)
})

await check('words rank by how well they match, and both ways of ranking can be joined', async () => {
  const text = (await search({ query: 'animals rivers', mode: 'text', k: 10 })).json
  same([text.hits[0].doc_id, text.hits.length], ['4', 4]) // two words, one of them rare; an animal each
  truth(text.hits.every((hit, i) => i === 0 || hit.score <= text.hits[i - 1].score), text)
  same((await search({ query: 'unheard', mode: 'text' })).json.hits, [])
  same((await search({ query: 'animals', mode: 'text', filter: 'legs = 2' })).json.hits, [])
  const both = (await search({ query: 'a fish in rivers', mode: 'hybrid', k: 6 })).json.hits
  same([both[0].doc_id, both.length], ['4', 6])
  truth(Math.abs(both[0].score - 2 / 61) < 1e-6, both[0].score)
  problem(await search({ vector: [1], mode: 'text' }), 400, 'missing_field')
})

await check('a vector asks as well, as JSON or as raw floats', async () => {
  const { json: { embeddings: [vector] } } = await call(server, 'POST', '/ai/embed', { texts: ['fish rivers'] })
  const byJson = await search({ vector, k: 2 })
  same(byJson.json.hits[0].doc_id, '4')
  const raw = await call(server, 'POST', '/vectors/search?index=animals&k=2', Buffer.from(new Float32Array(vector).buffer),
    { 'content-type': 'application/octet-stream' })
  same(raw.json.hits.map(h => h.doc_id), byJson.json.hits.map(h => h.doc_id))
  const two = await call(server, 'POST', '/vectors/search?index=animals&k=1', Buffer.from(new Float32Array([...vector, ...vector]).buffer),
    { 'content-type': 'application/octet-stream' })
  same(two.json.results.map(r => r.hits[0].doc_id), ['4', '4'])
})

await check('bad searches say what is wrong', async () => {
  problem(await search({ vector: [1, 2] }), 422, 'wrong_dimension')
  problem(await search({ query: 'x', vector: [1] }), 400, 'missing_field')
  same((await search({ query: 'x', vector: null })).status, 200)
  problem(await search({ vector: 'x' }), 400, 'wrong_type')
  problem(await search({ vector: Array(384).fill('1') }), 400, 'wrong_type')
  problem(await search({}), 400, 'missing_field')
  problem(await search({ query: 'x', k: 0 }), 400, 'out_of_range')
  problem(await search({ query: 'x', filter: 'wings = 2' }), 400, 'sql_error')
  problem(await search({ query: 'x', filter: "id IN (SELECT * FROM read_csv('/etc/passwd'))" }), 403, 'sql_forbidden')
  truth(problem(await call(server, 'POST', '/vectors/search', { index: 'animels', query: 'x' }), 404, 'index_not_found').includes('animals'), 'a guess')
})

await check('a column that holds personal data is embedded only when the index asks for it', async () => {
  await call(server, 'POST', '/ingest/file?dataset=people', 'id,email\n1,ada@example.org\n2,grace@example.org\n')
  const body = { index: 'people', dataset: 'people', text_column: 'email' }
  truth(/email/.test(problem(await create(body), 422, 'pii_column')), 'the kind is not said')
  same((await create({ ...body, embed_pii: true })).status, 201)
  await call(server, 'PATCH', '/catalog/datasets/people', { pii: { email: 'none' } })
  same((await create({ ...body, index: 'people2' })).status, 201)
})

await check('bad indexes are refused before any work', async () => {
  problem(await create({ index: 'animals', dataset: 'animals', text_column: 'text' }), 409, 'index_exists')
  problem(await create({ index: 'x', dataset: 'none', text_column: 'text' }), 404, 'dataset_not_found')
  problem(await create({ index: 'x', dataset: 'animals', text_column: 'none' }), 422, 'unknown_column')
  problem(await create({ index: 'x', dataset: 'animals', text_column: 'legs' }), 422, 'wrong_type')
  problem(await create({ index: 'x', dataset: 'animals' }), 400, 'missing_field')
  problem(await create({ index: '../x', dataset: 'animals', text_column: 'text' }), 400, 'bad_index_name')
  problem(await create({ index: 'x', dataset: 'animals', text_column: 'text', chunk: { size: 1 } }), 400, 'out_of_range')
  problem(await create({ index: 'x', dataset: 'animals', text_column: 'text', model: 'none' }), 404, 'model_not_found')
})

await check('a dataset that brings its own vectors is indexed by L2 and by dot', async () => {
  const points = Array.from({ length: 300 }, (_, i) => JSON.stringify({ doc_id: `p${i}`, v: [i / 10, Math.sin(i), 1] })).join('\n')
  await call(server, 'POST', '/ingest/file?dataset=lab.points&format=ndjson', points)
  const made = await create({ index: 'points', dataset: 'lab.points', vector_column: 'v', metric: 'l2' })
  same([made.status, made.json?.dimensions, made.json?.rows], [201, 3, 300], made.text)
  const near = await call(server, 'POST', '/vectors/search', { index: 'points', vector: [5, Math.sin(50), 1], k: 1 })
  same([near.json.hits[0].doc_id, near.json.hits[0].score], ['p50', 0], near.text)
  same((await create({ index: 'dots', dataset: 'lab.points', vector_column: 'v', metric: 'dot' })).status, 201)
  const far = await call(server, 'POST', '/vectors/search', { index: 'dots', vector: [1, 0, 0], k: 1, filter: "doc_id < 'p2'" })
  same(far.json?.hits?.[0]?.doc_id, 'p199', far.text)
  problem(await call(server, 'POST', '/vectors/search', { index: 'points', query: 'words' }), 422, 'no_model')
})

await check('vectors whose distances no float holds are refused wherever they come in, but for the cosine', async () => {
  const rows = Array.from({ length: 300 }, (_, i) => JSON.stringify({ doc_id: `p${i}`, v: [i + 1, 1, i % 100 ? 1 : 1e25] })).join('\n')
  await call(server, 'POST', '/ingest/file?dataset=lab.long&format=ndjson', rows)
  for (const vector_backend of ['parquet', 'lance']) {
    const refused = problem(await create({ index: 'long', dataset: 'lab.long', vector_column: 'v', metric: 'l2', vector_backend }), 422, 'vector_too_long')
    truth(/'p0'.*1e\+?25.*1e\+?15/.test(refused), refused)
  }
  same((await create({ index: 'long', dataset: 'lab.long', vector_column: 'v' })).status, 201)
  const ask = (index, vector) => call(server, 'POST', '/vectors/search', { index, vector, k: 1 })
  const hit = (await ask('long', [0, 0, 1e38])).json.hits[0]
  same([['p0', 'p100', 'p200'].includes(hit.doc_id), hit.score], [true, 1])
  for (const index of ['points', 'dots']) {
    problem(await ask(index, [0, 1e16, 0]), 422, 'vector_too_long')
    problem(await call(server, 'PUT', `/vectors/indexes/${index}/rows`, { rows: [{ doc_id: 'x', vector: [0, 0, -2e15] }] }), 422, 'vector_too_long')
    problem(await call(server, 'PUT', `/vectors/evals/${index}/long`, { queries: [[0, 0, 1], [1e25, 0, 0]] }), 422, 'vector_too_long')
  }
  same((await ask('points', [0, 9e14, 0])).status, 200)
  problem(await ask('points', [0, 1e39, 0]), 400, 'wrong_type')
  problem(await call(server, 'POST', '/vectors/search?index=long', Buffer.from(new Float32Array([1, NaN, 0]).buffer),
    { 'content-type': 'application/octet-stream' }), 400, 'wrong_type')
})

await check('long documents are chunked, and each counts once', async () => {
  const long = JSON.stringify({ id: 'long', text: 'Filler about nothing at all. '.repeat(80) + 'The secret word is xylophone.' })
  await call(server, 'POST', '/ingest/file?dataset=essays&format=ndjson', long + '\n' + JSON.stringify({ id: 'short', text: 'A short note.' }))
  const made = await create({ index: 'essays', dataset: 'essays', text_column: 'text', chunk: { size: 300, overlap: 50 } })
  truth(made.json.rows > 6 && made.json.documents === 2, made.text)
  const found = await call(server, 'POST', '/vectors/search', { index: 'essays', query: 'xylophone' })
  same(found.json.hits.map(h => h.doc_id), ['long', 'short'])
  truth(found.json.hits[0].text.includes('xylophone') && found.json.hits[0].chunk > 0, found.text)
  const chunks = await call(server, 'POST', '/vectors/search', { index: 'essays', query: 'xylophone', per_document: 3, k: 5 })
  same(chunks.json.hits.filter(h => h.doc_id === 'long').length, 3)
})

await check('an index over a dataset without rows is empty and answers', async () => {
  await call(server, 'POST', '/ingest/file?dataset=hollow&format=csv', 'id,text\n')
  const made = await create({ index: 'hollow', dataset: 'hollow', text_column: 'text' })
  same([made.status, made.json?.rows], [201, 0], made.text)
  same((await call(server, 'POST', '/vectors/search', { index: 'hollow', query: 'x' })).json.hits, [])
})

await check('indexes are there after a restart, say when they are stale, and hold their dataset', async () => {
  await server.stop()
  server = await startServer(data)
  same((await search({ query: 'an insect with honey', k: 1 })).json.hits[0].doc_id, '5')
  await call(server, 'POST', '/ingest/file?dataset=animals&format=ndjson&mode=append', '{"id":7,"text":"owl: a bird of the night","legs":2}')
  const index = (await call(server, 'GET', '/vectors/indexes/animals')).json
  same([index.stale, index.rows, index.dataset_version], [true, 6, 1])
  same((await search({ query: 'an insect with honey', k: 1 })).json.hits[0].row.legs, 6)
  problem(await call(server, 'DELETE', '/catalog/datasets/animals'), 409, 'dataset_in_use')
})

await check('what a crash left goes at a later start, and nothing else', async () => {
  const object = key => `/storage/buckets/primary/objects/${key}`
  const strays = ['warehouse/main/animals/data/stray.parquet', 'warehouse/main/animals/data/stray-2.parquet',
    'vectors/animals/hnsw/stray.idx', 'vectors/unknown/hnsw/stray.idx']
  for (const key of strays) same((await call(server, 'PUT', object(key), 'x')).status, 201)
  same((await call(server, 'PUT', object('raw/mine'), 'x')).status, 201)
  await new Promise(resolve => setTimeout(resolve, 1100))
  await server.stop()
  server = await startServer(data, { env: { LAKEHOUSE_STORAGE_SWEEP_AGE_S: '1' } })
  for (let i = 0; i < 100; i++) {
    const { json: [job] } = await call(server, 'GET', '/jobs')
    if (job?.state === 'succeeded') { same(job.result, { files_removed: 4 }); break }
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  for (const key of strays) same((await call(server, 'GET', object(key))).status, 404, key)
  same((await call(server, 'GET', object('raw/mine'))).status, 200)
  same((await search({ query: 'an insect with honey', k: 1 })).json.hits[0].doc_id, '5')
  for (const version of [1, 2])
    same((await call(server, 'POST', '/query', { sql: 'SELECT count(*) FROM animals', as_of: { animals: version } })).json.rows, [[5 + version]])
})

await check('lineage leads from the source over the dataset to its indexes', async () => {
  const { nodes, edges } = (await call(server, 'GET', '/catalog/lineage/animals')).json
  same(nodes.map(n => n.kind), ['dataset', 'source', 'index'])
  same(edges.map(e => [e.from, e.to]), [['http:request body', 'dataset:animals'], ['http:request body', 'dataset:animals'], ['dataset:animals', 'index:animals']])
})

await check('a deleted index leaves nothing behind', async () => {
  same((await call(server, 'DELETE', '/vectors/indexes/animals')).status, 200)
  problem(await search({ query: 'x' }), 404, 'index_not_found')
  const left = await call(server, 'GET', '/storage/buckets/primary/objects?prefix=vectors/animals/')
  same(left.json.objects, [])
})

await check('a cancelled build leaves nothing behind', async () => {
  const many = Array.from({ length: 30000 }, (_, i) => JSON.stringify({ id: i, text: `number ${i} and words ${i * 7} that differ ${i * 13}` })).join('\n')
  await call(server, 'POST', '/ingest/file?dataset=many&format=ndjson', many)
  const { json: { job } } = await create({ index: 'many', dataset: 'many', text_column: 'text' }, false)
  await new Promise(resolve => setTimeout(resolve, 300))
  await call(server, 'DELETE', `/jobs/${job}`)
  for (let i = 0; i < 200; i++) {
    const { json: { state } } = await call(server, 'GET', `/jobs/${job}`)
    if (state !== 'running' && state !== 'queued') { same(state, 'cancelled'); break }
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  problem(await call(server, 'GET', '/vectors/indexes/many'), 404, 'index_not_found')
  same((await call(server, 'GET', '/storage/buckets/primary/objects?prefix=vectors/many/')).json.objects, [])
})

await server.stop()
