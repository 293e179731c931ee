// benchmark: build and search of our vector engine beside hnswlib, faiss, USearch and zvec
// Every engine is a process of its own with m 16 and ef_construction 200 over the same vectors of
// length 1. Builds come one after another; then the engines take turns at each ef, over and over, and
// medians over the rounds are interpolated at each recall@10. vector.svg draws the curves.
// usage: [DATA=made,text,large] [ENGINES=hnswlib,...] node bench/vector.mjs
// `text` embeds the descriptions of Debian's packages (apt-cache dumpavail) by the built-in
// embedder; `large` is 1,000,000 x 128, ours alone; ENGINES are those beside ours
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { build, freshDir, median, printTable, quick } from './report.mjs'

const recalls = [0.9, 0.95, 0.99, 0.999]
const efs = [10, 12, 16, 20, 26, 34, 44, 58, 76, 100, 130, 170, 220, 290, 380, 500, 650, 850, 1100]
const rounds = quick ? 1 : 3
const packages = { usearch: 'usearch@2.26.2', zvec: '@zvec/zvec@0.7.0' }
const dir = freshDir(), modules = resolve(build, 'bench-npm')

function compilePeers() {
  const out = join(build, 'bench/vector_peers')
  execFileSync('g++', ['-std=c++17', '-O3', '-march=native', '-fopenmp', '-Ibench', 'bench/vector_peers.cc', '-o', out, '-lfaiss', '-lopenblas', '-lpthread'], { stdio: 'inherit' })
  return out
}

// A peer that does not install is left out, and said so.
function installNpm(name) {
  mkdirSync(modules, { recursive: true })
  const have = join(modules, 'node_modules', packages[name].replace(/@[\d.]+$/, ''))
  try {
    if (!existsSync(have)) execFileSync('npm', ['install', '--silent', '--no-audit', '--no-fund', '--ignore-scripts', '--prefix', modules, packages[name]], { stdio: 'ignore' })
    return true
  } catch {
    console.log(`${name} does not install here: left out`)
    return false
  }
}

function engines() {
  const peers = compilePeers(), npm = name => folder => ['node', ['bench/vector_npm.mjs', name, ...folder, modules]]
  return {
    ours: folder => [join(build, 'bench/vector_ours'), folder],
    hnswlib: folder => [peers, ['hnswlib', ...folder]],
    'faiss HNSW': folder => [peers, ['faiss-hnsw', ...folder]],
    ...(installNpm('usearch') ? { 'USearch bf16': npm('usearch') } : {}),
    ...(installNpm('zvec') ? { zvec: npm('zvec') } : {}),
  }
}

// A child that has built; ask() has it search.
async function start([command, args]) {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'ignore'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const line = async () => {
    const { value, done } = await lines.next()
    if (done) throw new Error(`${command} ended early`)
    return value.split(' ')
  }
  const built = []
  for (let words = await line(); words[0] !== 'end'; words = await line()) built.push(words)
  return {
    built: Object.fromEntries(built.filter(l => l[0] === 'build').map(l => [l[1], Number(l[2])])),
    memory: Number(built.find(l => l[0] === 'memory')[1]),
    ask: async question => {
      child.stdin.write(`${question}\n`)
      return (await line()).map(Number)
    },
    stop: () => child.stdin.end(),
  }
}

// For each engine its points, [ef, recall, rate of one thread, of two], up to the first of nearly
// perfect recall. What the machine does meanwhile falls on all engines.
async function sweep(engines) {
  const points = Object.fromEntries(Object.keys(engines).map(name => [name, []])), rates = {}
  for (const ef of efs)
    for (const [name, engine] of Object.entries(engines))
      if (!(points[name].at(-1)?.[1] >= 0.9992)) points[name].push([ef, ...await engine.ask(`recall ${ef}`)])
  for (let round = 0; round < rounds; round++)
    for (const [i, ef] of efs.entries())
      for (const [name, engine] of Object.entries(engines))
        if (points[name][i]) (rates[`${name} ${i}`] ??= []).push(await engine.ask(`rate ${ef}`))
  for (const name in points)
    points[name].forEach((point, i) => point.push(...[0, 1].map(column => median(rates[`${name} ${i}`].map(rate => rate[column])))))
  return points
}

// The rate at a recall, between the points around it; undefined where no point reaches it.
function rateAt(points, recall, column) {
  const at = points.findIndex(point => point[1] >= recall)
  if (at < 0) return undefined
  if (at === 0) return points[0][column]
  const [a, b] = [points[at - 1], points[at]], share = (recall - a[1]) / (b[1] - a[1])
  return a[column] + share * (b[column] - a[column])
}

const shown = value => value === undefined ? '-' : value >= 1000 ? `${(value / 1000).toFixed(1)}k` : value.toFixed(0)

