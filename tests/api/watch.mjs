// A watched folder: each file exactly once, over kills and restarts.
import { existsSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { call, check, freshDir, same, startServer, truth } from '../kit/server.mjs'

const data = freshDir(), dir = join(freshDir(), 'drop')
const config = join(freshDir(), 'lakehouse.toml')
writeFileSync(config, `[ingest.watch]\ndir = ${JSON.stringify(dir)}\ndataset = "{name}"\n`)
const start = () => startServer(data, { args: ['--config', config] })
let server = await start()
const rows = async (sql) => (await call(server, 'POST', '/query', { sql, limit: 100000 })).json?.rows
const files = folder => readdirSync(join(dir, folder)).filter(name => !name.includes('.reason.txt')) // nor one that is still written
async function until(what, test, ms = 20000) {
  for (const end = Date.now() + ms; !(await test()); await sleep(30))
    truth(Date.now() < end, `${what} did not happen within ${ms} ms`)
}

await check('a file that is closed or renamed in is ingested and moved to done', async () => {
  writeFileSync(join(dir, 'Sales 2026.v1.csv'), 'id\n1\n')
  await until('the file', () => existsSync(join(dir, 'done', 'Sales 2026.v1.csv')))
  writeFileSync(join(dir, '.hidden'), 'id\n2\n')
  renameSync(join(dir, '.hidden'), join(dir, 'Sales 2026.v1.csv')) // the name is taken in done/
  await until('the second file', () => files('done').length === 2)
  same(await rows('SELECT id FROM sales_2026 ORDER BY id'), [[1], [2]])
  const dataset = (await call(server, 'GET', '/catalog/datasets/sales_2026')).json
  same(dataset.lineage.map(one => one.source_system), ['watcher', 'watcher'])
})

await check('a file that cannot be ingested goes to failed, with the reason beside it', async () => {
  writeFileSync(join(dir, 'bad.csv'), 'a,b\n1\n')
  writeFileSync(join(dir, 'sales_2026.csv'), 'other\nx\n')
  await until('the failure', () => files('failed').length === 2)
  truth(/ragged_row: .*line 2/.test(readFileSync(join(dir, 'failed', 'bad.csv.reason.txt'), 'utf8')), 'no reason')
  truth(/schema_mismatch/.test(readFileSync(join(dir, 'failed', 'sales_2026.csv.reason.txt'), 'utf8')), 'no reason')
})

await check('a file that is still written is left alone until it is closed', async () => {
  const { openSync, writeSync, closeSync } = await import('node:fs')
  const fd = openSync(join(dir, 'slow.csv'), 'w')
  writeSync(fd, 'id\n1\n')
  writeFileSync(join(dir, 'other.csv'), 'id\n1\n') // makes the watcher look
  await until('the other file', () => existsSync(join(dir, 'done', 'other.csv')))
  truth(existsSync(join(dir, 'slow.csv')), 'it was taken too soon')
  writeSync(fd, '2\n')
  closeSync(fd)
  await until('the slow file', () => existsSync(join(dir, 'done', 'slow.csv')))
  same(await rows('SELECT count(*) FROM slow'), [[2]])
})

await check('of 500 files dropped while the server is killed five times each is ingested exactly once', async () => {
  const total = 500
  let dropped = 0
  const drop = (async () => {
    for (; dropped < total; dropped++) {
      writeFileSync(join(dir, `.part`), `id\n${dropped}\n`)
      renameSync(join(dir, '.part'), join(dir, `many.${String(dropped).padStart(3, '0')}.csv`))
      if (dropped % 10 === 0) await sleep(40)
    }
  })()
  for (let kill = 0; kill < 5; kill++) {
    await sleep(400 + 150 * kill)
    await server.stop('SIGKILL')
    server = await start()
  }
  await drop
  await until('all files', () => files('done').filter(name => name.includes('many.')).length === total, 120000)
  const got = (await rows('SELECT id FROM many ORDER BY id')).map(row => row[0])
  same([got.length, new Set(got).size], [total, total])
  same([files('working'), files('failed').length], [[], 2])
})
await server.stop()
