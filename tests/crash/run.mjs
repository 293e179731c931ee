// The server is killed (SIGKILL) at random moments while clients write objects, ingest and build
// indexes, and started again on the same data: what was acknowledged is there, what was under way
// is there wholly or not at all, and nothing else is. A kill leaves the kernel's page cache alone:
// whether an fsync is missing, tests/storage and tests/catalog ask with failing system calls.
// usage: node tests/crash/run.mjs
//   CRASH_SEED=n repeats a run's choices, CRASH_KILLS=n (50), BUILD=build says where the binary is
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { binary, check, finish, freshDir, startServer, truth } from '../kit/server.mjs'
import { IndexBuilder } from './indexes.mjs'
import { Appender, Replacer } from './ingests.mjs'
import { ObjectWriter, checkListing } from './objects.mjs'
import { Random, until } from './random.mjs'
import { RowBuilder, RowChanger } from './rows.mjs'

const seed = Number(process.env.CRASH_SEED ?? Date.now() % 1e9)
const kills = Number(process.env.CRASH_KILLS ?? 50)
const data = freshDir()
console.log(`CRASH_SEED=${seed} CRASH_KILLS=${kills}`)

const random = new Random(seed)
const writers = [0, 1, 2].map(i => new ObjectWriter(`client${i}`, new Random(seed + 10 + i)))
const rows = new RowChanger(new Random(seed + 24))
const clients = [...writers, rows, new RowBuilder(rows, new Random(seed + 25)),
  new Appender('events', new Random(seed + 20)), new Appender('lab.readings', new Random(seed + 21)),
  new Replacer('state', new Random(seed + 22)), new IndexBuilder(new Random(seed + 23))]
let server, killed = 0, killedStarting = 0

// At most so long do clients work before a kill, in ms: a few requests' time, which a build with a
// sanitizer or a busy machine stretches.
async function findPatience() {
  const began = Date.now()
  await Promise.all(clients.map(client => client.step({ server })))
  return Math.min(Math.max(800, 3 * (Date.now() - began)), 15000)
}

// Each client works until its server is gone. One that fails for another reason has found a bug.
async function work() {
  const alive = { server, gone: false }
  const all = Promise.allSettled(clients.map(client => until(alive, client)))
  await new Promise(resolve => setTimeout(resolve, random.below(patience)))
  alive.gone = true
  await server.stop('SIGKILL')
  killed++
  const failed = (await all).find(result => result.status === 'rejected')
  if (failed) throw failed.reason
}

// A start repairs what a crash left, and may be killed at that.
async function killAStart() {
  const child = spawn(binary, ['serve', '--data', data, '--listen', '127.0.0.1:0'], { stdio: 'ignore' })
  const ended = new Promise(resolve => child.on('exit', resolve))
  await new Promise(resolve => setTimeout(resolve, random.below(250)))
  child.kill('SIGKILL')
  await ended
  killedStarting++
}

// What a crash left behind in a bucket's staging goes at the next start.
function checkStaging() {
  truth(existsSync(join(data, 'primary', '.lakehouse', 'staging')), 'the primary bucket has no staging')
  for (const bucket of readdirSync(data)) {
    const staging = join(data, bucket, '.lakehouse', 'staging')
    if (!existsSync(staging)) continue
    const folders = readdirSync(staging)
    truth(folders.length === 1, `${staging} holds ${folders.length} folders, one server runs`)
    const files = readdirSync(join(staging, folders[0]))
    truth(files.length === 0, `${staging} holds ${files.join(' ')} though nothing is under way`)
  }
}

async function checkAll() {
  for (const client of clients) await client.check(server)
  await checkListing(server, writers)
  checkStaging()
}

server = await startServer(data)
const patience = await findPatience()
while (killed < kills)
  await check(`after kill ${killed + 1} everything acknowledged is there, and nothing half-done`, async () => {
    await work()
    while (random.below(5) === 0) await killAStart()
    server = await startServer(data)
    await checkAll()
  })
await check('a server that is stopped in order leaves the same', async () => {
  await server.stop()
  server = await startServer(data)
  await checkAll()
})
await check('every kind of work was acknowledged and interrupted often enough to mean something', () => {
  for (const client of clients) {
    console.log(`  ${client.name}: ${client.acknowledged} acknowledged, ${client.interrupted} interrupted`)
    truth(client.acknowledged >= kills / 10 && client.interrupted > 0, client.name)
  }
  console.log(`  ${killed} kills at work, ${killedStarting} more of a server that was starting`)
})
await server.stop()
finish()
