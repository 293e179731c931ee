// vector_search() in SQL: it finds what POST /vectors/search finds, joins with datasets, and opens nothing else.
import { readdirSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'

const data = freshDir()
let server = await startServer(data)
const people = ['Grace wrote a compiler and a manual for it', 'Alan broke ciphers with machines', 'Barbara proved programs right',
  'Frances made compilers that optimise', 'Ken wrote an operating system', 'Ada wrote the first program']
const lines = (texts, more) => texts.map((about, i) => JSON.stringify({ id: i + 1, about, team: i % 2 ? 'b' : 'a', ...more })).join('\n')
const ingest = (dataset, body, mode = 'create') => call(server, 'POST', `/ingest/file?dataset=${dataset}&format=ndjson&mode=${mode}`, body)
const create = spec => call(server, 'POST', '/vectors/indexes?wait=true', spec)
const sql = (text, more = {}) => call(server, 'POST', '/query', { sql: text, ...more })
const rows = async (text, more) => {
  const answer = await sql(text, more)
  same(answer.status, 200, answer.text)
  return answer.json.rows
}
const search = more => call(server, 'POST', '/vectors/search', { index: 'people', rows: false, ...more })
const hitRows = hits => hits.map(h => [h.doc_id, h.chunk, h.score, h.text ?? null])

await ingest('people', lines(people))
await ingest('lab.dots', [[1, 0], [0, 1], [0.6, 0.8]].map((v, i) => JSON.stringify({ id: `p${i}`, v })).join('\n'))
await create({ index: 'people', dataset: 'people', text_column: 'about' })
await create({ index: 'dots', dataset: 'lab.dots', vector_column: 'v' })

await check('it answers what the route answers: documents, chunks, scores, texts, best first', async () => {
  for (const [args, body] of [["'a compiler', 3", { query: 'a compiler', k: 3 }], ["'a compiler'", { query: 'a compiler' }],
    ["'a compiler', k := 2", { query: 'a compiler', k: 2 }], ["'compiler', mode := 'text'", { query: 'compiler', mode: 'text' }],
    ["'wrote', 4, mode := 'hybrid', ef := 64, exact := true, filter := 'id > 1'", { query: 'wrote', k: 4, mode: 'hybrid', ef: 64, exact: true, filter: 'id > 1' }],
    ["'wrote', filter := 'team = ''b'' AND id IN (SELECT max(id) FROM people)'", { query: 'wrote', filter: "team = 'b' AND id = 6" }]]) {
    const found = hitRows((await search(body)).json.hits)
    truth(found.length > 0, `nothing for ${args}`)
    same(await rows(`SELECT * FROM vector_search('people', ${args})`), found, args)
  }
})

await check('its columns are doc_id, chunk, score and text', async () => {
  const { columns } = (await sql("SELECT * FROM vector_search('people', 'x', 1)")).json
  same(columns.map(c => [c.name, c.type]), [['doc_id', 'VARCHAR'], ['chunk', 'INTEGER'], ['score', 'FLOAT'], ['text', 'VARCHAR']])
})

await check('a vector is a list of numbers of any type, or an array; an index without texts has NULL as text', async () => {
  const wanted = (await call(server, 'POST', '/vectors/search', { index: 'dots', vector: [0.5, 0.75], k: 2, rows: false })).json.hits
  for (const vector of ['[0.5, 0.75]', '[0.5, 0.75]::DOUBLE[]', '[0.5, 0.75]::FLOAT[2]', '[5e-1, 75e-2]', "list_value(0.5, '0.75'::DECIMAL(9, 3))"])
    same(await rows(`SELECT * FROM vector_search('dots', ${vector}, 2)`), hitRows(wanted), vector)
  same((await rows("SELECT doc_id FROM vector_search('dots', [1, 0], 1)")), [['p0']])
})

await check('words, vectors, k and filters may be parameters', async () => {
  const [first] = (await search({ query: 'a compiler', k: 1 })).json.hits
  same(await rows("SELECT doc_id FROM vector_search('people', $1, 1)", { params: ['a compiler'] }), [[first.doc_id]])
  same(await rows('SELECT doc_id FROM vector_search(?, ?, ?)', { params: ['people', 'a compiler', 1] }), [[first.doc_id]])
  same(await rows("SELECT doc_id FROM vector_search('dots', $1, 1)", { params: [[0, 1]] }), [['p1']])
  same(await rows("SELECT doc_id FROM vector_search('people', $1, filter := $2)", { params: ['a compiler', 'id = 5'] }), [['5']])
})

await check('hits join with rows, and several searches join with each other', async () => {
  const joined = await rows("SELECT p.id, p.team, v.score FROM vector_search('people', 'a compiler', 5) v " +
    'JOIN people p ON CAST(p.id AS VARCHAR) = v.doc_id ORDER BY v.score DESC')
  const { hits } = (await search({ query: 'a compiler', k: 5 })).json
  same(joined.map(r => [String(r[0]), r[2]]), hits.map(h => [h.doc_id, h.score]))
  same(joined.map(r => r[1]), joined.map(r => (r[0] % 2 ? 'a' : 'b')))
  same(await rows("SELECT count(*) FROM vector_search('people', 'a', 6) a JOIN vector_search('people', 'b', 6) b USING (doc_id)"), [[6]])
  same(await rows("WITH v AS (SELECT * FROM vector_search('people', 'x', 6)) SELECT count(*) FROM v a, v b"), [[36]])
  same(await rows("SELECT count(*) FROM people WHERE CAST(id AS VARCHAR) IN (SELECT doc_id FROM vector_search('people', 'x', 2))"), [[2]])
  same(await rows("SELECT team, (SELECT count(*) FROM vector_search('people', 'x', 3)) FROM people ORDER BY id LIMIT 1"), [['a', 3]])
  same(await rows("SELECT doc_id FROM vector_search('people', 'x', 6) ORDER BY doc_id LIMIT 2 OFFSET 1"), [['2'], ['3']])
  same(await rows("SELECT d.id FROM lab.dots d JOIN vector_search('dots', [1, 0], 1) v ON v.doc_id = d.id"), [['p0']])
})

await check('every format streams it', async () => {
  const csv = await sql("SELECT doc_id, chunk FROM vector_search('dots', [1, 0], 1)", { format: 'csv' })
  same(csv.text.trim().split(/\r?\n/), ['doc_id,chunk', 'p0,0'])
  same((await sql("SELECT * FROM vector_search('people', 'x')", { format: 'parquet' })).status, 200)
})

await check('rows put into the index are found at once; as_of is of datasets, not of the index', async () => {
  await call(server, 'PUT', '/vectors/indexes/people/rows', { rows: [{ doc_id: '7', text: 'Radia spans trees of bridges' }] })
  same(await rows("SELECT doc_id FROM vector_search('people', 'Radia spans trees of bridges', 1)"), [['7']])
  await ingest('people', JSON.stringify({ id: 7, about: 'Radia', team: 'c' }), 'append')
  const join = "SELECT p.team FROM vector_search('people', 'Radia spans trees of bridges', 1) v JOIN people p ON CAST(p.id AS VARCHAR) = v.doc_id"
  same(await rows(join, { as_of: { people: 1 } }), [])
  same(await rows(join), [['c']])
})

await check('its errors are the route’s', async () => {
  problem(await sql("SELECT * FROM vector_search('peeple', 'x')"), 404, 'index_not_found')
  problem(await sql("SELECT * FROM vector_search('dots', [1, 2, 3])"), 422, 'wrong_dimension')
  problem(await sql("SELECT * FROM vector_search('dots', $1)", { params: [[1, 2, 3]] }), 422, 'wrong_dimension')
  problem(await sql("SELECT * FROM vector_search('dots', []::DOUBLE[])"), 422, 'wrong_dimension')
  problem(await sql("SELECT * FROM vector_search('dots', 'words')"), 422, 'no_model')
  problem(await sql("SELECT * FROM vector_search('people', NULL)"), 400, 'missing_field')
  problem(await sql("SELECT * FROM vector_search('people', '')"), 400, 'missing_field')
  problem(await sql("SELECT * FROM vector_search(NULL, 'x')"), 400, 'missing_field')
  problem(await sql("SELECT * FROM vector_search('people', 'x', 0)"), 400, 'out_of_range')
  problem(await sql("SELECT * FROM vector_search('people', 'x', 1000000000)"), 400, 'out_of_range')
  problem(await sql("SELECT * FROM vector_search('people', 'x', 1.5)"), 400, 'wrong_type')
  problem(await sql("SELECT * FROM vector_search('people', 'x', 'y')"), 400, 'wrong_type')
  problem(await sql("SELECT * FROM vector_search('people', ['x'])"), 400, 'wrong_type')
  problem(await sql("SELECT * FROM vector_search('people', [[1]])"), 400, 'wrong_type')
  problem(await sql("SELECT * FROM vector_search('dots', [1, NULL])"), 400, 'wrong_type')
  problem(await sql("SELECT * FROM vector_search('dots', ['nan'::DOUBLE, 1])"), 400, 'wrong_type')
  problem(await sql("SELECT * FROM vector_search('dots', [1e300, 1])"), 400, 'wrong_type')
  problem(await sql("SELECT * FROM vector_search('people', {'a': 1})"), 400, 'wrong_type')
  problem(await sql("SELECT * FROM vector_search('people', current_date)"), 400, 'wrong_type')
  same((await sql("SELECT * FROM vector_search('people', 'x', mode := 'best')")).status, 400)
  problem(await sql("SELECT * FROM vector_search('people', 'x', filter := 'wings = 2')"), 400, 'sql_error')
  problem(await sql("SELECT * FROM vector_search('people', 'x', depth := 2)"), 400, 'sql_error')
  problem(await sql("SELECT * FROM vector_search('people')"), 400, 'sql_error')
  problem(await sql("SELECT * FROM people p, vector_search('people', p.about)"), 400, 'sql_error')
  problem(await sql("SELECT vector_search('people', 'x')"), 400, 'sql_error')
  problem(await sql('SELECT * FROM vector_search'), 404, 'dataset_not_found')
})

await check('a filter passes the policy as any statement, and cannot be left', async () => {
  const filtered = filter => sql("SELECT * FROM vector_search('people', 'x', filter := $1)", { params: [filter] })
  problem(await filtered("id IN (SELECT * FROM read_csv('/etc/passwd'))"), 403, 'sql_forbidden')
  problem(await filtered('true); SELECT * FROM (SELECT 1'), 403, 'sql_forbidden')
  problem(await filtered("getenv('HOME') = 'x'"), 403, 'sql_forbidden')
  problem(await filtered('id IN (SELECT id FROM nothing)'), 404, 'dataset_not_found')
  problem(await filtered('(true'), 400, 'sql_error')
})

await check('a search within the filter of a search of SQL is refused, and so is the function below', async () => {
  const inner = "CAST(id AS VARCHAR) IN (SELECT doc_id FROM vector_search('people', 'a compiler', 1))"
  problem(await sql("SELECT * FROM vector_search('people', 'x', filter := $1)", { params: [inner] }), 403, 'sql_forbidden')
  same((await search({ query: 'x', filter: inner })).json.hits.length, 1) // of a route it is the first
  const deeper = inner.replace("'a compiler', 1", `'a compiler', 1, filter := '${inner.replaceAll("'", "''")}'`)
  problem(await search({ query: 'x', filter: deeper }), 403, 'sql_forbidden')
  problem(await sql("SELECT * FROM lake_vector_search('people', 'x', 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"), 403, 'sql_forbidden')
  problem(await sql("SELECT * FROM main.vector_search('people', (SELECT content FROM read_text('/etc/passwd')))"), 403, 'sql_forbidden')
  problem(await sql("SELECT * FROM system.main.vector_search('people', 'x')"), 403, 'sql_forbidden')
})

await check('a statement searches 16 times at most; the same search in it is run once', async () => {
  const union = word => Array.from({ length: 17 }, (_, i) => `SELECT * FROM vector_search('people', '${word(i)}', 1)`).join(' UNION ALL ')
  problem(await sql(union(i => `w${i}`)), 413, 'too_large')
  const before = (await call(server, 'GET', '/metrics')).text
  same((await rows(union(() => 'w'))).length, 17)
  const count = text => Number(/^lakehouse_index_searches_total (\d+)/m.exec(text)?.[1])
  same(count((await call(server, 'GET', '/metrics')).text) - count(before), 1)
})

await check('many statements with filters at once do not wait for one another', async () => {
  const started = Date.now()
  const answers = await Promise.all(Array.from({ length: 64 }, (_, i) =>
    sql(`SELECT doc_id FROM vector_search('people', 'w${i}', 1, filter := 'id = ${i % 6 + 1}')`)))
  answers.forEach((answer, i) => same(answer.json.rows, [[String(i % 6 + 1)]], answer.text))
  truth(Date.now() - started < 4500, 'they waited for slots')
})

await check('a filter that runs too long ends with its statement', async () => {
  const slow = 'id IN (SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = 7)'
  const started = Date.now()
  problem(await sql("SELECT * FROM vector_search('people', 'x', filter := $1)", { params: [slow], timeout_ms: 300 }), 504, 'query_timeout')
  truth(Date.now() - started < 3000, 'it went on')
})

await check('rows that a search finds can be deleted from a dataset', async () => {
  await ingest('doomed', lines(people))
  const removed = await call(server, 'POST', '/catalog/datasets/doomed/delete',
    { where: "CAST(id AS VARCHAR) IN (SELECT doc_id FROM vector_search('people', 'a compiler', 2))" })
  same(removed.status, 200, removed.text)
  same(await rows('SELECT count(*) FROM doomed'), [[4]])
  problem(await call(server, 'POST', '/catalog/datasets/doomed/delete',
    { where: "id IN (SELECT chunk FROM vector_search('nothing', 'x'))" }), 404, 'index_not_found')
})

await check('a profile’s filter searches no index outside of the profile’s scope', async () => {
  await call(server, 'PUT', '/vectors/profile/narrow', { ollama_name: 'none', embed_model: 'builtin', datasets: ['people'], indexes: ['people'] })
  await create({ index: 'others', dataset: 'people', text_column: 'about' })
  const within = filter => call(server, 'POST', '/vectors/profile/narrow/search', { index: 'people', query: 'x', rows: false, filter })
  same((await within("CAST(id AS VARCHAR) IN (SELECT doc_id FROM vector_search('people', 'a compiler', 2))")).json.hits.length, 2)
  problem(await within("CAST(id AS VARCHAR) IN (SELECT doc_id FROM vector_search('dots', [1, 0]))"), 403, 'out_of_scope')
  problem(await within("CAST(id AS VARCHAR) IN (SELECT doc_id FROM vector_search('others', 'y'))"), 403, 'out_of_scope')
})

await check('backend lance is searched as the other, with its own options', async () => {
  await create({ index: 'lanced', dataset: 'people', text_column: 'about', vector_backend: 'lance' })
  const { hits } = (await search({ index: 'lanced', query: 'a compiler', k: 3, nprobes: 4, refine: 2 })).json
  same(hits.length, 3)
  same(await rows("SELECT * FROM vector_search('lanced', 'a compiler', 3, nprobes := 4, refine := 2)"), hitRows(hits))
})

await check('an index that cannot be opened answers in SQL as by route', async () => {
  await server.stop()
  for (const name of readdirSync(data, { recursive: true }).filter(n => n.endsWith('.idx'))) truncateSync(join(data, name), 100)
  server = await startServer(data)
  const byRoute = await search({ query: 'x' }), bySql = await sql("SELECT * FROM vector_search('people', 'x')")
  truth(byRoute.status >= 400, byRoute.text)
  same([bySql.status, bySql.json.code, bySql.json.detail], [byRoute.status, byRoute.json.code, byRoute.json.detail])
})

await server.stop()
