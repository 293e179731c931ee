// Two servers on the same local buckets: nothing that one acknowledged is lost by what the other does to the index meanwhile.
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'
import { bucketOf, checkAll, makeNotes, move, within, writeWhile } from '../kit/moves.mjs'
import { writeConfig } from '../kit/services.mjs'

const roots = { primary: freshDir(), other: freshDir() }
const start = () => startServer(freshDir(), {
  args: ['--config', writeConfig({
    storage: { shared: true, sweep_age_s: 0 },
    'buckets.primary': { backend: 'local', root: roots.primary }, 'buckets.other': { backend: 'local', root: roots.other },
  })],
})
const servers = [await start()]
await makeNotes(servers[0])
servers.push(await start())
const expected = new Map()
const expect = more => { for (const [id, there] of more) expected.set(id, there) }

await check('rows put through one server while the other moves the index to and fro are found through both', async () => {
  expect(await writeWhile(servers, 20, async i => {
    await move(servers[0], i % 2 ? 'primary' : 'other')
    await sleep(i % 3 * 150)
  }))
  servers.push(await start())
  await checkAll(servers, expected)
  servers.pop().stop()
})
for (const server of servers) same((await server.stop()).code, 0)