function table(title, results) {
  const rows = Object.entries(results).map(([name, r]) => [name, r.built[1]?.toFixed(1) ?? '-', r.built[2]?.toFixed(1) ?? '-', r.memory.toFixed(0),
    ...recalls.map(recall => `${shown(rateAt(r.points, recall, 2))} / ${shown(rateAt(r.points, recall, 3))}`)])
  console.log(title)
  printTable(['', 'build s, 1 thread', '2 threads', 'MiB', ...recalls.map(recall => `q/s at ${recall}`)], rows)
  const peers = Object.entries(results).filter(([name]) => name !== 'ours').map(([, r]) => r)
  if (peers.length === 0) return
  const fastest = Math.min(...peers.map(r => r.built[2] ?? Infinity))
  const ratios = recalls.map(recall => [2, 3].map(column => {
    const best = Math.max(...peers.map(r => rateAt(r.points, recall, column) ?? 0)), ours = rateAt(results.ours.points, recall, column)
    return best && ours ? (ours / best).toFixed(1) : '-'
  }).join(' / '))
  console.log(`ours to the best of the others: build ${(fastest / results.ours.built[2]).toFixed(1)}, queries ${ratios.join(', ')}\n`)
}

// Queries a second over 1 - recall, both on logarithmic axes.
function svg(title, results) {
  const width = 640, height = 400, left = 70, top = 30, colours = ['#c22', '#27c', '#2a2', '#a3a', '#d80']
  const x = recall => left + (width - left - 130) * Math.max(0, Math.log10(Math.max(1 - recall, 1e-4) / 0.3) / Math.log10(1e-4 / 0.3))
  const rates = Object.values(results).flatMap(r => r.points.map(p => p[2])), low = Math.min(...rates) / 1.3, high = Math.max(...rates) * 1.3
  const y = rate => top + (height - top - 50) * (1 - Math.log(rate / low) / Math.log(high / low))
  const out = [`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12">`,
    '<rect width="100%" height="100%" fill="white"/>', `<text x="${left}" y="18">${title}, queries/s by one thread over recall@10</text>`]
  for (const recall of [0.7, 0.9, 0.95, 0.99, 0.999])
    out.push(`<line x1="${x(recall)}" x2="${x(recall)}" y1="${top}" y2="${height - 50}" stroke="#ddd"/><text x="${x(recall) - 14}" y="${height - 32}">${recall}</text>`)
  for (const rate of [1e2, 3e2, 1e3, 3e3, 1e4, 3e4, 1e5].filter(rate => rate > low && rate < high))
    out.push(`<line x1="${left}" x2="${width - 130}" y1="${y(rate)}" y2="${y(rate)}" stroke="#ddd"/><text x="10" y="${y(rate) + 4}">${rate}</text>`)
  Object.entries(results).forEach(([name, r], i) => {
    const points = r.points.map(p => `${x(p[1]).toFixed(1)},${y(p[2]).toFixed(1)}`).join(' ')
    out.push(`<polyline points="${points}" fill="none" stroke="${colours[i]}" stroke-width="2"/><text x="${width - 122}" y="${top + 16 + 18 * i}" fill="${colours[i]}">${name}</text>`)
  })
  return [...out, '</svg>', ''].join('\n')
}

function describePackages(file) {
  const all = execFileSync('apt-cache', ['dumpavail'], { maxBuffer: 1 << 30 }).toString()
  const texts = all.split('\n\n').map(entry => {
    const name = /^Package: (.*)$/m.exec(entry)?.[1], text = /^Description(?:-en)?: ((?:.*)(?:\n .*)*)/m.exec(entry)?.[1]
    return name && text && `${name}: ${text.replace(/\s+/g, ' ')}`
  }).filter(Boolean)
  const mixed = texts.map((text, i) => [(i * 7919) % texts.length, text]).sort((a, b) => a[0] - b[0]).map(pair => pair[1])
  writeFileSync(file, mixed.join('\n') + '\n')
}

function makeData(which) {
  const folder = join(dir, which), program = join(build, 'bench/vector_data'), small = quick ? 10000 : 100000
  mkdirSync(folder)
  const args = { made: ['made', folder, small, 768, 1000, 200], large: ['made', folder, quick ? 100000 : 1000000, 128, 1000, 2000],
    text: ['text', folder, join(dir, 'texts'), 1000] }[which]
  if (which === 'text') describePackages(join(dir, 'texts'))
  const [rows, dimensions] = execFileSync(program, args.map(String)).toString().trim().split(' ')
  return { folder, rows, dimensions }
}

async function measure(which, known) {
  const { folder, rows, dimensions } = makeData(which), started = {}, results = {}
  for (const [name, command] of Object.entries(known)) {
    try {
      started[name] = await start(command([folder, dimensions]))
    } catch (error) {
      console.log(`${name}: ${error.message}: left out`)
    }
  }
  const points = await sweep(started)
  for (const [name, child] of Object.entries(started)) {
    results[name] = { built: child.built, memory: child.memory, points: points[name] }
    child.stop()
  }
  const title = `${which}: ${rows} x ${dimensions}, cosine`
  table(title, results)
  return [title, results]
}

const wanted = (process.env.DATA ?? 'made,text,large').split(','), chosen = process.env.ENGINES?.split(',')
const all = Object.fromEntries(Object.entries(engines()).filter(([name]) => !chosen || name === 'ours' || chosen.includes(name)))
for (const which of wanted) {
  const [title, results] = await measure(which, which === 'large' ? { ours: all.ours } : all)
  if (which === 'made') writeFileSync(quick ? join(build, 'vector.svg') : 'bench/results/vector.svg', svg(title, results))
}
