// Opens an Iceberg table directory with the npm package icebird, as a reader without any catalog
// would: from metadata/version-hint.text on. icebird fetches URLs; file:// ones are served here,
// byte ranges included, so that the absolute URIs in the metadata are used as they are.
import { open, stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { icebergMetadata, icebergRead } from 'icebird'

const network = globalThis.fetch

function rangeOf(init, size) {
  const header = new Headers(init?.headers).get('range')
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '')
  if (!match) return null
  if (match[1] === '') return { start: Math.max(size - Number(match[2]), 0), end: size }
  return { start: Number(match[1]), end: match[2] === '' ? size : Math.min(Number(match[2]) + 1, size) }
}

async function fetchFile(url, init) {
  const path = fileURLToPath(url)
  const { size } = await stat(path).catch(() => ({ size: -1 }))
  if (size < 0) return new Response('not found', { status: 404, statusText: 'Not Found' })
  if (init?.method === 'HEAD') return new Response(null, { headers: { 'content-length': `${size}` } })
  const range = rangeOf(init, size)
  const { start, end } = range ?? { start: 0, end: size }
  const file = await open(path)
  try {
    const buffer = Buffer.alloc(end - start)
    await file.read(buffer, 0, buffer.length, start)
    return new Response(buffer, { status: range ? 206 : 200 })
  } finally {
    await file.close()
  }
}

globalThis.fetch = (url, init) =>
  String(url).startsWith('file:') ? fetchFile(url, init) : network(url, init)

/** @returns {Promise<{metadata: object, rows: object[]}>} the current version of the table */
export async function readTable(directory) {
  const tableUrl = `file://${directory}`
  const metadata = await icebergMetadata({ tableUrl })
  return { metadata, rows: await icebergRead({ tableUrl, metadata }) }
}
