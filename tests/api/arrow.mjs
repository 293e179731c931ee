// What POST /query streams as Arrow is read by npm's apache-arrow, which knows nothing of lakehouse.
import { tableFromIPC } from 'apache-arrow'
import { parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'

const server = await startServer(freshDir())
const ask = (sql, more = {}) => fetch(`${server.url}/query`, {
  method: 'POST', headers: { 'content-type': 'application/json', accept: 'application/vnd.apache.arrow.stream' },
  body: JSON.stringify({ sql, ...more }),
})
const table = async (sql, more) => {
  const answer = await ask(sql, more)
  same([answer.status, answer.headers.get('content-type')], [200, 'application/vnd.apache.arrow.stream'], sql)
  return tableFromIPC(new Uint8Array(await answer.arrayBuffer()))
}
const plain = value => JSON.parse(JSON.stringify(value, (k, v) => typeof v === 'bigint' ? String(v) : v))

await check('every type keeps its value', async () => {
  const result = await table(`SELECT 1::TINYINT a, 2::UBIGINT b, 1.5::FLOAT c, 12.34::DECIMAL(12,2) e, 'text' f,
    NULL::VARCHAR g, true h, DATE '2024-02-29' i, TIMESTAMP '2024-02-29 01:02:03' j, TIME '01:02:03' l, [1,2,NULL] m,
    {'x':1,'y':'z'} n, MAP{'k':1} o, [1.0,2.0]::FLOAT[2] r, 170141183460469231731687303715884105727::HUGEINT u`)
  same(plain(result.toArray()[0].toJSON()), {
    a: 1, b: '2', c: 1.5, e: '"1234"', f: 'text', g: null, h: true, i: 1709164800000, j: 1709168523000,
    l: '3723000000', m: [1, 2, null], n: { x: 1, y: 'z' }, o: { k: 1 }, r: [1, 2],
    u: '"170141183460469231731687303715884105727"',
  })
})

await check('many batches, NULLs among them, a limit, and no rows at all', async () => {
  const many = await table('SELECT range AS id, CASE WHEN range % 3 = 0 THEN NULL ELSE range::VARCHAR END AS s FROM range(100000)')
  same([many.numRows, many.getChild('s').nullCount, Number(many.getChild('id').get(99999)), many.getChild('s').get(99998)],
    [100000, 33334, 99999, '99998'])
  truth(many.batches.length > 1, 'batches')
  same((await table('SELECT * FROM range(100000)', { limit: 5000 })).numRows, 5000)
  const none = await table('SELECT 1 AS a WHERE false')
  same([none.numRows, none.schema.fields.map(f => f.name)], [0, ['a']])
})

await check('a type that has no place in the stream is named', async () => {
  const detail = problem(await call(server, 'POST', '/query', { sql: 'SELECT INTERVAL 1 DAY AS gap', format: 'arrow' }), 422, 'arrow_type')
  truth(detail.includes("'gap'"), detail)
})

await check('results as Parquet are a file that hyparquet reads and that can be ingested', async () => {
  const answer = await call(server, 'POST', '/query', { sql: "SELECT range AS id, 'n' || range AS name FROM range(50000)", format: 'arrow' })
  same(answer.status, 200)
  const parquet = await fetch(`${server.url}/query`, { method: 'POST', headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sql: "SELECT range AS id, 'n' || range AS name FROM range(50000)", format: 'parquet' }) })
  same([parquet.status, parquet.headers.get('content-type')], [200, 'application/vnd.apache.parquet'])
  const file = await parquet.arrayBuffer()
  const rows = await parquetReadObjects({ file, compressors, rowStart: 49990, rowEnd: 50000 })
  same([rows.length, Number(rows[9].id), rows[9].name], [10, 49999, 'n49999'])
  const back = await call(server, 'POST', '/ingest/file?dataset=back&format=parquet', new Uint8Array(file))
  same([back.status, back.json?.rows], [201, 50000], back.text)
  problem(await call(server, 'POST', '/query', { sql: "SELECT * FROM read_csv('/etc/passwd')", format: 'parquet' }), 403, 'sql_forbidden')
  problem(await call(server, 'POST', '/query', { sql: 'SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range = 7', format: 'parquet', timeout_ms: 300 }), 504, 'query_timeout')
})

await server.stop()
