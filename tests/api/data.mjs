import { execFileSync } from 'node:child_process'
import { gzipSync } from 'node:zlib'
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'

const data = freshDir()
let server = await startServer(data)
const ingest = (dataset, body, query = '', headers = {}) =>
  call(server, 'POST', `/ingest/file?dataset=${dataset}${query}`, body, headers)
const sql = (text, more = {}) => call(server, 'POST', '/query', { sql: text, ...more })
const rows = async (text, more) => (await sql(text, more)).json.rows

const people = 'id,name,email,joined\n1,Ada Lovelace,ada@example.org,2024-01-05\n' +
  '2,Alan Turing,alan@example.org,2024-02-06\n3,Grace Hopper,grace@example.org,2024-03-07\n'

await check('a CSV becomes a dataset with types, PII and lineage, and SQL reads it', async () => {
  const answer = await ingest('people', people, '&format=csv&source=people.csv')
  same([answer.status, answer.json?.dataset, answer.json?.version, answer.json?.rows], [201, 'people', 1, 3], answer.text)
  truth(answer.json.pii.some(p => p.column === 'email' && p.kind === 'email'), answer.text)
  same((await sql('SELECT id, name, joined FROM people ORDER BY id DESC')).json.rows[0], [3, 'Grace Hopper', '2024-03-07'])
  const { json } = await call(server, 'GET', '/catalog/datasets/people')
  same(json.schema.map(c => c.name), ['id', 'name', 'email', 'joined'])
  same(json.schema[2].pii.kind, 'email')
  same([json.sensitive, json.lineage[0].source], [true, 'people.csv'])
  same(json.history.map(h => [h.version, h.rows_added]), [[1, 3]])
})

await check('appends, replaces and older versions', async () => {
  same((await ingest('people', 'joined,email,name,id\n2024-04-08,x@example.org,Edsger Dijkstra,4\n', '&format=csv&mode=append')).json?.version, 2)
  same(await rows('SELECT * FROM people WHERE id > 2 ORDER BY id'), [[3, 'Grace Hopper', 'grace@example.org', '2024-03-07'],
    [4, 'Edsger Dijkstra', 'x@example.org', '2024-04-08']], 'columns in another order')
  same(await rows('SELECT count(*) FROM people', { as_of: { people: 1 } }), [[3]])
  problem(await ingest('people', people, '&format=csv'), 409, 'dataset_exists')
  const drift = problem(await ingest('people', 'id,name\n1,x\n', '&format=csv&mode=append'), 409, 'schema_mismatch')
  truth(drift.includes('email') && drift.includes('joined'), drift)
  same((await call(server, 'POST', '/catalog/datasets/people/rollback', { version: 1 })).json.version, 3)
  same(await rows('SELECT count(*) FROM people'), [[3]])
  same((await ingest('people', 'a\n1\n', '&format=csv&mode=replace')).json?.version, 4)
  same(await rows('SELECT * FROM people'), [[1]])
})

await check('ndjson, json, tsv, gzip and zstd, and datasets in a namespace', async () => {
  same((await ingest('things', '{"a":1,"b":[1,2]}\n{"a":2,"b":[]}\n', '&format=ndjson')).json?.rows, 2)
  same((await ingest('listed', '[{"a":1},{"a":2},{"a":3}]', '&format=json')).json?.rows, 3)
  same((await ingest('tabbed', 'a\tb\n1\tx\n', '&format=tsv')).json?.rows, 1)
  same((await ingest('packed', gzipSync(people), '&format=csv', { 'content-encoding': 'gzip' })).json?.rows, 3)
  same((await ingest('packed2', execFileSync('zstd', ['-c'], { input: people }), '&format=csv', { 'content-encoding': 'zstd' })).json?.rows, 3)
  same((await ingest('lab.people', people, '&format=csv')).status, 201)
  same(await rows('SELECT count(*) FROM lab.people'), [[3]])
  same(await rows('SELECT count(*) FROM lab.people p JOIN things t ON p.id = t.a'), [[2]])
})

await check('an object already stored is ingested', async () => {
  await call(server, 'PUT', '/storage/buckets/primary/objects/raw/people.csv', people)
  const answer = await ingest('stored', undefined, '&object=primary/raw/people.csv')
  same([answer.status, answer.json?.rows], [201, 3], answer.text)
  problem(await ingest('stored2', undefined, '&object=primary/raw/none.csv'), 404, 'object_not_found')
})

await check('bad input is refused with its place, and leaves the dataset list as it was', async () => {
  const before = (await call(server, 'GET', '/catalog/datasets')).json.map(d => d.name)
  const long = people + people.split('\n').slice(1).join('\n').repeat(50)
  truth(/line 4\b/.test(problem(await ingest('bad', 'a,b\n1,2\n3,4\n5\n6,7\n', '&format=csv'), 400, 'ragged_row')), 'the line')
  problem(await ingest('bad', Buffer.from([0x61, 0x0a, 0xff, 0xfe, 0x0a]), '&format=csv'), 400, 'invalid_utf8')
  problem(await ingest('bad', gzipSync(long).subarray(0, 60), '&format=csv', { 'content-encoding': 'gzip' }), 400, 'truncated_body')
  problem(await ingest('bad', '', '&format=csv'), 400, 'empty_file')
  problem(await ingest('bad', 'PAR1 not really PAR1', '&format=parquet'), 400, 'bad_parquet')
  problem(await ingest('bad', '{"a":1}\n{"a":', '&format=ndjson'), 400, 'bad_json')
  problem(await ingest('Bad-Name', people, '&format=csv'), 400, 'bad_dataset_name')
  problem(await ingest('bad', people, '&format=csv&bucket=none'), 404, 'bucket_not_found')
  problem(await ingest('bad', people, '&format=csv&mode=append'), 404, 'dataset_not_found')
  same((await call(server, 'GET', '/catalog/datasets')).json.map(d => d.name), before)
})

