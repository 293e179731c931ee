// Tables of PostgreSQL and MariaDB become datasets: whole, in parts, by query, incrementally, with
// drift and masks; a password is nowhere.
import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'
import { startService } from '../kit/services.mjs'

const PASSWORD = 'p%40ss-s3cret'
const run = (program, args, input) => execFileSync(program, args, { input, encoding: 'utf8', maxBuffer: 1 << 28 }).trim()

function postgres() {
  const service = startService('postgres')
  const admin = service.line
  const sql = text => run('psql', ['-qAtX', '-v', 'ON_ERROR_STOP=1', admin], `SET client_min_messages = warning; ${text}`)
  sql(`CREATE ROLE guarded LOGIN SUPERUSER PASSWORD '${decodeURIComponent(PASSWORD)}'`)
  return {
    name: 'PostgreSQL', route: '/ingest/db', service, sql, dsn: admin.replace('postgres@', `guarded:${PASSWORD}@`),
    make: (table, rows) => sql(`DROP TABLE IF EXISTS ${table}; CREATE TABLE ${table} AS SELECT i::bigint AS id, (i % 97)::int AS n,
      'name ' || i AS name, (i * 1.25)::numeric(12,2) AS amount, i % 3 = 0 AS odd, timestamp '2026-01-01' + i * interval '1 second' AS ts,
      date '2020-01-01' + (i % 3000)::int AS d, CASE WHEN i % 10 = 0 THEN NULL ELSE 'note ' || i END AS note
      FROM generate_series(1, ${rows}) i; ALTER TABLE ${table} ADD PRIMARY KEY (id)`),
    sums: table => sql(`SELECT count(*), sum(id), sum(n), sum(amount), count(note), sum(length(name)), max(ts)::text, max(d)::text FROM ${table}`),
  }
}

function mariadb() {
  const service = startService('mariadb')
  const dsn = service.line
  const sql = text => run('mariadb', ['--no-defaults', '-uroot', `--socket=${service.dir}/my.sock`, '-NBr', '-D', 'lake'], text)
  return {
    name: 'MariaDB', route: '/ingest/mysql', service, sql, dsn,
    make: (table, rows) => sql(`DROP TABLE IF EXISTS ${table}; CREATE TABLE ${table} (id BIGINT PRIMARY KEY, n INT, name VARCHAR(64),
      amount DECIMAL(12,2), odd TINYINT(1), ts DATETIME(6), d DATE, note TEXT); INSERT INTO ${table} SELECT seq, seq % 97, concat('name ', seq),
      seq * 1.25, seq % 3 = 0, '2026-01-01' + INTERVAL seq SECOND, '2020-01-01' + INTERVAL (seq % 3000) DAY,
      IF(seq % 10 = 0, NULL, concat('note ', seq)) FROM seq_1_to_${rows}`),
    sums: table => sql(`SELECT count(*), sum(id), sum(n), sum(amount), count(note), sum(char_length(name)), date_format(max(ts), '%Y-%m-%d %H:%i:%s'), max(d) FROM ${table}`),
  }
}

const data = freshDir()
let server = await startServer(data, { env: { LAKEHOUSE_LOG_LEVEL: 'debug' } })
let everything = ''
const told = answer => { everything += answer.text; return answer }
const ingest = async (db, body) => told(await call(server, 'POST', `${db.route}?wait=true`, { dsn: db.dsn, ...body }))
const query = async sql => {
  const answer = told(await call(server, 'POST', '/query', { sql, limit: 100000 }))
  if (answer.status !== 200) throw new Error(answer.text)
  return answer.json.rows
}
const sums = async dataset => (await query(`SELECT count(*), sum(id)::VARCHAR, sum(n)::VARCHAR, sum(amount)::VARCHAR, count(note),
  sum(length(name))::VARCHAR, strftime(max(ts), '%Y-%m-%d %H:%M:%S'), max(d)::VARCHAR FROM ${dataset}`))[0].join(' ')

