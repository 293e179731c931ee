// benchmark: tables of PostgreSQL and MariaDB into datasets, beside their own clients and OFFSET pages
// Two million mixed rows, from the server to a committed version of zstd Parquet, in alternating rounds;
// medians. psql and mariadb write what they read to /dev/null. OFFSET pages cost more the further they
// are: every tenth of them is read, the middle one of ten, whose cost is that of the ten on average.
// Processor seconds are those of our server, per million rows.
import { execFileSync, spawn } from 'node:child_process'
import { openSync } from 'node:fs'
import { join } from 'node:path'
import { call, startServer } from '../tests/kit/server.mjs'
import { startService } from '../tests/kit/services.mjs'
import { cpuSeconds, freshDir, median, peakMib, printTable, quick } from './report.mjs'

const rows = quick ? 100000 : 2000000, page = 10000, rounds = quick ? 1 : 3
const texts = `'Müller','García','Ōta','李小龙','Smith','Иванов','O''Brien','😀 emoji'`
const postgresTable = `CREATE TABLE mixed (id bigint PRIMARY KEY, n int, name varchar(64), amount numeric(12,2), active bool,
    ts timestamp, d date, note text, doc jsonb, u uuid NOT NULL);
  INSERT INTO mixed SELECT g, CASE WHEN g%11>0 THEN ((g*2654435761)%2147483647)::int - 1000000000 END,
    CASE WHEN g%13>0 THEN (ARRAY[${texts}])[(1+g%8)::int]||' '||left(md5(g::text), 12) END,
    CASE WHEN g%17>0 THEN (((g*7919)%2000000000)-1000000000)/100.0 END, CASE WHEN g%7>0 THEN g%2=0 END,
    CASE WHEN g%19>0 THEN timestamp '2001-01-01' + ((g*997)%800000000)*interval '1 second' + ((g*7)%1000000)*interval '1 microsecond' END,
    CASE WHEN g%23>0 THEN date '1990-01-01' + (g%20000)::int END,
    CASE WHEN g%5>0 THEN 'note '||g||' '||repeat(md5((g/3)::text)||' ', (g%4)::int) END,
    CASE WHEN g%6>0 THEN jsonb_build_object('k',g%1000,'tags',jsonb_build_array('a','ü'),'s',md5(g::text)) END,
    md5(g::text)::uuid FROM generate_series(1, ${rows}::bigint) g;
  VACUUM (FREEZE, ANALYZE) mixed`
const mariadbTable = `SET NAMES utf8mb4; CREATE TABLE mixed (id bigint PRIMARY KEY, n int, name varchar(64), amount decimal(12,2),
    active tinyint(1), ts datetime(6), d date, note text, doc json);
  INSERT INTO mixed SELECT g, IF(g%11, (g*2654435761)%2147483647-1000000000, NULL),
    IF(g%13, concat(elt(1+g%8,${texts}),' ',left(md5(g),12)), NULL), IF(g%17, (((g*7919)%2000000000)-1000000000)/100.0, NULL),
    IF(g%7, g%2=0, NULL),
    IF(g%19, '2001-01-01' + INTERVAL (g*997)%800000000 SECOND + INTERVAL (g*7)%1000000 MICROSECOND, NULL),
    IF(g%23, '1990-01-01' + INTERVAL g%20000 DAY, NULL), IF(g%5, concat('note ',g,' ',repeat(concat(md5(g DIV 3),' '),g%4)), NULL),
    IF(g%6, json_object('k',g%1000,'tags',json_array('a','ü'),'s',md5(g)), NULL)
    FROM (SELECT CAST(seq AS SIGNED) AS g FROM seq_1_to_${rows}) AS made;
  ANALYZE TABLE mixed`

const postgres = startService('postgres'), mariadb = startService('mariadb', { MARIADB_BUFFERS: '512M' })
const psql = ['-qXv', 'ON_ERROR_STOP=1', postgres.line]
const maria = ['--no-defaults', '-uroot', `--socket=${join(mariadb.dir, 'my.sock')}`, '--quick', '-NBr', 'lake']
execFileSync('psql', psql, { input: postgresTable })
execFileSync('mariadb', maria, { input: mariadbTable })
const server = await startServer(freshDir())
const silence = openSync('/dev/null', 'w')

const toNowhere = (command, args) => new Promise((done, fail) =>
  spawn(command, args, { stdio: ['ignore', silence, 'inherit'] }).on('exit', code =>
    code === 0 ? done({}) : fail(new Error(`${command} ended with ${code}`))))

async function ingest(route, dsn, parallel) {
  const before = cpuSeconds(server.child.pid)
  const answer = await call(server, 'POST', `${route}?wait=true`, { dsn, table: 'mixed', dataset: 'mixed', parallel })
  if (answer.json?.rows !== rows) throw new Error(answer.text)
  return { cpu: cpuSeconds(server.child.pid) - before }
}

function offsetPages() {
  const pages = []
  for (let at = Math.min(5 * page, rows / 2); at < rows; at += 10 * page)
    pages.push('-c', `SELECT * FROM mixed ORDER BY id LIMIT ${page} OFFSET ${at}`)
  return toNowhere('psql', [...psql, '-At', ...pages]).then(() => ({ times: rows / page / (pages.length / 2) }))
}

// What is run, what it is held against, and the ratio that it is to reach. `group`: whose rounds alternate.
const copy = 'psql binary COPY', quickly = 'mariadb --quick -NBr'
const cases = [
  { name: copy, work: () => toNowhere('psql', [...psql, '-c', 'COPY mixed TO STDOUT (FORMAT binary)']) },
  { name: 'PostgreSQL, 1 part', beside: copy, aim: 0.7, work: () => ingest('/ingest/db', postgres.line, 1) },
  { name: 'PostgreSQL, 2 parts', beside: copy, aim: 1.1, work: () => ingest('/ingest/db', postgres.line, 2) },
  { name: 'OFFSET pages of 10,000', beside: copy, work: offsetPages },
  { name: quickly, work: () => toNowhere('mariadb', [...maria, '-e', 'SELECT * FROM mixed']) },
  { name: 'MariaDB, 1 part', beside: quickly, aim: 0.9, work: () => ingest('/ingest/mysql', mariadb.line, 1) },
  { name: 'MariaDB, 2 parts', beside: quickly, work: () => ingest('/ingest/mysql', mariadb.line, 2) },
]

for (let round = 0; round < rounds; round++)
  for (const one of round % 2 ? [...cases].reverse() : cases) {
    const began = process.hrtime.bigint()
    const { times = 1, cpu } = await one.work()
    ;(one.seconds ??= []).push(times * Number(process.hrtime.bigint() - began) / 1e9)
    if (cpu === undefined) continue
    ;(one.cpu ??= []).push(cpu)
    const dropped = await call(server, 'DELETE', '/catalog/datasets/mixed?purge=true')
    if (dropped.status >= 300) throw new Error(dropped.text)
  }

const rate = name => rows / median(cases.find(one => one.name === name).seconds)
console.log(`${rows} rows, ${rounds} alternating rounds, medians; the databases and the server on the same machine\n`)
printTable(['', 'rows/s', 'to its client', 'aim', 'our cpu s per million'], cases.map(one => [one.name, Math.round(rate(one.name)),
  one.beside ? rate(one.name) / rate(one.beside) : '', one.aim ?? '', one.cpu ? median(one.cpu) * 1e6 / rows : '']))
console.log(`\npeak memory of the server: ${peakMib(server.child.pid).toFixed(0)} MiB, to stay below 200`)
await server.stop()
postgres.stop()
mariadb.stop()
process.exit(0)
