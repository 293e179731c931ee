// benchmark: one object of 10 GiB in and out, and the server's memory meanwhile
// The body is made as it is sent and compared as it comes back; the client keeps none of it. The
// client is this script, so that the rates are floors.
import { request } from 'node:http'
import { startServer } from '../tests/kit/server.mjs'
import { freshDir, peakMib, printTable, quick, residentMib } from './report.mjs'
import { join } from 'node:path'

const size = (quick ? 1 : 10) * 2 ** 30, piece = 2 ** 20, goalMib = 200
const dir = freshDir()
const server = await startServer(join(dir, 'data'))
const url = `${server.url}/storage/buckets/primary/objects/large`

// A megabyte that differs from its neighbours by its number.
const pattern = Buffer.from(Array.from({ length: piece }, (_, i) => (i * 2654435761 >>> 13) & 255))
function pieceAt(number) {
  pattern.writeUInt32LE(number, 0)
  pattern.writeUInt32LE(number, piece - 4)
  return pattern
}

// The server's resident memory, looked at all the while.
function watch() {
  const samples = []
  const timer = setInterval(() => samples.push(residentMib(server.child.pid)), 50)
  return () => { clearInterval(timer); return samples }
}

function put() {
  return new Promise((done, fail) => {
    const sent = request(url, { method: 'PUT', headers: { 'content-length': size } }, answer => {
      answer.resume()
      answer.on('end', () => answer.statusCode === 201 ? done() : fail(new Error(`PUT: ${answer.statusCode}`)))
    })
    sent.on('error', fail)
    let number = 0
    const more = () => {
      while (number < size / piece)
        if (!sent.write(Buffer.from(pieceAt(number++)))) return sent.once('drain', more)
      sent.end()
    }
    more()
  })
}

function get() {
  return new Promise((done, fail) => {
    request(url, answer => {
      let at = 0
      answer.on('error', fail)
      answer.on('data', part => {
        for (let from = 0; from < part.length;) {
          const within = at % piece, count = Math.min(part.length - from, piece - within)
          if (part.compare(pieceAt(Math.floor(at / piece)), within, within + count, from, from + count) !== 0)
            return answer.destroy(new Error(`GET: wrong bytes after ${at}`))
          at += count
          from += count
        }
      })
      answer.on('end', () => at === size ? done() : fail(new Error(`GET: ${at} of ${size} bytes`)))
    }).on('error', fail).end()
  })
}

async function measure(label, work) {
  const stop = watch(), began = performance.now()
  await work()
  const seconds = (performance.now() - began) / 1000, samples = stop()
  return [label, seconds, size / 1e6 / seconds, samples.reduce((a, b) => a + b, 0) / samples.length, Math.max(...samples)]
}

const rows = [await measure('PUT, durable', put), await measure('GET', get)]
const peak = peakMib(server.child.pid)
console.log(`one object of ${size / 2 ** 30} GiB`)
printTable(['', 'seconds', 'MB/s', 'mean RSS MiB', 'largest RSS MiB'], rows)
console.log(`peak of the server's life (VmHWM): ${peak.toFixed(1)} MiB; the goal is less than ${goalMib}`)
await server.stop()
process.exit(peak < goalMib ? 0 : 1)
