// Brings a value, however a reader or an answer spells it, into one form by its Iceberg type, and
// compares rows in that form.

function micros(text) {
  const [, h, m, s, fraction = ''] = /^(\d+):(\d+):(\d+)(?:\.(\d+))?$/.exec(text)
  const seconds = (BigInt(h) * 60n + BigInt(m)) * 60n + BigInt(s)
  return String(seconds * 1000000n + BigInt(fraction.padEnd(6, '0').slice(0, 6)))
}

// icebird gives instants as Dates, which keep milliseconds.
function instant(value) {
  if (value instanceof Date) return value.getTime()
  const [, day, time, fraction = ''] = /^(\S+)[ T](\d\d:\d\d:\d\d)(?:\.(\d+))?/.exec(value)
  return Date.parse(`${day}T${time}.${fraction.padEnd(3, '0').slice(0, 3)}Z`)
}

function uuid(value) {
  if (!(value instanceof Uint8Array)) return value
  const hex = Buffer.from(value).toString('hex')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

function entries(value) {
  if (!Array.isArray(value)) return Object.entries(value)
  return value.map(entry => Array.isArray(entry) ? entry : [entry.key, entry.value])
}

function nested(value, type) {
  const parsed = typeof value === 'string' ? JSON.parse(value) : value
  switch (type.type) {
    case 'list': return parsed.map(item => canonical(item, type.element))
    case 'map': return entries(parsed).map(([k, v]) => [`${k}`, canonical(v, type.value)]).sort()
    default: return type.fields.map(f => canonical(parsed[f.name], f.type))
  }
}

export function canonical(value, type) {
  if (value === null || value === undefined) return null
  if (typeof type === 'object') return nested(value, type)
  if (type.startsWith('decimal')) return Number(value)
  switch (type) {
    case 'int': case 'long': return String(BigInt(value))
    case 'float': return `${Math.fround(Number(value))}`
    case 'double': return `${Number(value)}`
    case 'boolean': return `${value}` === 'true'
    case 'date': return value instanceof Date ? value.toISOString().slice(0, 10) : value
    case 'time': return typeof value === 'bigint' ? String(value) : micros(value)
    case 'timestamp': case 'timestamptz': return instant(value)
    case 'uuid': return uuid(value)
    case 'binary': return value instanceof Uint8Array ? Buffer.from(value).toString() : value
    default: return value
  }
}

export function currentSchema(metadata) {
  return metadata.schemas.find(s => s['schema-id'] === metadata['current-schema-id'])
}

// Both are lists of objects; order does not matter. Returns what differs, or null.
export function difference(schema, actual, expected) {
  const lines = rows => rows
    .map(row => JSON.stringify(schema.fields.map(f => canonical(row[f.name], f.type)))).sort()
  const a = lines(actual), e = lines(expected)
  if (a.length !== e.length) return `${a.length} rows instead of ${e.length}`
  const at = a.findIndex((line, i) => line !== e[i])
  return at < 0 ? null : `row ${a[at]} instead of ${e[at]}`
}
