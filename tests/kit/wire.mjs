// A network between the server under test and a database: a TCP proxy whose connections can be
// broken, or kept open with nothing coming through any more.
import { connect, createServer } from 'node:net'
import { once } from 'node:events'

// {port, cut(), silence(), heal(), close()}. Cut connections are reset; later ones work.
export async function startWire(port) {
  const pairs = new Set()
  let silent = false
  const server = createServer(near => {
    const far = connect(port, '127.0.0.1')
    const pair = [near, far]
    pairs.add(pair)
    for (const [from, to] of [[near, far], [far, near]]) {
      from.on('data', part => {
        if (silent) return
        if (!to.write(part)) from.pause()
      })
      to.on('drain', () => from.resume())
      from.on('error', () => {})
      from.on('end', () => to.end())
      from.on('close', () => { to.destroy(); pairs.delete(pair) })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = () => { for (const pair of pairs) for (const socket of pair) socket.resetAndDestroy() }
  return {
    port: server.address().port, cut,
    silence: () => { silent = true },
    heal: () => { silent = false; cut() },
    close: () => { cut(); server.close() },
  }
}
