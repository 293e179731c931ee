// Two servers on the same local buckets: nothing that one acknowledged is lost by what the other does to the index meanwhile.
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'
import { bucketOf, change, checkAll, makeNotes, move, within, writeWhile } from '../kit/moves.mjs'
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

await check('while the other folds, refreshes, migrates, promotes and rolls back, too', async () => {
  const at = '/vectors/indexes/notes'
  same((await call(servers[0], 'PUT', '/vectors/evals/notes/e', { sample: 5, seed: 1 })).status, 201)
  const trial = async config => {
    const made = await within(20000, async () => {
      const answer = await call(servers[0], 'POST', '/vectors/trials/notes', { config, eval: 'e', k: 10 })
      return answer.status === 201 && answer.json
    })
    await change(servers[0], 'POST', '/vectors/promotions/notes', { trial: made.trial })
  }
  const steps = [
    () => change(servers[0], 'POST', `${at}/compact?wait=true`),
    async i => {
      await call(servers[0], 'POST', '/ingest/file?dataset=notes&format=ndjson&mode=append', JSON.stringify({ id: 1000 + i, text: `note number${1000 + i}` }))
      await change(servers[0], 'POST', `${at}/refresh?wait=true`)
    },
    () => trial({ m: 8 }),
    () => change(servers[0], 'POST', '/vectors/promotions/notes/rollback'),
    () => change(servers[0], 'POST', '/vectors/lance/migrate/notes?to=lance&wait=true'),
    () => change(servers[0], 'POST', `${at}/compact?wait=true`),
    () => trial({ nprobes: 3 }),
    () => change(servers[0], 'POST', '/vectors/lance/index/notes?wait=true', {}),
    () => move(servers[0], 'other'),
    () => change(servers[0], 'POST', '/vectors/lance/migrate/notes?to=parquet&wait=true'),
    () => move(servers[0], 'primary'),
  ]
  expect(await writeWhile(servers, steps.length, i => steps[i](i)))
  await checkAll(servers, expected)
})

await check('both move it at once: one is answered that the other is at it, and the index is whole', async () => {
  const answers = await Promise.all(servers.flatMap(server => [1, 2].map(() => call(server, 'PATCH', '/vectors/indexes/notes?wait=true', { bucket: 'other' }))))
  truth(answers.some(answer => answer.status === 200), answers.map(a => a.text).join('\n'))
  for (const answer of answers.filter(a => a.status !== 200)) truth(['index_busy', 'index_changed'].includes(answer.json.code), answer.text)
  for (const server of servers)
    await within(15000, async () => { await checkAll([server], expected); return await bucketOf(server) === 'other' })
  same(existsSync(join(roots.primary, 'vectors/notes/meta.json')), false)
})

await check('a move whose server has died is taken back by who puts rows, and a copy of it is no index', async () => {
  const meta = () => JSON.parse(readFileSync(join(roots.other, 'vectors/notes/meta.json')))
  const before = meta()
  cpSync(join(roots.other, 'vectors/notes'), join(roots.primary, 'vectors/notes'), { recursive: true })
  writeFileSync(join(roots.primary, 'vectors/notes/meta.json'), JSON.stringify({ ...before, bucket: 'primary', moves: before.moves + 1 }))
  writeFileSync(join(roots.other, 'vectors/notes/meta.json'), JSON.stringify({ ...before, moving_to: 'primary' }))
  const put = () => call(servers[1], 'PUT', '/vectors/indexes/notes/rows', { rows: [{ doc_id: 'late', text: 'by hand late' }] })
  problem(await put(), 409, 'index_busy')
  problem(await call(servers[0], 'POST', '/vectors/indexes/notes/compact?wait=true'), 409, 'index_busy')
  servers.push(await start()) // one that finds both
  same(await bucketOf(servers[2]), 'other')
  await within(40000, async () => (await put()).status === 200)
  expected.set('late', true)
  same([meta().moves, meta().moving_to], [before.moves + 2, null])
  await checkAll(servers, expected)
  await move(servers[0], 'primary')
  await checkAll(servers, expected)
})

await check('an index that the other server has moved is deleted where it is, and both know that it is gone', async () => {
  same(await bucketOf(servers[0]), 'primary')
  await move(servers[0], 'other')
  same((await call(servers[1], 'DELETE', '/vectors/indexes/notes')).status, 200)
  same([roots.primary, roots.other].map(root => existsSync(join(root, 'vectors/notes/meta.json'))), [false, false])
  for (const server of servers.slice(0, 2))
    problem(await call(server, 'PUT', '/vectors/indexes/notes/rows', { rows: [{ doc_id: 'x', text: 'x' }] }), 404, 'index_not_found')
})

await check('vectors of another length: a row of the old one is refused, or the refresh is, and the index is whole', async () => {
  const [a, b] = servers
  const of = n => Array.from({ length: n }, (_, i) => i + 1)
  const ingest = n => call(a, 'POST', '/ingest/file?dataset=dots&format=ndjson&mode=replace', Array.from({ length: 400 }, (_, i) => JSON.stringify({ id: i, v: of(n).map(x => x * ((i * 7) % 11 - 5) + i) })).join('\n'))
  const at = '/vectors/indexes/dots'
  const put = (server, n) => call(server, 'PUT', `${at}/rows`, { rows: [{ doc_id: `hand${n}`, vector: of(n) }] })
  const seen = new Set()
  for (let round = 0; round < 6; round++) {
    same((await ingest(4)).status, 201)
    same((await call(a, 'POST', '/vectors/indexes?wait=true', { index: 'dots', dataset: 'dots', vector_column: 'v' })).status, 201)
    const late = await start()
    await ingest(8)
    const refreshing = call(a, 'POST', `${at}/refresh?wait=true`)
    await sleep(round * 8)
    const early = round ? await put(late, 4) : { status: 0 }
    const refreshed = await refreshing
    seen.add(`${refreshed.status} ${early.status}`)
    if (refreshed.status === 200) {
      truth(early.status !== 200, 'a row of the old length was acknowledged and is lost')
      problem(await put(late, 4), early.status ? 422 : 409, early.status ? 'wrong_dimension' : 'index_changed')
      same((await put(a, 8)).status, 200)
    } else {
      problem(refreshed, 422, 'wrong_dimension')
      same(early.status, 200, early.text)
    }
    const again = await start()
    const found = await call(again, 'POST', '/vectors/search', { index: 'dots', vector: of(refreshed.status === 200 ? 8 : 4), k: 1, exact: true, rows: false })
    same([found.json.hits?.[0].doc_id], [refreshed.status === 200 ? 'hand8' : 'hand4'], found.text)
    same([(await late.stop()).code, (await again.stop()).code, (await call(a, 'DELETE', at)).status], [0, 0, 200])
  }
  console.log(`     refresh and put: ${[...seen].join(', ')}`)
  truth([...seen].some(one => one.startsWith('200')), 'no refresh came through')
})
for (const server of servers) same((await server.stop()).code, 0)
