// benchmark: SQL and CSV ingest through the server, beside DuckDB's own C API on the same files
// Each line alternates the two (query_beside.c) and takes medians. A query's answer is CSV over
// HTTP, every byte read; DuckDB's rows are fetched and dropped, but for "every row as CSV", which it
// writes as CSV to a file. The ingest spools, checks, samples for personal data, commits and syncs;
// DuckDB's COPY sniffs and writes Parquet without a sync.
import { execFileSync } from 'node:child_process'
import { createWriteStream, readdirSync } from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'
import { startServer } from '../tests/kit/server.mjs'
import { build, freshDir, peakMib, printTable, quick, resetPeak } from './report.mjs'

const dir = freshDir(), data = join(dir, 'data')

function parquetOf(dataset) {
  const folder = join(data, 'primary', 'warehouse', 'main', dataset, 'data')
  return join(folder, readdirSync(folder).find(name => name.endsWith('.parquet')))
}

async function writeCsv(path, rows) {
  const file = createWriteStream(path)
  file.write('id,email,name,amount,day,seen,note,active\n')
  for (let i = 0, h = 1; i < rows; i++) {
    h = (Math.imul(h, 1103515245) + 12345) >>> 0
    const day = `20${10 + h % 14}-0${1 + h % 9}-1${h % 10}`
    const line = `${i},user${h % 1e6}@example.com,First${h % 5000} Last${h % 9000},${(h % 1e6) / 100},` +
      `${day},${day}T10:${10 + h % 50}:${10 + h % 49},"note number ${h}, with a comma",${h % 2 === 0}\n`
    if (!file.write(line)) await once(file, 'drain')
  }
  file.end()
  await once(file, 'finish')
}

const beside = (...args) =>
  execFileSync(join(build, 'bench', 'query_beside'), args.map(String), { encoding: 'utf8' }).trim().split(' ').map(Number)

const server = await startServer(data), pid = server.child.pid

// A row of the table, with the server's peak memory while it was measured.
function measure(label, ...args) {
  resetPeak(pid)
  const [ours, direct] = beside(...args)
  table.push([label, ours / 1000, direct / 1000, (ours - direct) / 1000, ours / direct, peakMib(pid)])
}

const table = []
for (const [rows, rounds] of [[1000, quick ? 50 : 400], [quick ? 100000 : 1000000, quick ? 10 : 40]]) {
  const csv = join(dir, `${rows}.csv`), dataset = `t${rows}`
  await writeCsv(csv, rows)
  execFileSync(join(build, 'lakehouse'), ['ingest', csv, '--dataset', dataset, '--url', server.url])
  const from = `read_parquet('${parquetOf(dataset)}')`
  for (const [label, sql, other] of [
    ['one row by its id', `SELECT * FROM _ WHERE id = ${rows >> 1}`],
    ['count(*)', 'SELECT count(*) FROM _'],
    ['group by', 'SELECT active, count(*), avg(amount), max(seen) FROM _ GROUP BY active'],
    ['every row as CSV', 'SELECT * FROM _', `COPY (SELECT * FROM _) TO '${join(dir, 'every.csv')}' (FORMAT csv)`],
  ])
    measure(`${label}, ${rows} rows`, 'query', server.url, sql.replace('_', dataset), (other ?? sql).replace('_', from), rounds)
  measure(`ingest of a CSV, ${rows} rows`, 'ingest', server.url, csv, join(dir, 'direct.parquet'), quick ? 2 : 7)
}
printTable(['', 'server ms', 'DuckDB ms', 'more ms', 'ratio', 'peak MiB'], table)
await server.stop()
process.exit(0)