for (const db of [postgres(), mariadb()]) {
  const same_sums = async (dataset, table) =>
    same(await sums(dataset), db.sums(table).split(/[|\t]/).join(' '), dataset)
  const prefix = db.name.toLowerCase()

  await check(`${db.name}: a table, a query and parts side by side become what the source has`, async () => {
    db.make('people', 100000)
    for (const [dataset, more] of [['whole', { table: 'people' }], ['parts', { table: 'people', parallel: 4 }], ['asked', { query: 'SELECT * FROM people' }]]) {
      const answer = await ingest(db, { dataset: `${prefix}_${dataset}`, ...more })
      same([answer.status, answer.json?.rows], [201, 100000], answer.text)
      await same_sums(`${prefix}_${dataset}`, 'people')
    }
    const dataset = told(await call(server, 'GET', `/catalog/datasets/${prefix}_whole`)).json
    same(dataset.schema.map(column => column.type),
      ['BIGINT', 'INTEGER', 'VARCHAR', 'DECIMAL(12,2)', 'BOOLEAN', 'TIMESTAMP', 'DATE', 'VARCHAR'])
    same(dataset.lineage.length, 1)
  })

  await check(`${db.name}: an incremental run goes on where the last one ended, with no row twice`, async () => {
    db.make('events', 1000)
    const body = { dataset: `${prefix}_events`, table: 'events', incremental: { column: 'id' } }
    same((await ingest(db, { ...body, mode: 'create' })).json?.rows, 1000)
    db.sql(`INSERT INTO events SELECT id + 1000, n, name, amount, odd, ts, d, note FROM events`)
    const more = await ingest(db, { ...body, mode: 'append' })
    same([more.status, more.json?.rows], [201, 1000], more.text)
    const none = await ingest(db, { ...body, mode: 'append' })
    same([none.status, none.json?.rows], [201, 0], none.text)
    await same_sums(`${prefix}_events`, 'events')
  })

  await check(`${db.name}: drift is refused with each difference, or widened`, async () => {
    db.make('drift', 10)
    const body = { dataset: `${prefix}_drift`, table: 'drift' }
    same((await ingest(db, body)).status, 201)
    db.sql(`ALTER TABLE drift ADD COLUMN extra varchar(20)`)
    const refused = await ingest(db, { ...body, mode: 'append' })
    truth(/extra/.test(problem(refused, 409, 'schema_mismatch')), refused.text)
    same((await ingest(db, { ...body, mode: 'append', schema_drift: 'widen' })).status, 201)
    same(await query(`SELECT count(*), count(extra) FROM ${prefix}_drift`), [[20, 0]])
  })

  await check(`${db.name}: personal data is found, and masked where that is asked for`, async () => {
    db.sql(`DROP TABLE IF EXISTS pii; CREATE TABLE pii (id int, email varchar(60), card varchar(30))`)
    db.sql(`INSERT INTO pii VALUES (1, 'ada@example.org', '4111111111111111'), (2, 'grace@example.org', '5500005555555559')`)
    const plain = await ingest(db, { dataset: `${prefix}_pii`, table: 'pii' })
    truth(plain.json.pii.some(one => one.column === 'email' && one.kind === 'email'), plain.text)
    const masked = await ingest(db, { dataset: `${prefix}_masked`, table: 'pii', mask: { email: 'hash', card: 'partial' } })
    same(masked.status, 201, masked.text)
    const rows = await query(`SELECT email, card FROM ${prefix}_masked ORDER BY id`)
    truth(/^[0-9a-f]{64}$/.test(rows[0][0]) && rows[0][1] === '************1111', JSON.stringify(rows))
  })

  await check(`${db.name}: what is wrong is said: the table, the query, the password, the address`, async () => {
    const wrong = async (body, status, code) => problem(await ingest(db, { dataset: `${prefix}_wrong`, ...body }), status, code)
    await wrong({ table: 'nobody' }, 400, 'table_not_found')
    await wrong({ query: 'SELECT nothing FROM people' }, 400, 'source_refused')
    await wrong({ query: 'SELECT 1; DROP TABLE people' }, 400, 'source_refused')
    await wrong({ table: 'people', dsn: db.dsn.replace(/:[^:@]*@/, ':wr0ng-pw@') }, 403, 'source_denied')
    await wrong({ table: 'people', dsn: db.dsn.replace(/:\d+\//, ':9/') }, 503, 'source_unreachable')
    same((await ingest(db, { dataset: `${prefix}_wrong`, table: 'x"; DROP TABLE people; --' })).json.code, 'table_not_found')
    await same_sums(`${prefix}_whole`, 'people')
  })

  await check(`${db.name}: a job that is cancelled ends, and leaves nothing`, async () => {
    db.make('long_one', 1000000)
    const job = (await call(server, 'POST', db.route, { dsn: db.dsn, dataset: `${prefix}_long`, table: 'long_one' })).json.job
    await sleep(300)
    await call(server, 'DELETE', `/jobs/${job}`)
    for (const end = Date.now() + 10000; ; await sleep(50)) {
      const state = (await call(server, 'GET', `/jobs/${job}`)).json.state
      if (state === 'cancelled' || state === 'failed') break
      truth(Date.now() < end && state !== 'succeeded', `the job is ${state}`)
    }
    same((await call(server, 'GET', `/catalog/datasets/${prefix}_long`)).status, 404)
  })
  db.service.stop()
}

await check('the password is in no answer, log line, lineage, metric or file', async () => {
  for (const path of ['/catalog/datasets', '/metrics', '/jobs', '/catalog/lineage/postgresql_whole', '/storage/errors?limit=1000'])
    told(await call(server, 'GET', path))
  await server.stop()
  everything += server.log + server.out
  for (const secret of [PASSWORD, decodeURIComponent(PASSWORD), 'wr0ng-pw'])
    truth(!everything.includes(secret), `${secret} was told`)
  const files = run('sh', ['-c', `grep -rlE '${decodeURIComponent(PASSWORD)}|wr0ng-pw' ${data} || true`])
  same(files, '')
})
