// The upload page. Uppy carries the files to the store; this logs on (authorization code with PKCE), gives Uppy's
// requests the token, and says what became of each file.

const $ = (id) => document.getElementById(id)
const SESSION = 'leadline-session'
const FOLLOWED = 'leadline-followed'
const DIGEST_UP_TO = 64 * 2 ** 20 // the browser digests in memory only
const PARTS_FROM = 16 * 2 ** 20 // what is cut off later than this is resumed, not begun anew
const MIB = 2 ** 20
const AWAY = 'The network is away. Uploads go on by themselves when it is back; leave this page open.'

const problem = (text) => { $('problem').textContent = text; $('problem').hidden = !text }
const clock = (t) => t.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
const day = (t) => t.toLocaleDateString([], { day: 'numeric', month: 'short' })
const when = (t) => (t.toDateString() === new Date().toDateString() ? clock(t) : `${clock(t)} on ${day(t)}`)

// --- Logging on ------------------------------------------------------------------------------------------------------

const text = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '')
const random = () => text(crypto.getRandomValues(new Uint8Array(32)))
const sha256 = (bytes) => crypto.subtle.digest('SHA-256', bytes)

const session = {
  read () {
    const s = JSON.parse(sessionStorage.getItem(SESSION) ?? 'null')
    return s && s.token && s.until > Date.now() ? s : null
  },
  write (s) { s ? sessionStorage.setItem(SESSION, JSON.stringify(s)) : sessionStorage.removeItem(SESSION) }
}

async function config () {
  const r = await fetch('/upload/config.json')
  if (!r.ok) throw new Error('The login service does not answer. Try again in a minute.')
  return r.json()
}

async function logIn () {
  const c = await config()
  const login = { verifier: random(), state: random() }
  session.write({ login })
  const q = new URLSearchParams({
    response_type: 'code', client_id: c.client_id, redirect_uri: c.redirect_uri, scope: c.scope, state: login.state,
    code_challenge: text(await sha256(new TextEncoder().encode(login.verifier))), code_challenge_method: 'S256'
  })
  location.assign(`${c.authorization_endpoint}?${q}`)
}

async function returned () {
  const q = new URLSearchParams(location.search)
  if (!q.has('state')) return
  history.replaceState(null, '', location.pathname)
  const login = JSON.parse(sessionStorage.getItem(SESSION) ?? 'null')?.login
  session.write(null)
  if (!login || login.state !== q.get('state') || !q.has('code')) throw new Error('The login was not completed. Try again.')
  const c = await config()
  const r = await fetch(c.token_endpoint, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'authorization_code', code: q.get('code'), redirect_uri: c.redirect_uri, client_id: c.client_id,
      code_verifier: login.verifier
    })
  })
  if (!r.ok) throw new Error('The login was refused. Try again.')
  const t = await r.json()
  session.write({ token: t.access_token, until: Date.now() + (t.expires_in ?? 300) * 1000 })
}

// Uppy asks the gateway with plain fetch: requests to the gateway itself, and to nobody else, get the token.
const plainFetch = window.fetch.bind(window)
window.fetch = async (input, init = {}) => {
  const url = new URL(input instanceof Request ? input.url : input, location.href)
  const ours = url.origin === location.origin && /^\/(s3|uploads)(\/|$)/.test(url.pathname)
  if (!ours) return plainFetch(input, init)
  const s = session.read()
  const headers = new Headers(init.headers)
  if (s) headers.set('authorization', `Bearer ${s.token}`)
  // The name of a file may be a patient's, and addresses end up in logs.
  url.searchParams.delete('filename')
  const r = await plainFetch(url, { ...init, headers })
  if (r.status === 401) { session.write(null); show('Your login has expired. Log in again: uploads go on where they were.') }
  return r
}

// --- What became of them ---------------------------------------------------------------------------------------------

// For this session of the browser only: names of files may be patients' names.
const followed = {
  all: JSON.parse(sessionStorage.getItem(FOLLOWED) ?? '[]'),
  save () { sessionStorage.setItem(FOLLOWED, JSON.stringify(this.all)) },
  find (id) { return this.all.find((f) => f.id === id) }
}

function words (f) {
  if (f.state !== 'duplicate') return f.text
  const own = followed.all.find((o) => o.id !== f.id && o.recording === f.recording && o.state === 'delivered')
  if (own) return `Duplicate of your upload of ${when(new Date(own.at))}.`
  if (f.original_at) return `Duplicate: your organization has had this recording since ${when(new Date(f.original_at))}.`
  return f.text
}

function render () {
  $('none').hidden = followed.all.length > 0
  $('outcomes').replaceChildren(...followed.all.toReversed().map((f) => {
    const li = document.createElement('li')
    li.className = f.state
    li.dataset.id = f.id
    for (const [name, value] of [['name', f.name], ['when', when(new Date(f.at))], ['text', words(f)]]) {
      const e = document.createElement('span')
      e.className = name
      e.textContent = value
      li.append(e)
    }
    return li
  }))
}

