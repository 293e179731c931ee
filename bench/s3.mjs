// benchmark: objects through us into Ceph, beside rclone, s3cmd and a bare signed loop straight into it
// The same objects, with as many connections, in alternating rounds; medians. Ceph keeps them in
// memory (memstore), so that its disk is not what is measured. s3cmd has one connection; its small
// objects are fewer, and its time is scaled.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { startServer } from '../tests/kit/server.mjs'
import { makeBucket, rclone, s3Bucket, s3Secret, s3cmd, startCeph, writeConfig } from '../tests/kit/services.mjs'
import { build, freshDir, median, peakMib, printTable, quick, run } from './report.mjs'

const rounds = quick ? 1 : 3
const cases = [
  { label: '4 KiB', size: 4096, count: quick ? 1000 : 10000, connections: 16, slow: quick ? 100 : 500 },
  { label: '64 MiB', size: 64 << 20, count: quick ? 4 : 20, connections: 4, slow: quick ? 2 : 10 },
]

const ceph = startCeph()
const server = await startServer(freshDir(), { args: ['--config', writeConfig({
  storage: { rescue_bucket: '', sweep_age_s: 0 }, 'secrets.ceph': s3Secret(ceph),
})] })
const dir = freshDir()
const keys = { S3_ACCESS: ceph.access, S3_SECRET: ceph.secret }
const loop = async (verb, url, one, env = {}) =>
  Number(await run(join(build, 'bench/s3_beside'), [verb, url, one.count, one.size, one.connections].map(String), { env: { ...process.env, ...env } }))
const seconds = work => { const began = process.hrtime.bigint(); work(); return Number(process.hrtime.bigint() - began) / 1e9 }

function makeFiles(one, count, name) {
  const folder = join(dir, name)
  mkdirSync(folder, { recursive: true })
  const bytes = randomBytes(one.size)
  for (let i = 0; i < count; i++) writeFileSync(join(folder, String(i)), bytes)
  return folder
}

// Each client works on a bucket of its own, so that listings and sizes are alike.
async function clientsOf(one) {
  const buckets = Object.fromEntries(['ours', 'bare', 'rclone', 's3cmd'].map(name => [name, makeBucket(ceph)]))
  const name = `ours${one.size}`
  const added = await fetch(`${server.url}/storage/buckets`, {
    method: 'POST', headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name, ...s3Bucket(ceph, buckets.ours) }),
  })
  if (added.status !== 201) throw new Error(await added.text())
  const files = makeFiles(one, one.count, `all${one.size}`), few = makeFiles(one, one.slow, `few${one.size}`)
  const out = join(dir, 'out')
  const clean = work => () => { rmSync(out, { recursive: true, force: true }); mkdirSync(out); return work() }
  const transfers = ['--transfers', String(one.connections), '--checkers', String(one.connections), '--s3-no-check-bucket', '--ignore-times']
  const scale = one.count / one.slow
  const purge = name => rclone(ceph, 'purge', { key: `${buckets[name]}/o` })
  const clients = {
    ours: verb => loop(verb, `${server.url}/storage/buckets/${name}/objects/o`, one),
    bare: verb => loop(verb, `${ceph.endpoint}/${buckets.bare}/o`, one, keys),
    rclone: verb => verb === 'put' ? seconds(() => rclone(ceph, 'copy', ...transfers, files, { key: `${buckets.rclone}/o` }))
      : clean(() => seconds(() => rclone(ceph, 'copy', ...transfers, { key: `${buckets.rclone}/o` }, out)))(),
    s3cmd: verb => scale * (verb === 'put' ? seconds(() => s3cmd(ceph, 'put', '--recursive', `${few}/`, `s3://${buckets.s3cmd}/o/`))
      : clean(() => seconds(() => s3cmd(ceph, 'get', '--recursive', `s3://${buckets.s3cmd}/o/`, out)))()),
  }
  return { clients, purge }
}

// Large objects are removed again, so that Ceph's memory holds one client's at a time.
const lines = []
for (const one of cases) {
  const { clients, purge } = await clientsOf(one), names = Object.keys(clients)
  const found = Object.fromEntries(names.map(name => [name, { put: [], get: [] }]))
  for (let i = 0; i < rounds; i++)
    for (const name of i % 2 ? [...names].reverse() : names) {
      for (const verb of ['put', 'get']) found[name][verb].push(await clients[name](verb))
      if (one.size > 1 << 20) purge(name)
    }
  for (const verb of ['put', 'get']) {
    const rate = name => one.count / median(found[name][verb])
    const best = Math.max(rate('rclone'), rate('s3cmd'))
    const unit = one.size > 1 << 20 ? one.size / 1e6 : 1
    lines.push([`${verb.toUpperCase()} ${one.label}, ${one.connections} conn.`, unit > 1 ? 'MB/s' : 'objects/s',
      ...names.map(name => rate(name) * unit), rate('ours') / best, rate('ours') / rate('bare'), rate('bare') / best])
  }
}
console.log(`${rounds} alternating rounds, medians; Ceph, its clients and the server on the same machine\n`)
printTable(['', '', 'ours', 'bare loop', 'rclone', 's3cmd', 'ours to the better', 'to bare', 'bare to the better'], lines)
console.log(`\npeak memory of the server: ${peakMib(server.child.pid).toFixed(1)} MiB`)
await server.stop()
ceph.stop()
process.exit(0)
