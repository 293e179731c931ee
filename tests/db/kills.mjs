// The source, the network and the server are killed at random moments of an ingest: the dataset is
// the old version or the new one, and the next run completes; an incremental run goes on where the
// last one ended. KILLS says how many moments for each kind and database.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { call, check, freshDir, same, startServer, truth } from '../kit/server.mjs'
import { startService } from '../kit/services.mjs'
import { startWire } from '../kit/wire.mjs'

const KILLS = Number(process.env.KILLS ?? 8)
const ROWS = 60000
const run = (program, args, input) => execFileSync(program, args, { input, encoding: 'utf8', maxBuffer: 1 << 28 }).trim()

// Each opens {service, sql, route, table(name, from, to)}: a table of rows from..to, about 100 bytes each.
const databases = {
  PostgreSQL: () => {
    const service = startService('postgres')
    const sql = text => run('psql', ['-qAtX', '-v', 'ON_ERROR_STOP=1', service.line], `SET client_min_messages = warning; ${text}`)
    return { service, sql, route: '/ingest/db', series: (from, to) => `SELECT i AS id, md5(i::text) || md5((-i)::text) AS word, i / 7.0::float8 AS part FROM generate_series(${from}, ${to}) i` }
  },
  MariaDB: () => {
    const service = startService('mariadb')
    const sql = text => run('mariadb', ['--no-defaults', '-uroot', `--socket=${service.dir}/my.sock`, '-NBr', '-D', 'lake'],
      `SET GLOBAL innodb_flush_log_at_trx_commit = 1; ${text}`) // what it said is inserted outlives its kill
    return { service, sql, route: '/ingest/mysql', series: (from, to) => `SELECT seq AS id, concat(md5(seq), md5(-seq)) AS word, seq / 7e0 AS part FROM seq_${from}_to_${to}` }
  },
}

const data = freshDir()
const start = () => startServer(data, { env: { LAKEHOUSE_INGEST_IDLE_TIMEOUT_MS: '1000' } })
let server = await start()
const version = async dataset => (await call(server, 'GET', `/catalog/datasets/${dataset}`)).json?.version ?? 0
// What the rows are, in few words: how many, each once, from where to where.
async function rows(dataset) {
  const answer = await call(server, 'POST', '/query', { sql: `SELECT count(*), count(DISTINCT id), min(id), max(id), count(DISTINCT word) FROM ${dataset}` })
  same(answer.status, 200, answer.text)
  return answer.json.rows[0].map(Number)
}

for (const [name, open] of Object.entries(databases)) {
  const db = open(), prefix = name.toLowerCase()
  const wire = await startWire(Number(new URL(db.service.line).port))
  const dsn = db.service.line.replace(/:\d+\//, `:${wire.port}/`)
  const make = (table, from, to) => db.sql(`DROP TABLE IF EXISTS ${table}; CREATE TABLE ${table} AS ${db.series(from, to)}; ALTER TABLE ${table} ADD PRIMARY KEY (id)`)
  const ingest = body => call(server, 'POST', `${db.route}?wait=true`, { dsn, ...body })
  // Each breaks something, and returns what mends it once the run has ended.
  const kinds = {
    'the source': async () => {
      process.kill(Number(readFileSync(`${db.service.dir}/pid`, 'utf8')), 'SIGKILL')
      return () => db.service.again('again')
    },
    'the network': async round => {
      if (round % 4 === 3) {
        wire.silence()
        return wire.heal
      }
      wire.cut()
      return () => {}
    },
    'the server': async () => {
      await server.stop('SIGKILL')
      return async () => { server = await start() }
    },
  }
  make('even', 0, ROWS - 1)
  make('odd', 1000000, 1000000 + ROWS - 1)
  const contents = { even: [ROWS, ROWS, 0, ROWS - 1, ROWS], odd: [ROWS, ROWS, 1000000, 1000000 + ROWS - 1, ROWS] }
  same((await ingest({ dataset: `${prefix}_killed`, table: 'even', mode: 'create' })).status, 201)
  const began = performance.now()
  same((await ingest({ dataset: `${prefix}_killed`, table: 'odd', mode: 'replace' })).status, 201)
  const usual = performance.now() - began
  let broken = 0

  for (const [kind, strike] of Object.entries(kinds)) {
    await check(`${name}: ${kind} breaks at ${KILLS} random moments: the dataset is the old version or the new, and the next run completes`, async () => {
      let table = 'odd'
      same((await ingest({ dataset: `${prefix}_killed`, table, mode: 'replace' })).status, 201)
      for (let round = 0; round < KILLS; round++) {
        const next = table === 'odd' ? 'even' : 'odd', before = await version(`${prefix}_killed`)
        const answer = ingest({ dataset: `${prefix}_killed`, table: next, mode: 'replace', parallel: 1 + round % 2 }).catch(() => null)
        await sleep(Math.random() ** 2 * usual * 1.1) // more often early, while rows come
        const mend = await strike(round)
        const ended = await answer
        await mend()
        const after = await version(`${prefix}_killed`)
        truth(after === before || after === before + 1, `version ${before} became ${after}`)
        truth(after > before || ended?.status !== 201, 'an acknowledged version is gone')
        if (after > before) table = next
        else broken++
        same(await rows(`${prefix}_killed`), contents[table], `round ${round}`)
      }
      const last = await ingest({ dataset: `${prefix}_killed`, table: 'odd', mode: 'replace' })
      same(last.status, 201, last.text)
      same(await rows(`${prefix}_killed`), contents.odd)
    })
  }

  await check(`${name}: some of the runs broke before they ended`, () => truth(broken > 2, `${broken} did`))

  await check(`${name}: an incremental run that breaks, whatever broke, is completed by the next: every row once`, async () => {
    const body = { dataset: `${prefix}_grown`, table: 'grown', incremental: { column: 'id' }, mode: 'append' }
    make('grown', 0, 999)
    let total = 1000
    same((await ingest({ ...body, mode: 'create' })).status, 201)
    for (let round = 0; round < Math.min(KILLS, 9); round++) {
      db.sql(`INSERT INTO grown ${db.series(total, total + ROWS / 2 - 1)}`)
      total += ROWS / 2
      const answer = ingest(body).catch(() => null)
      await sleep(Math.random() * usual * 0.8)
      const mend = await Object.values(kinds)[round % 3](round)
      await answer
      await mend()
      const [count, distinct, low, high] = await rows(`${prefix}_grown`)
      same([distinct, low, high], [count, 0, count - 1], `round ${round}`)
      if (round % 2) continue
      const next = await ingest(body)
      same(next.status, 201, next.text)
      same(await rows(`${prefix}_grown`), [total, total, 0, total - 1, total], `round ${round}`)
    }
    same((await ingest(body)).status, 201)
    same(await rows(`${prefix}_grown`), [total, total, 0, total - 1, total])
  })
  wire.close()
  db.service.stop()
}
await server.stop()