function update (f, status) {
  const before = words(f)
  Object.assign(f, status)
  followed.save()
  render()
  if (words(f) !== before) $('live').textContent = `${f.name}: ${words(f)}`
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function said (r) {
  const p = await r.json().catch(() => null)
  return p?.detail ?? p?.title ?? `The service answered ${r.status}.`
}

// Asks until the outcome is known; the first answers come fast, later ones need not.
async function follow (f) {
  for (let wait = 500; !f.done; wait = Math.min(wait * 1.5, 15_000)) {
    try {
      const r = await fetch(`/uploads/${f.id}`)
      if (r.ok) update(f, await r.json())
      else if (r.status === 404) update(f, { state: 'refused', done: true, text: 'It is not there any more. Upload it again.' })
      else if (r.status === 401) return
    } catch { /* the network is away: ask again */ }
    if (!f.done) await sleep(wait)
  }
}

// Says that all of it is sent, until it is heard. Without a login that waits for the next one.
async function complete (f) {
  for (let wait = 500; !f.completed; wait = Math.min(wait * 2, 15_000)) {
    try {
      const r = await fetch(`/uploads/${f.id}/complete`, { method: 'POST' })
      if (r.ok) update(f, { completed: true })
      else if (r.status === 401) return
      else if (r.status < 500 && r.status !== 408 && r.status !== 429) return update(f, { state: 'refused', done: true, text: await said(r) })
    } catch { /* the network is away: say it again */ }
    if (!f.completed) await sleep(wait)
  }
  follow(f)
}

function arrived (file, key) {
  const id = key.split('/').at(-1)
  const f = followed.find(id) ?? { id, name: file.name, at: Date.now(), state: 'checking', text: 'Received. It is being checked.' }
  if (!followed.find(id)) followed.all.push(f)
  update(f, {})
  complete(f)
}

// --- Uploading -------------------------------------------------------------------------------------------------------

// As the gateway counts: whole mebibytes, 8 at least, 10,000 parts at most.
const partSize = ({ size }) => Math.max(8 * MIB, Math.ceil(Math.ceil(size / 10_000) / MIB) * MIB)

async function declare (uppy, id) {
  const file = uppy.getFile(id)
  const meta = { size: String(file.size) }
  if (crypto.subtle && file.size <= DIGEST_UP_TO) {
    const digest = new Uint8Array(await sha256(await file.data.arrayBuffer()))
    meta.sha256 = Array.from(digest, (b) => b.toString(16).padStart(2, '0')).join('')
  }
  uppy.setFileMeta(id, meta)
}

async function uploader () {
  const { Uppy, Dashboard, AwsS3, GoldenRetriever } = await import('/upload/uppy.min.mjs')
  const uppy = new Uppy({ autoProceed: true, restrictions: { minFileSize: 1 } })
  uppy.use(Dashboard, {
    inline: true, target: '#drop', width: '100%', height: 360, proudlyDisplayPoweredByUppy: false,
    showRemoveButtonAfterComplete: true, note: 'ECG recordings of any size'
  })
  uppy.use(AwsS3, {
    companionEndpoint: location.origin, allowedMetaFields: ['size', 'sha256'], getChunkSize: partSize,
    shouldUseMultipart: (file) => file.size > PARTS_FROM
  })
  // Larger files have to be chosen again after a reload; they go on where they were all the same.
  uppy.use(GoldenRetriever, { expires: 24 * 3600 * 1000, indexedDB: { maxFileSize: 512 * MIB, maxTotalSize: 1024 * MIB } })
  uppy.addPreProcessor((ids) => Promise.all(ids.map((id) => declare(uppy, id))))
  uppy.on('upload-success', (file, response) => { arrived(file, response.body.key) })
  // What has arrived is told below; the place to drop files is free for the next ones.
  uppy.on('complete', ({ successful }) => successful.forEach((file) => uppy.removeFile(file.id)))
  uppy.on('upload-error', (file, error) => { $('live').textContent = `${file.name}: ${error.message}` })
  const back = () => {
    if ($('problem').textContent === AWAY) problem('')
    $('live').textContent = 'The network is back. Uploads go on where they were.'
    // What was given up meanwhile; what was not goes on by itself.
    uppy.retryAll()
  }
  window.addEventListener('offline', () => problem(AWAY))
  window.addEventListener('online', back)
  window.leadlineUppy = uppy
}

// --- The page --------------------------------------------------------------------------------------------------------

let begun = false

async function show (why = '') {
  const s = session.read()
  problem(why)
  $('login-part').hidden = Boolean(s)
  $('upload-part').hidden = !s && !begun
  $('logout').hidden = !s
  if (!s) return
  if (!begun) {
    begun = true
    await uploader().catch(() => problem('The uploader could not be loaded.'))
  }
  render()
  followed.all.filter((f) => !f.done).forEach(complete)
}

$('login').addEventListener('click', () => logIn().catch((e) => problem(e.message)))
$('logout').addEventListener('click', async () => {
  // Nothing of a patient stays in a browser that others use.
  window.leadlineUppy?.destroy()
  sessionStorage.clear()
  Object.keys(localStorage).filter((k) => k.startsWith('uppyState')).forEach((k) => localStorage.removeItem(k))
  indexedDB.deleteDatabase('uppy-blobs')
  location.replace(location.pathname)
})
returned().then(() => show()).catch((e) => show(e.message))
