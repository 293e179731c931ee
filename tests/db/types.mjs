// Many rows with every type of the mapping tables, NULLs, unicode and extremes: each column's
// checksum in the source and in the dataset is the same. TYPED_ROWS says how many rows: 2000000 is the size to try after a change of the connectors.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { call, check, freshDir, same, startServer, truth } from '../kit/server.mjs'
import { startService } from '../kit/services.mjs'
import { mariadbColumns, mariadbSum, mariadbTable, ourSum, postgresColumns, postgresSum, postgresTable } from '../kit/typed_rows.mjs'

const ROWS = Number(process.env.TYPED_ROWS ?? 200000)
const run = (program, args, input) => execFileSync(program, args, { input, encoding: 'utf8', maxBuffer: 1 << 28 }).trim()

const databases = {
  PostgreSQL: () => {
    const service = startService('postgres')
    const sql = text => run('psql', ['-qAtX', '-v', 'ON_ERROR_STOP=1', service.line],
      `SET client_min_messages = error; SET timezone = 'UTC'; SET intervalstyle = 'iso_8601'; SET extra_float_digits = 0; ${text}`)
    return { service, sql, route: '/ingest/db', columns: postgresColumns, table: postgresTable, sum: postgresSum, page: 'docs/postgresql.md', absent: [] }
  },
  MariaDB: () => {
    const service = startService('mariadb')
    const sql = text => run('mariadb', ['--no-defaults', '-uroot', `--socket=${service.dir}/my.sock`, '-NBr', '-D', 'lake'], `SET NAMES utf8mb4; SET time_zone = '+00:00'; ${text}`)
    return { service, sql, route: '/ingest/mysql', columns: mariadbColumns, table: mariadbTable, sum: mariadbSum, page: 'docs/mysql.md',
      absent: ["MySQL's json", "MySQL's vector", 'NULL'] } // not MariaDB's; a query's alone
  },
}

const server = await startServer(freshDir(), { env: { LAKEHOUSE_QUERY_TIMEOUT_MS: '600000' } })
for (const [name, open] of Object.entries(databases)) {
  const db = open()

  await check(`${name}: the table of the test has every line of the page's mapping`, () => {
    const lines = readFileSync(db.page, 'utf8').split('## Types')[1].matchAll(/^\| ([^|]+) \|/gm)
    const said = [...lines].map(line => line[1]).filter(line => !/^(PostgreSQL|MySQL, MariaDB|---)/.test(line))
    truth(said.length > 30, `${said.length} lines`)
    same(said.filter(line => !db.absent.includes(line) && !db.columns.some(column => column.of === line)), [])
  })

  await check(`${name}: of ${ROWS} rows every column's checksum is the source's, read in one part and in two`, async () => {
    db.sql(db.table('typed', ROWS))
    const expected = db.sql(`SELECT ${db.columns.map(db.sum).join(', ')} FROM typed`).split(/[|\t]/)
    for (const parallel of [1, 2]) {
      const dataset = `typed_${name.toLowerCase()}_${parallel}`
      const answer = await call(server, 'POST', `${db.route}?wait=true`, { dsn: db.service.line, dataset, table: 'typed', parallel })
      same([answer.status, answer.json?.rows], [201, ROWS], answer.text)
      const sums = await call(server, 'POST', '/query', { sql: `SELECT ${db.columns.map(ourSum).join(', ')} FROM ${dataset}` })
      same(sums.status, 200, sums.text)
      const wrong = db.columns.map(({ name, type }, at) => ({ name, type, ours: sums.json.rows[0][at], source: expected[at] }))
      same(wrong.filter(({ ours, source }) => ours !== source), [])
    }
  })
  db.service.stop()
}
await server.stop()