await check('a header without rows is a dataset without rows', async () => {
  same((await ingest('hollow', 'a,b\n', '&format=csv')).json?.rows, 0)
  const answer = await sql('SELECT * FROM hollow')
  same([answer.json.columns.map(c => c.name), answer.json.rows], [['a', 'b'], []])
})

await check('SQL errors name line and position, unknown datasets come with a guess', async () => {
  truth(/line 2/.test(problem(await sql('SELECT a\nFRMO things'), 400, 'sql_error')), 'the line')
  truth(problem(await sql('SELECT * FROM thingz'), 404, 'dataset_not_found').includes('things'), 'a guess')
  problem(await sql("SELECT * FROM read_csv('/etc/passwd')"), 403, 'sql_forbidden')
  problem(await sql('DROP TABLE things'), 403, 'sql_forbidden')
})

await check('parameters, formats, limits and numbers that a double cannot hold', async () => {
  same(await rows('SELECT $1 + 1, $2', { params: [41, 'x'] }), [[42, 'x']])
  same(await rows('SELECT 9007199254740993::BIGINT, 1.5::DECIMAL(38,2), 7'), [['9007199254740993', 1.5, 7]].map(r => r) )
  const cut = (await sql('SELECT * FROM range(100)', { limit: 10 })).json
  same([cut.rows.length, cut.row_count, cut.truncated], [10, 10, true])
  same((await sql("SELECT 1 AS a, 'x,y' AS b", { format: 'csv' })).text, 'a,b\r\n1,"x,y"\r\n')
  same((await call(server, 'POST', '/query', { sql: 'SELECT 1 AS a' }, { accept: 'application/x-ndjson' })).text, '{"a":1}\n')
})

await check('a query that takes too long is stopped, and one whose client left as well', async () => {
  const slow = 'SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range = 7'
  const started = Date.now()
  problem(await sql(slow, { timeout_ms: 300 }), 504, 'query_timeout')
  truth(Date.now() - started < 3000, 'in time')
  const leave = new AbortController()
  setTimeout(() => leave.abort(), 200)
  await fetch(`${server.url}/query`, { method: 'POST', signal: leave.signal, headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sql: slow, timeout_ms: 60000 }) }).catch(() => {})
  await new Promise(resolve => setTimeout(resolve, 700))
  const busy = /lakehouse_pool_busy (\d+)/.exec((await call(server, 'GET', '/metrics')).text)[1]
  same(busy, '1', 'only the metrics request itself runs')
})

await check('rows are deleted by a predicate, and small files become one', async () => {
  for (let i = 0; i < 4; i++) await ingest('parts', `a,b\n${i},x\n${i + 10},\n`, `&format=csv&mode=${i ? 'append' : 'create'}`)
  const gone = await call(server, 'POST', '/catalog/datasets/parts/delete', { where: 'a >= 12 OR b = \'nothing\'' })
  same([gone.status, gone.json?.version, gone.json?.rows_removed], [200, 5, 2], gone.text)
  same(await rows('SELECT a FROM parts ORDER BY a'), [[0], [1], [2], [3], [10], [11]])
  same((await call(server, 'POST', '/catalog/datasets/parts/delete', { where: 'a > 99' })).json, { version: 5, rows_removed: 0 })
  await ingest('parts', 'a,b\n7,y\n', '&format=csv&mode=append')
  const packed = await call(server, 'POST', '/catalog/datasets/parts/compact?wait=true')
  same(packed.json, { dataset: 'parts', version: 7, rows: 7 }, packed.text)
  const { json } = await call(server, 'GET', '/catalog/datasets/parts')
  same([json.files, json.rows, json.history.slice(-3).map(h => h.operation)], [1, 7, ['delete', 'append', 'compact']].map(x => x), JSON.stringify(json.history))
  problem(await call(server, 'POST', '/catalog/datasets/parts/delete', { where: "a IN (SELECT * FROM read_csv('/etc/passwd'))" }), 403, 'sql_forbidden')
  problem(await call(server, 'POST', '/catalog/datasets/parts/delete', { where: 'a >' }), 400, 'sql_error')
  same(await rows('SELECT count(*) FROM parts', { as_of: { parts: 4 } }), [[8]])
})

await check('owner, tags, descriptions and PII by hand are kept', async () => {
  const patch = { owner: 'data team', description: 'Who works here', tags: ['hr'], columns: { a: 'a number' }, pii: { a: 'phone' } }
  const answer = await call(server, 'PATCH', '/catalog/datasets/people', patch)
  same([answer.json?.owner, answer.json?.tags, answer.json?.schema[0].description, answer.json?.schema[0].pii.kind],
    ['data team', ['hr'], 'a number', 'phone'], answer.text)
  problem(await call(server, 'PATCH', '/catalog/datasets/people', { columns: { none: 'x' } }), 422, 'unknown_column')
})

await check('everything is there after a restart', async () => {
  const before = (await call(server, 'GET', '/catalog/datasets')).json
  await server.stop()
  server = await startServer(data)
  same((await call(server, 'GET', '/catalog/datasets')).json, before)
})

await check('a dropped dataset is gone, and its name is free again', async () => {
  same((await call(server, 'DELETE', '/catalog/datasets/tabbed?purge=true')).status, 200)
  problem(await call(server, 'GET', '/catalog/datasets/tabbed'), 404, 'dataset_not_found')
  same((await ingest('tabbed', 'b\n9\n', '&format=csv')).json?.rows, 1)
  same(await rows('SELECT * FROM tabbed'), [[9]])
})

await server.stop()
